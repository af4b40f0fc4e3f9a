"""Conditional GAN (Mirza and Osindero 2014, arXiv:1411.1784).

The game of the GAN (arXiv:1406.2661) with the image's class y known to both networks:

    D minimises -E log D(x, y) - E log(1 - D(G(z, y), y)),    G minimises -E log D(G(z, y), y)

Both embed the class: G has the embedding beside z, D meets it by projection (Miyato and Koyama
2018, arXiv:1802.05637), which departs from the original's concatenation. The latent that is decoded
is z followed by a weight for each class, one of which is 1 in a draw from the prior: so paths
between latents pass from class to class, and an exported decoder takes both. Further departures: a
penalty on D's gradient at real images (R1, arXiv:1801.04406), without which G makes one image of
each class; images are drawn from a moving average of G's weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from gencli.config import Training, option
from gencli.data.spec import DataInfo
from gencli.errors import UsageError
from gencli.models.adversarial.base import AdversarialModel
from gencli.models.adversarial.game import (
    cross_entropy,
    non_saturating,
    two_players,
    zero_centred_penalty,
)
from gencli.models.interface import Update
from gencli.random import ImageGenerator


@dataclass(frozen=True)
class Config:
    """Options of `cgan`."""

    network: Literal["conv", "mlp"] = option("conv", "Convolutional or multilayer networks.")
    latent_dim: int = option(64, "Dimensions of the latent space.", min=1)
    width: int = option(
        64, "Channels of G's smallest map (conv) or units of its first layer (mlp).", min=4
    )
    d_width: int = option(
        32, "Channels of D's largest map (conv) or units of its last layer (mlp).", min=4
    )
    hidden: int = option(
        512, "Units of the dense layers of a convolutional network; 0 for none.", min=0
    )
    batch_norm: bool = option(False, "Batch normalisation in D's convolutional network.")
    d_steps: int = option(1, "Updates of D for each update of G.", min=1)
    label_smoothing: float = option(0.0, "Taken off D's target for real images.", min=0, max=0.5)
    d_lr_scale: float = option(1.0, "D's learning rate relative to G's.", min=0)
    spectral_norm: bool = option(False, "Give D's layers unit spectral norm.")
    r1: float = option(2.0, "Weight of the penalty on D's gradient at real images.", min=0)


TRAINING = Training(epochs=12, batch_size=64, lr=5e-4, lr_schedule="cosine", ema_decay=0.999)


class CGAN(AdversarialModel):
    """The GAN that draws the class it is asked for."""

    conditional = True

    def __init__(self, config: Config, data: DataInfo) -> None:
        if not data.n_classes:
            raise UsageError(
                "cgan needs labels, and these data have none.",
                "Put the images into one folder per class, or train dcgan.",
            )
        super().__init__(config, data, n_classes=data.n_classes, batch_norm=config.batch_norm)
        self.config = config

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
            apart=self.discriminator.apart,
            output=torch.sigmoid,
            penalty=penalty if self.config.r1 else None,
        )

    def sample_latent(self, n: int, *, generator: ImageGenerator) -> Tensor:
        """(n, latent_dim + n_classes): z from N(0, I), then 1 for a uniform class, 0 for others."""
        z = generator.normal(self.config.latent_dim)
        k = self.data.n_classes
        labels = (generator.uniform(1).squeeze(1) * k).long().clamp(max=k - 1)
        return torch.cat([z, F.one_hot(labels, k).to(z)], dim=1)

    def decode(self, z: Tensor) -> Tensor:
        """(n, latent_dim + n_classes) -> images (n, C, H, W) in [0, 1]."""
        latents, classes = z.tensor_split([self.config.latent_dim], dim=1)
        images: Tensor = self.generator(latents, classes)
        return images

    def sample(
        self,
        n: int,
        *,
        generator: ImageGenerator,
        labels: Tensor | None = None,
        temperature: float = 1.0,
    ) -> Tensor:
        """Images of the classes `labels`, or of random ones; `temperature` scales z."""
        z = self.sample_latent(n, generator=generator)
        latents, classes = z.tensor_split([self.config.latent_dim], dim=1)
        if labels is not None:
            classes = F.one_hot(labels, self.data.n_classes).to(z)
        images: Tensor = self.generator(temperature * latents, classes)
        return images
