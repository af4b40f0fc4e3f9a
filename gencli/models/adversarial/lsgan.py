"""Least-squares GAN (Mao et al. 2016, arXiv:1611.04076).

The game of the GAN with squares for logarithms, so that a made image on the right side of the
border but far from it still moves the generator. With real images labelled 1 and made ones 0,

    D minimises 1/2 E (D(x) - 1)^2 + 1/2 E D(G(z))^2,    G minimises 1/2 E (D(G(z)) - 1)^2

(the paper's equation 9). Departures: the networks are those of `dcgan` or `gan`, smaller than the
paper's; a penalty on D's gradient at real images (R1, arXiv:1801.04406), without which D wins;
images are drawn from a moving average of G's weights.
"""

from __future__ import annotations

from torch import Tensor

from gencli.data.spec import DataInfo
from gencli.models.adversarial.base import AdversarialModel, chosen_networks
from gencli.models.adversarial.configs import LSGANConfig
from gencli.models.interface import Update


def _discriminator_loss(d_real: Tensor, d_fake: Tensor) -> Tensor:
    return 0.5 * (d_real - 1).square().mean() + 0.5 * d_fake.square().mean()


def _generator_loss(d_fake: Tensor) -> Tensor:
    return 0.5 * (d_fake - 1).square().mean()


class LSGAN(AdversarialModel):
    """The GAN of least squares."""

    config: LSGANConfig

    def __init__(self, config: LSGANConfig, data: DataInfo) -> None:
        networks = chosen_networks(config, data, batch_norm=config.batch_norm)
        super().__init__(config, data, networks)

    def updates(self) -> tuple[Update, ...]:
        """The discriminator's `d_steps` updates, then the generator's."""
        c = self.config
        return self.game(_discriminator_loss, _generator_loss, c.r1, d_lr_scale=c.d_lr_scale)
