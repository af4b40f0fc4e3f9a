"""Options of latent-variable models, without torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from gencli.config import Config, Options, Training, option


@dataclass(frozen=True)
class LatentSampling(Options):
    """Sampling options of models that decode standard normal latents."""

    temperature: float = option(1.0, "Scale of the latents: below 1 safer and more alike.", min=0)


@dataclass(frozen=True)
class VAEConfig(Config):
    """Options of `vae`."""

    training: ClassVar[Training] = Training(
        epochs=20, batch_size=128, lr=2e-3, lr_schedule="cosine"
    )
    Sampling: ClassVar[type[Options]] = LatentSampling

    latent_dim: int = option(16, "Dimensions of the latent space.", min=1)
    hidden: tuple[int, ...] = option(
        (512, 256), "Widths of the encoder's hidden layers; the decoder mirrors them.", min=1
    )
    activation: Literal["relu", "gated"] = option(
        "relu", "Hidden units: rectified, or linear times a logistic gate."
    )
    beta: float = option(1.0, "Weight of the KL term.", min=0)
    kl_warmup: int = option(0, "Steps in which the KL term's weight rises from 0 to beta.", min=0)
    likelihood: Literal["auto", "bernoulli", "gaussian", "logistic"] = option(
        "auto", "p(x|z); auto is Bernoulli for grey and binary images, logistic for colour."
    )
    dropout: float = option(0.0, "Dropout in the hidden layers.", min=0, max=0.9)
