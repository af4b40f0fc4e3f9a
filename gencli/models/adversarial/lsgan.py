"""Least-squares GAN (Mao et al. 2016, arXiv:1611.04076).

The game of the GAN with squares for logarithms, so that a made image on the right side of the
border but far from it still moves the generator. With real images labelled 1 and made ones 0,

    D minimises 1/2 E (D(x) - 1)^2 + 1/2 E D(G(z))^2,    G minimises 1/2 E (D(G(z)) - 1)^2

(the paper's equation 9). Departures: the networks are those of `dcgan` or `gan`, smaller than the
paper's; a penalty on D's gradient at real images (R1, arXiv:1801.04406), without which D wins;
images are drawn from a moving average of G's weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Literal

from torch import Tensor

from gencli.config import Training, option
from gencli.data.spec import DataInfo
from gencli.models.adversarial.base import AdversarialModel
from gencli.models.adversarial.game import two_players, zero_centred_penalty
from gencli.models.interface import Update


@dataclass(frozen=True)
class Config:
    """Options of `lsgan`."""

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
    d_lr_scale: float = option(1.0, "D's learning rate relative to G's.", min=0)
    spectral_norm: bool = option(False, "Give D's layers unit spectral norm.")
    r1: float = option(20.0, "Weight of the penalty on D's gradient at real images.", min=0)


TRAINING = Training(epochs=12, batch_size=64, lr=5e-4, lr_schedule="cosine", ema_decay=0.999)


def _discriminator_loss(d_real: Tensor, d_fake: Tensor) -> Tensor:
    return 0.5 * (d_real - 1).square().mean() + 0.5 * d_fake.square().mean()


def _generator_loss(d_fake: Tensor) -> Tensor:
    return 0.5 * (d_fake - 1).square().mean()


class LSGAN(AdversarialModel):
    """The GAN of least squares."""

    def __init__(self, config: Config, data: DataInfo) -> None:
        super().__init__(config, data, batch_norm=config.batch_norm)
        self.config = config

    def updates(self) -> tuple[Update, ...]:
        """The discriminator's `d_steps` updates, then the generator's."""
        penalty = partial(zero_centred_penalty, self.discriminator, self.config.r1)
        return two_players(
            self.generator,
            self.discriminator,
            self.config.latent_dim,
            discriminator_loss=_discriminator_loss,
            generator_loss=_generator_loss,
            d_steps=self.config.d_steps,
            d_lr_scale=self.config.d_lr_scale,
            apart=self.discriminator.apart,
            penalty=penalty if self.config.r1 else None,
        )
