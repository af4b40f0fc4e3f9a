"""What adversarial models with a choice of networks share: the networks themselves."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from gencli.data.spec import DataInfo
from gencli.models.adversarial.networks import Discriminator, Generator, Network
from gencli.models.latent.base import LatentModel


class NetworkConfig(Protocol):
    """The options that say what the two networks are."""

    @property
    def network(self) -> Network: ...  # noqa: D102
    @property
    def latent_dim(self) -> int: ...  # noqa: D102
    @property
    def width(self) -> int: ...  # noqa: D102
    @property
    def d_width(self) -> int: ...  # noqa: D102
    @property
    def hidden(self) -> int: ...  # noqa: D102
    @property
    def spectral_norm(self) -> bool: ...  # noqa: D102


class AdversarialModel(LatentModel):
    """A generator and a discriminator (or critic), convolutional or multilayer.

    A model adds its `updates`, which train one against the other.

    Args:
        config: Says what the networks are.
        data: What the images are.
        n_classes: Classes that both networks are told; 0 for none.
        batch_norm: Batch normalisation in a convolutional discriminator.
    """

    channels_last = True

    def __init__(
        self, config: NetworkConfig, data: DataInfo, *, n_classes: int = 0, batch_norm: bool = False
    ) -> None:
        super().__init__(config.latent_dim, data)
        self.generator = Generator(
            config.network, config.latent_dim, config.width, data,
            hidden=config.hidden, n_classes=n_classes,
        )  # fmt: skip
        self.discriminator = Discriminator(
            config.network, config.d_width, data,
            hidden=config.hidden, n_classes=n_classes,
            spectral=config.spectral_norm, batch_norm=batch_norm,
        )  # fmt: skip

    def decode(self, z: Tensor) -> Tensor:
        """(n, latent_dim) -> images (n, C, H, W) in [0, 1]."""
        images: Tensor = self.generator(z)
        return images
