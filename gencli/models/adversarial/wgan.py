"""Wasserstein GAN with weight clipping (Arjovsky et al. 2017, arXiv:1701.07875).

The discriminator becomes a critic f whose difference in means, over all 1-Lipschitz functions, is
the earth mover's distance between real and made images:

    f maximises E f(x) - E f(G(z)),    G minimises -E f(G(z))

Clipping every weight of f to [-c, c] after each update keeps f K-Lipschitz for some K; spectral
normalisation (Miyato et al. 2018, arXiv:1802.05957) does it better and replaces clipping where it
is asked for. f gets several updates on fresh images for each of G's, and RMSprop as in the paper.
Departures: the networks are those of `dcgan` or `gan`, and images are drawn from a moving average
of G's weights.
"""

from __future__ import annotations

from gencli.data.spec import DataInfo
from gencli.models.adversarial.base import AdversarialModel, chosen_networks
from gencli.models.adversarial.configs import WGANConfig
from gencli.models.adversarial.signs import CRITIC_HAS_WON
from gencli.models.interface import Optimizer, Sign, Update


class WGAN(AdversarialModel):
    """The GAN of the earth mover's distance."""

    config: WGANConfig

    def __init__(self, config: WGANConfig, data: DataInfo) -> None:
        networks = chosen_networks(config, data, batch_norm=config.batch_norm)
        super().__init__(config, data, networks)

    def signs(self) -> tuple[Sign, ...]:
        """That the critic has won."""
        return (CRITIC_HAS_WON,)

    def updates(self) -> tuple[Update, ...]:
        """The critic's `d_steps` updates, clipped after each, then the generator's."""
        return self.wasserstein_game(
            optimizer=Optimizer("rmsprop"),
            after=None if self.config.spectral_norm else self._clip,
        )

    def _clip(self) -> None:
        for p in self.D.parameters():
            p.clamp_(-self.config.clip, self.config.clip)
