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

from dataclasses import dataclass
from typing import Literal

from gencli.config import Training, option
from gencli.data.spec import DataInfo
from gencli.models.adversarial.base import AdversarialModel
from gencli.models.adversarial.game import (
    two_players,
    wasserstein_critic_loss,
    wasserstein_generator_loss,
)
from gencli.models.interface import Optimizer, Update


@dataclass(frozen=True)
class Config:
    """Options of `wgan`."""

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
    d_steps: int = option(5, "Updates of the critic for each update of G.", min=1)
    clip: float = option(0.01, "The critic's weights stay within this of 0.", min=1e-6)
    spectral_norm: bool = option(False, "Unit spectral norm of the critic's layers, not clipping.")


TRAINING = Training(epochs=20, batch_size=64, lr=5e-4, lr_schedule="cosine", ema_decay=0.999)


class WGAN(AdversarialModel):
    """The GAN of the earth mover's distance."""

    def __init__(self, config: Config, data: DataInfo) -> None:
        super().__init__(config, data, batch_norm=config.batch_norm)
        self.config = config

    def updates(self) -> tuple[Update, ...]:
        """The critic's `d_steps` updates, clipped after each, then the generator's."""
        return two_players(
            self.generator,
            self.discriminator,
            self.config.latent_dim,
            discriminator_loss=wasserstein_critic_loss,
            generator_loss=wasserstein_generator_loss,
            d_steps=self.config.d_steps,
            apart=self.discriminator.apart,
            optimizer=Optimizer("rmsprop"),
            after=None if self.config.spectral_norm else self._clip,
        )

    def _clip(self) -> None:
        for p in self.discriminator.parameters():
            p.clamp_(-self.config.clip, self.config.clip)
