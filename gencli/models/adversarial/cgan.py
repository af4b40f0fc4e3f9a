"""Conditional GAN (Mirza and Osindero 2014, arXiv:1411.1784).

The game of the GAN (arXiv:1406.2661) with the image's class y known to both networks:

    D minimises -E log D(x, y) - E log(1 - D(G(z, y), y)),    G minimises -E log D(G(z, y), y)

Both embed the class: G has the embedding beside z, D meets it by projection (Miyato and Koyama
2018, arXiv:1802.05637), which departs from the original's concatenation. Further departures: a
penalty on D's gradient at real images (R1, arXiv:1801.04406), without which G makes one image of
each class; images are drawn from a moving average of G's weights.
"""

from __future__ import annotations

from gencli.data.spec import DataInfo
from gencli.models.adversarial.base import AdversarialModel, chosen_networks
from gencli.models.adversarial.configs import CGANConfig
from gencli.models.interface import Update


class CGAN(AdversarialModel):
    """The GAN that draws the class it is asked for."""

    config: CGANConfig

    def __init__(self, config: CGANConfig, data: DataInfo) -> None:
        networks = chosen_networks(config, data, batch_norm=config.batch_norm)
        super().__init__(config, data, networks)

    def updates(self) -> tuple[Update, ...]:
        """The discriminator's `d_steps` updates, then the generator's."""
        c = self.config
        return self.cross_entropy_game(c.label_smoothing, c.r1, d_lr_scale=c.d_lr_scale)
