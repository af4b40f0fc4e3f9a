"""Options of adversarial models, without torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from gencli.config import ClassConditional, Config, Enough, Options, Training, option
from gencli.kinds import ConditionKind
from gencli.models.latent.configs import LatentSampling

Network = Literal["conv", "mlp"]

_TRAINING = Training(epochs=12, batch_size=64, lr=5e-4, lr_schedule="cosine", ema_decay=0.999)

_BY_A_CRITIC = Enough(digits=1_500, photographs=20_000)
"""Of a generator that has five updates of a critic for each of its own."""


@dataclass(frozen=True)
class AdversarialConfig(Config):
    """What all adversarial models can be told."""

    training: ClassVar[Training] = _TRAINING
    enough: ClassVar[Enough | None] = Enough(digits=5_000, photographs=50_000)
    Sampling: ClassVar[type[Options]] = LatentSampling

    latent_dim: int = option(64, "Dimensions of the latent space.", min=1)
    d_steps: int = option(1, "Updates of D for each update of G.", min=1)
    spectral_norm: bool = option(False, "Give D's layers unit spectral norm.")


@dataclass(frozen=True)
class GANConfig(AdversarialConfig, ClassConditional):
    """Options of `gan`."""

    training: ClassVar[Training] = Training(
        epochs=20, batch_size=64, lr=5e-4, lr_schedule="cosine", ema_decay=0.999
    )

    width: int = option(
        128, "Units of G's first hidden layer, doubled in each of the next two.", min=1
    )
    d_width: int = option(
        128, "Units of D's last hidden layer, doubled in each of the two before.", min=1
    )
    d_lr_scale: float = option(1.0, "D's learning rate relative to G's.", min=0)
    label_smoothing: float = option(0.0, "Taken off D's target for real images.", min=0, max=0.5)
    dropout: float = option(0.0, "Dropout in D.", min=0, max=0.9)
    r1: float = option(0.2, "Weight of the penalty on D's gradient at real images.", min=0)


@dataclass(frozen=True)
class DCGANConfig(AdversarialConfig, ClassConditional):
    """Options of `dcgan`."""

    training: ClassVar[Training] = Training(
        epochs=12, batch_size=64, lr=1e-3, lr_schedule="cosine", ema_decay=0.999
    )

    width: int = option(
        64, "Channels of G's smallest map, halved whenever the sides double.", min=4
    )
    d_width: int = option(
        32, "Channels of D's largest map, doubled whenever the sides halve.", min=4
    )
    hidden: int = option(
        512, "Units of the dense layers of a convolutional network; 0 for none.", min=0
    )
    n_hidden: int = option(2, "How many of these G has; D has one.", min=1)
    batch_norm: bool = option(True, "Batch normalisation in D.")
    kernel: int = option(4, "Side of the convolutions' kernels.", min=4, max=5)
    d_lr_scale: float = option(0.3, "D's learning rate relative to G's.", min=0)
    label_smoothing: float = option(0.0, "Taken off D's target for real images.", min=0, max=0.5)
    dropout: float = option(0.0, "Dropout in D.", min=0, max=0.9)
    augment: int = option(0, "Largest random shift, in pixels, of the images that D sees.", min=0)
    cutout: int = option(0, "Side of a square that is hidden in each of them.", min=0)
    recolour: bool = option(False, "Change their brightness, saturation and contrast at random.")
    objective: Literal["cross-entropy", "relativistic"] = option(
        "cross-entropy", "D judges each image, or real ones against made ones (R3GAN)."
    )
    r1: float | None = option(
        None, "Weight of the penalty on D's gradient at real images: 2 with classes, 0 without.",
        min=0,
    )  # fmt: skip
    r2: float = option(0.0, "Weight of the same penalty at made images.", min=0)


@dataclass(frozen=True)
class NetworksConfig(AdversarialConfig):
    """What adversarial models with a choice of networks can be told."""

    network: Network = option("conv", "Convolutional or multilayer networks.")
    width: int = option(
        64, "Channels of G's smallest map (conv) or units of its first layer (mlp).", min=4
    )
    d_width: int = option(
        32, "Channels of D's largest map (conv) or units of its last layer (mlp).", min=4
    )
    hidden: int | None = option(
        None, "conv: units of the dense layers, 512 unless given; 0 for none.", min=0
    )


@dataclass(frozen=True)
class WGANConfig(NetworksConfig, ClassConditional):
    """Options of `wgan`."""

    training: ClassVar[Training] = Training(
        epochs=20, batch_size=64, lr=5e-4, lr_schedule="cosine", ema_decay=0.999
    )
    enough: ClassVar[Enough | None] = _BY_A_CRITIC

    d_steps: int = option(5, "Updates of the critic for each update of G.", min=1)
    spectral_norm: bool = option(False, "Unit spectral norm of the critic's layers, not clipping.")
    batch_norm: bool = option(False, "conv: batch normalisation in the critic.")
    clip: float = option(0.01, "The critic's weights stay within this of 0.", min=1e-6)


@dataclass(frozen=True)
class WGANGPConfig(NetworksConfig, ClassConditional):
    """Options of `wgan-gp`."""

    enough: ClassVar[Enough | None] = _BY_A_CRITIC

    d_steps: int = option(5, "Updates of the critic for each update of G.", min=1)
    penalty: float = option(10.0, "Weight lambda of the gradient penalty.", min=0)


@dataclass(frozen=True)
class LSGANConfig(NetworksConfig, ClassConditional):
    """Options of `lsgan`."""

    batch_norm: bool = option(False, "conv: batch normalisation in D.")
    d_lr_scale: float = option(1.0, "D's learning rate relative to G's.", min=0)
    r1: float = option(20.0, "Weight of the penalty on D's gradient at real images.", min=0)


@dataclass(frozen=True)
class CGANConfig(NetworksConfig):
    """Options of `cgan`."""

    batch_norm: bool = option(False, "conv: batch normalisation in D.")
    label_smoothing: float = option(0.0, "Taken off D's target for real images.", min=0, max=0.5)
    d_lr_scale: float = option(1.0, "D's learning rate relative to G's.", min=0)
    r1: float = option(2.0, "Weight of the penalty on D's gradient at real images.", min=0)

    def conditions(self) -> tuple[ConditionKind, ...]:
        """The class of each image."""
        return ("labels",)


@dataclass(frozen=True)
class Pix2PixSampling(Options):
    """Sampling options of `pix2pix`."""

    noise: bool = option(True, "Drop channels at random, as in training; else seeds do not matter.")


@dataclass(frozen=True)
class Pix2PixConfig(Config):
    """Options of `pix2pix`."""

    training: ClassVar[Training] = Training(
        epochs=5, batch_size=32, lr=1e-3, lr_schedule="cosine", ema_decay=0.999
    )
    Sampling: ClassVar[type[Options]] = Pix2PixSampling

    width: int = option(
        32, "Channels of G's largest map, doubled whenever the sides halve, up to 8 times.", min=4
    )
    d_width: int = option(16, "Channels of D's largest map, doubled in every layer.", min=4)
    d_layers: int = option(
        1, "Layers of D that halve the sides: it judges patches of 16, 34 or 70 pixels.",
        min=1, max=3,
    )  # fmt: skip
    l1_weight: float = option(100.0, "Weight lambda of the L1 distance to the true image.", min=0)
    dropout: float = option(
        0.5, "Probability that an inner channel of G is dropped.", min=0, max=0.9
    )

    def conditions(self) -> tuple[ConditionKind, ...]:
        """The source of each image."""
        return ("source",)


@dataclass(frozen=True)
class CaptionedConfig(AdversarialConfig):
    """What adversarial models of captions can be told."""

    training: ClassVar[Training] = Training(
        epochs=6, batch_size=32, lr=1e-3, lr_schedule="cosine", ema_decay=0.999
    )

    width: int = option(
        128, "Channels of G's smallest map, halved whenever the sides double.", min=4
    )
    d_width: int = option(
        32, "Channels of D's largest map, doubled whenever the sides halve.", min=4
    )
    hidden: int = option(512, "Units of both networks' dense layers; 0 for none.", min=0)
    caption_dim: int = option(128, "Numbers of an embedded word and of a caption.", min=1)
    caption_dropout: float = option(
        0.1, "Part of the captions left out in training, for empty prompts.", min=0, max=1
    )
    d_lr_scale: float = option(1.0, "D's learning rate relative to G's.", min=0)
    diversity: float = option(
        0.1, "Weight of the log distance of two images of a caption, which G is to keep.", min=0
    )
    r1: float = option(2.0, "Weight of the penalty on D's gradient at real images.", min=0)

    def conditions(self) -> tuple[ConditionKind, ...]:
        """The caption of each image."""
        return ("text",)


@dataclass(frozen=True)
class GANCLSConfig(CaptionedConfig):
    """Options of `gan-cls`."""

    interpolation: float = option(
        0.0, "Weight of G's loss on captions half-way between two (GAN-INT).", min=0
    )


@dataclass(frozen=True)
class StackGANConfig(CaptionedConfig):
    """Options of `stackgan`."""

    training: ClassVar[Training] = Training(
        epochs=12, batch_size=32, lr=1e-3, lr_schedule="cosine", ema_decay=0.999
    )

    condition_dim: int = option(32, "Dimensions that a caption is given to G in.", min=1)
    kl_weight: float = option(
        0.02, "Weight lambda of the divergence that keeps these near a standard normal.", min=0
    )
    refiner_width: int = option(
        32, "Channels of the second G's largest map, doubled whenever the sides halve.", min=4
    )
    first_share: float = option(
        0.5, "Part of the training for the first stage.", min=0.01, max=0.99
    )
