"""What adversarial models share: the two networks, and images by the generator."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from gencli.data.spec import DataInfo
from gencli.errors import UsageError
from gencli.models.adversarial.configs import AdversarialConfig, NetworksConfig
from gencli.models.adversarial.game import (
    cross_entropy,
    non_saturating,
    two_players,
    wasserstein_critic_loss,
    wasserstein_generator_loss,
    zero_centred_penalty,
)
from gencli.models.adversarial.networks import Discriminator, Generator
from gencli.models.adversarial.signs import has_won
from gencli.models.interface import NOTHING, Condition, Sign, Update
from gencli.models.latent.base import LatentModel

DENSE = 512
"""Units of a convolutional network's dense layers, unless told otherwise."""


class AdversarialModel(LatentModel):
    """A generator G and a discriminator (or critic) D.

    A model adds its `updates`, which train one against the other. Where it is told classes both
    networks embed them, as in `cgan`.
    """

    channels_last = True

    config: AdversarialConfig

    def __init__(
        self, config: AdversarialConfig, data: DataInfo, networks: tuple[Generator, Discriminator]
    ) -> None:
        super().__init__(config, data, config.latent_dim)
        self.G, self.D = networks

    def decode(self, z: Tensor, condition: Condition = NOTHING) -> Tensor:
        """(n, latent_dim) -> images (n, C, H, W) in [0, 1]."""
        images: Tensor = self.G(z, condition.labels)
        return images

    def signs(self) -> tuple[Sign, ...]:
        """That D has won."""
        return (has_won(self.config),)

    def game(
        self,
        discriminator_loss: Callable[[Tensor, Tensor], Tensor],
        generator_loss: Callable[[Tensor], Tensor],
        r1: float = 0.0,
        r2: float = 0.0,
        **told: Any,
    ) -> tuple[Update, ...]:
        """`two_players` between this model's networks.

        Args:
            discriminator_loss: As there.
            generator_loss: As there.
            r1: Weight of the penalty on D's gradient at real images; then `penalty` is not told.
            r2: Weight of the same at made images.
            told: Further arguments of `two_players`.
        """
        if r1 or r2:
            told["penalty"] = partial(zero_centred_penalty, self.D, r1, r2)
        return two_players(
            self.G, self.D, self.config.latent_dim,
            discriminator_loss=discriminator_loss, generator_loss=generator_loss,
            d_steps=self.config.d_steps, apart=self.D.apart, **told,
        )  # fmt: skip

    def cross_entropy_game(
        self, smoothing: float, r1: float, r2: float = 0.0, **told: Any
    ) -> tuple[Update, ...]:
        """The `game` of Goodfellow et al. 2014 with the non-saturating loss of G.

        Args:
            smoothing: Taken off D's target for real images.
            r1: As in `game`.
            r2: As in `game`.
            told: As in `game`.
        """
        loss = partial(cross_entropy, smoothing=smoothing)
        return self.game(loss, non_saturating, r1, r2, output=torch.sigmoid, **told)

    def wasserstein_game(self, **told: Any) -> tuple[Update, ...]:
        """The `game` of a critic of the earth mover's distance, `told` as there."""
        return self.game(wasserstein_critic_loss, wasserstein_generator_loss, **told)


def told_classes(config: AdversarialConfig, data: DataInfo) -> int:
    """Classes that both networks are told; 0 for none."""
    return data.n_classes if "labels" in config.conditions() else 0


def chosen_networks(
    config: NetworksConfig, data: DataInfo, *, batch_norm: bool = False
) -> tuple[Generator, Discriminator]:
    """The networks of a model that leaves the user the choice.

    Args:
        config: Says what the networks are.
        data: What the images are.
        batch_norm: Batch normalisation in a convolutional discriminator.

    Raises:
        UsageError: If multilayer networks are asked for what only convolutional ones have.
    """
    conv = config.network == "conv"
    for given, flag in ((config.hidden, "--hidden"), (batch_norm, "--batch-norm")):
        if given and not conv:
            raise UsageError(
                f"{flag} is for convolutional networks.", f"Leave {flag} out, or --network mlp."
            )
    hidden = DENSE if config.hidden is None else config.hidden
    n_classes = told_classes(config, data)
    return (
        Generator(
            config.network, config.latent_dim, config.width, data,
            hidden=hidden, n_classes=n_classes,
        ),
        Discriminator(
            config.network, config.d_width, data,
            hidden=hidden, n_classes=n_classes,
            spectral=config.spectral_norm, batch_norm=batch_norm,
        ),
    )  # fmt: skip
