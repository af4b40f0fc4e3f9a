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


@dataclass(frozen=True)
class LinearConfig(Config):
    """Options of linear models with Gaussian latents."""

    training: ClassVar[Training] = Training(epochs=2, batch_size=500)
    Sampling: ClassVar[type[Options]] = LatentSampling

    latent_dim: int = option(40, "Dimensions of the latent space; less than pixel values.", min=1)


@dataclass(frozen=True)
class PPCAConfig(LinearConfig):
    """Options of `ppca`."""


@dataclass(frozen=True)
class FactorAnalysisConfig(LinearConfig):
    """Options of `factor-analysis`."""

    iterations: int = option(1000, "Most steps of EM in a fit.", min=1)
    tolerance: float = option(1e-3, "Gain of a step, in nats per image, that ends EM.", min=0)


@dataclass(frozen=True)
class SBNConfig(Config):
    """Options of `sbn`."""

    training: ClassVar[Training] = Training(
        epochs=20, batch_size=100, lr=2e-3, lr_schedule="cosine", ema_decay=0.999,
        binarize="dynamic",
    )  # fmt: skip

    hidden: tuple[int, ...] = option(
        (200, 200, 200), "Units of the hidden layers, from the lowest up.", min=1
    )
    objective: Literal["rws", "wake-sleep", "vimco"] = option(
        "rws", "Reweighted wake-sleep, wake-sleep, or the score function (VIMCO)."
    )
    particles: int = option(5, "Draws from the recognition network per image.", min=1)
    dreams: float = option(
        1.0, "Weight of dreams in what the recognition network learns (none in vimco).", min=0
    )
