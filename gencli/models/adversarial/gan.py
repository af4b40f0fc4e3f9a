"""Generative adversarial network (Goodfellow et al. 2014, arXiv:1406.2661).

A generator G turns noise z into images, a discriminator D tells them from real ones, and each is
trained against the other:

    D minimises -E log D(x) - E log(1 - D(G(z))),    G minimises -E log D(G(z))

G's is the paper's second, non-saturating form. Both networks are multilayer perceptrons.
Departures: rectifiers instead of maxout, batch normalisation in G, a small penalty on D's gradient
at real images (R1, arXiv:1801.04406), and images are drawn from a moving average of G's weights.
"""

from __future__ import annotations

from functools import partial

import torch

from gencli.data.spec import DataInfo
from gencli.models.adversarial.base import AdversarialModel
from gencli.models.adversarial.configs import GANConfig
from gencli.models.adversarial.game import (
    cross_entropy,
    non_saturating,
    two_players,
    zero_centred_penalty,
)
from gencli.models.adversarial.networks import Discriminator, Generator
from gencli.models.interface import Update


class GAN(AdversarialModel):
    """The GAN of multilayer perceptrons."""

    channels_last = False

    config: GANConfig

    def __init__(self, config: GANConfig, data: DataInfo) -> None:
        networks = (
            Generator("mlp", config.latent_dim, config.width, data),
            Discriminator(
                "mlp", config.d_width, data, spectral=config.spectral_norm, dropout=config.dropout
            ),
        )
        super().__init__(config, data, networks)

    def updates(self) -> tuple[Update, ...]:
        """The discriminator's `d_steps` updates, then the generator's."""
        penalty = partial(zero_centred_penalty, self.D, self.config.r1)
        return two_players(
            self.G,
            self.D,
            self.config.latent_dim,
            discriminator_loss=partial(cross_entropy, smoothing=self.config.label_smoothing),
            generator_loss=non_saturating,
            d_steps=self.config.d_steps,
            d_lr_scale=self.config.d_lr_scale,
            output=torch.sigmoid,
            penalty=penalty if self.config.r1 else None,
        )
