"""Generative adversarial network (Goodfellow et al. 2014, arXiv:1406.2661).

A generator G turns noise z into images, a discriminator D tells them from real ones, and each is
trained against the other:

    D minimises -E log D(x) - E log(1 - D(G(z))),    G minimises -E log D(G(z))

G's is the paper's second, non-saturating form. Both networks are multilayer perceptrons.
Departures: rectifiers instead of maxout, batch normalisation in G, a small penalty on D's gradient
at real images (R1, arXiv:1801.04406), and images are drawn from a moving average of G's weights.
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
    two_players,
    zero_centred_penalty,
)
from gencli.models.adversarial.networks import Discriminator, Generator
from gencli.models.interface import Update
from gencli.models.latent.base import LatentModel


@dataclass(frozen=True)
class Config:
    """Options of `gan`."""

    latent_dim: int = option(64, "Dimensions of the latent space.", min=1)
    width: int = option(
        128, "Units of G's first hidden layer, doubled in each of the next two.", min=1
    )
    d_width: int = option(
        128, "Units of D's last hidden layer, doubled in each of the two before.", min=1
    )
    d_steps: int = option(1, "Updates of D for each update of G.", min=1)
    d_lr_scale: float = option(1.0, "D's learning rate relative to G's.", min=0)
    label_smoothing: float = option(0.0, "Taken off D's target for real images.", min=0, max=0.5)
    dropout: float = option(0.0, "Dropout in D.", min=0, max=0.9)
    spectral_norm: bool = option(False, "Give D's layers unit spectral norm.")
    r1: float = option(0.2, "Weight of the penalty on D's gradient at real images.", min=0)


TRAINING = Training(epochs=20, batch_size=64, lr=5e-4, lr_schedule="cosine", ema_decay=0.999)


class GAN(LatentModel):
    """The GAN of multilayer perceptrons."""

    def __init__(self, config: Config, data: DataInfo) -> None:
        super().__init__(config.latent_dim, data)
        self.config = config
        self.generator = Generator("mlp", config.latent_dim, config.width, data)
        self.discriminator = Discriminator(
            "mlp", config.d_width, data, spectral=config.spectral_norm, dropout=config.dropout
        )

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
            penalty=penalty if self.config.r1 else None,
        )

    def decode(self, z: Tensor) -> Tensor:
        """(n, latent_dim) -> images (n, C, H, W) in [0, 1]."""
        images: Tensor = self.generator(z)
        return images
