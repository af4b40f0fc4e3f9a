"""Generative adversarial network (Goodfellow et al. 2014, arXiv:1406.2661).

A generator G turns noise z into images, a discriminator D tells them from real ones, and each is
trained against the other:

    D minimises -E log D(x) - E log(1 - D(G(z))),    G minimises -E log D(G(z))

G's is the paper's second, non-saturating form. Both networks are multilayer perceptrons.
Departures: rectifiers instead of maxout, batch normalisation in G, a small penalty on D's gradient
at real images (R1, arXiv:1801.04406), and images are drawn from a moving average of G's weights.
"""

from __future__ import annotations

from gencli.data.spec import DataInfo
from gencli.models.adversarial.base import AdversarialModel, told_classes
from gencli.models.adversarial.configs import GANConfig
from gencli.models.adversarial.networks import Discriminator, Generator
from gencli.models.interface import Update


class GAN(AdversarialModel):
    """The GAN of multilayer perceptrons."""

    channels_last = False

    config: GANConfig

    def __init__(self, config: GANConfig, data: DataInfo) -> None:
        n_classes = told_classes(config, data)
        networks = (
            Generator("mlp", config.latent_dim, config.width, data, n_classes=n_classes),
            Discriminator(
                "mlp", config.d_width, data, n_classes=n_classes,
                spectral=config.spectral_norm, dropout=config.dropout,
            ),
        )  # fmt: skip
        super().__init__(config, data, networks)

    def updates(self) -> tuple[Update, ...]:
        """The discriminator's `d_steps` updates, then the generator's."""
        c = self.config
        return self.cross_entropy_game(c.label_smoothing, c.r1, d_lr_scale=c.d_lr_scale)
