"""Options of latent-variable models, without torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from gencli.config import ClassConditional, Config, Enough, Options, Training, option


@dataclass(frozen=True)
class LatentSampling(Options):
    """Sampling options of models that decode standard normal latents."""

    temperature: float = option(1.0, "Scale of the latents: below 1 safer and more alike.", min=0)


PixelsName = Literal["auto", "bernoulli", "gaussian", "logistic"]


@dataclass(frozen=True)
class VAEConfig(ClassConditional):
    """Options of `vae`."""

    training: ClassVar[Training] = Training(
        epochs=20, batch_size=128, lr=2e-3, lr_schedule="cosine"
    )
    Sampling: ClassVar[type[Options]] = LatentSampling

    latent_dim: int = option(16, "Dimensions of each layer of latents.", min=1)
    layers: int = option(1, "Layers of latents, each given those above it.", min=1, max=4)
    prior: Literal["normal", "vamp"] = option(
        "normal", "Of the top layer: standard normal, or a mixture of posteriors (VampPrior)."
    )
    pseudo_inputs: int | None = option(
        None, "--prior vamp: components, one for each pseudo-input; 500 unless given.", min=1
    )
    importance_samples: int = option(
        1, "Draws K of the importance-weighted bound (IWAE); 1 is the ELBO.", min=1
    )
    network: Literal["mlp", "conv"] = option(
        "mlp", "Dense layers alone, or convolutions around them."
    )
    width: int | None = option(
        None, "conv: channels of the largest map, doubled as sides halve; 32 unless given.", min=4
    )
    hidden: tuple[int, ...] | None = option(
        None,
        "Widths of the encoder's dense layers, which the decoder mirrors: mlp 512,256 and conv "
        "none unless given.",
        min=1,
    )
    activation: Literal["relu", "gated"] = option(
        "relu", "Hidden units: rectified, or linear times a logistic gate."
    )
    beta: float = option(1.0, "Weight of the KL term.", min=0)
    kl_warmup: int = option(0, "Steps in which the KL term's weight rises from 0 to beta.", min=0)
    likelihood: PixelsName = option(
        "auto", "p(x|z); auto is Bernoulli for grey and binary images, logistic for colour."
    )
    dropout: float = option(0.0, "Dropout in the hidden layers.", min=0, max=0.9)

    @property
    def dense(self) -> tuple[int, ...]:
        """Widths of the encoder's dense layers."""
        if self.hidden is not None:
            return self.hidden
        return (512, 256) if self.network == "mlp" else ()


@dataclass(frozen=True)
class LinearConfig(Config):
    """Options of linear models with Gaussian latents."""

    training: ClassVar[Training] = Training(epochs=2, batch_size=500)
    enough: ClassVar[Enough | None] = None
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
        epochs=20, batch_size=100, lr=1e-2, lr_schedule="cosine", ema_decay=0.999,
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


@dataclass(frozen=True)
class AutoencoderConfig(Config):
    """Options of `autoencoder`."""

    training: ClassVar[Training] = Training(epochs=20, batch_size=128, lr=1e-3)
    Sampling: ClassVar[type[Options]] = LatentSampling

    latent_dim: int = option(32, "Dimensions of the code.", min=1)
    hidden: tuple[int, ...] = option(
        (512, 256), "Widths of the encoder's hidden layers; the decoder mirrors them.", min=1
    )
    code: Literal["linear", "relu", "sigmoid"] = option("linear", "Units of the code.")
    penalty: Literal["none", "denoising", "contractive", "sparse"] = option(
        "none", "What keeps the code from copying."
    )
    corruption: float = option(
        0.25, "Share of the pixels set to 0 by --penalty denoising.", min=0, max=0.99
    )
    contraction: float = option(
        0.1, "Weight of the Jacobian's norm by --penalty contractive.", min=0
    )
    active: int = option(8, "Latents kept by --penalty sparse.", min=1)
    components: int = option(10, "Gaussians fitted to the codes, for drawing.", min=1)
    prior_share: float = option(0.25, "Part of the training that fits them.", min=0.01, max=0.9)
