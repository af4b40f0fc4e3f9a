"""Deep convolutional generative adversarial network (Radford et al. 2015, arXiv:1511.06434).

The game of the GAN (Goodfellow et al. 2014, arXiv:1406.2661),

    D minimises -E log D(x) - E log(1 - D(G(z))),    G minimises -E log D(G(z)),

between convolutional networks: G goes up from a small map by transposed convolutions of stride 2
with batch normalisation, D comes down by strided convolutions.

Departures: hidden dense layers in both networks, as in InfoGAN (arXiv:1606.03657; `--hidden 0` for
the paper's), without which strokes are right and digits wrong; D learns more slowly than G (two
time scales, Heusel et al. 2017, arXiv:1706.08500), without which it wins; 4x4 kernels (5x5 in the
paper, `--kernel 5` here) because they divide evenly into the stride; fewer channels; images are
drawn from a moving average of G's weights; in long trainings D can be shown shifted images
(`--augment`), so that it does not learn the real ones by heart.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from gencli.config import Training, option
from gencli.data.spec import DataInfo
from gencli.models.adversarial.game import (
    cross_entropy,
    non_saturating,
    shifted,
    two_players,
    zero_centred_penalty,
)
from gencli.models.adversarial.networks import Discriminator, Generator
from gencli.models.interface import Update
from gencli.models.latent.base import LatentModel


@dataclass(frozen=True)
class Config:
    """Options of `dcgan`."""

    latent_dim: int = option(64, "Dimensions of the latent space.", min=1)
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
    d_steps: int = option(1, "Updates of D for each update of G.", min=1)
    d_lr_scale: float = option(0.3, "D's learning rate relative to G's.", min=0)
    label_smoothing: float = option(0.0, "Taken off D's target for real images.", min=0, max=0.5)
    dropout: float = option(0.0, "Dropout in D.", min=0, max=0.9)
    spectral_norm: bool = option(False, "Give D's layers unit spectral norm.")
    augment: int = option(0, "Largest random shift, in pixels, of the images that D sees.", min=0)
    r1: float = option(0.0, "Weight of the penalty on D's gradient at real images.", min=0)


TRAINING = Training(epochs=12, batch_size=64, lr=1e-3, lr_schedule="cosine", ema_decay=0.999)


class DCGAN(LatentModel):
    """The GAN of convolutional networks, for images of 28, 32 or 64 pixels a side."""

    channels_last = True

    def __init__(self, config: Config, data: DataInfo) -> None:
        super().__init__(config.latent_dim, data)
        self.config = config
        self.generator = Generator(
            "conv", config.latent_dim, config.width, data,
            kernel=config.kernel, hidden=config.hidden, n_hidden=config.n_hidden,
        )  # fmt: skip
        self.discriminator = Discriminator(
            "conv", config.d_width, data,
            kernel=config.kernel, hidden=config.hidden, spectral=config.spectral_norm,
            dropout=config.dropout, batch_norm=config.batch_norm,
        )  # fmt: skip

    def updates(self) -> tuple[Update, ...]:
        """The discriminator's `d_steps` updates, then the generator's."""
        penalty = partial(zero_centred_penalty, self.discriminator, self.config.r1)
        return two_players(
            self.generator,
            self.discriminator,
            self.config.latent_dim,
            discriminator_loss=partial(cross_entropy, smoothing=self.config.label_smoothing),
            generator_loss=non_saturating,
            d_steps=self.config.d_steps,
            d_lr_scale=self.config.d_lr_scale,
            output=torch.sigmoid,
            apart=self.discriminator.apart,
            penalty=penalty if self.config.r1 else None,
            augment=partial(shifted, most=self.config.augment) if self.config.augment else None,
        )

    def decode(self, z: Tensor) -> Tensor:
        """(n, latent_dim) -> images (n, C, H, W) in [0, 1]."""
        images: Tensor = self.generator(z)
        return images
