"""Models whose images are a function of a standard normal latent."""

from __future__ import annotations

from torch import Tensor

from gencli.data.spec import DataInfo
from gencli.models.interface import GenerativeModel
from gencli.random import ImageGenerator


class LatentModel(GenerativeModel):
    """A model that writes `decode`; images are drawn by decoding z from N(0, I).

    Args:
        latent_dim: Dimensions of z.
        data: What the images are.
    """

    def __init__(self, latent_dim: int, data: DataInfo) -> None:
        super().__init__(data)
        self.latent_dim = latent_dim

    def decode(self, z: Tensor) -> Tensor:
        """(n, latent_dim) -> images (n, C, H, W) in [0, 1]."""
        raise TypeError(f"{type(self).__name__} does not define decode()")

    def sample_latent(self, n: int, *, generator: ImageGenerator) -> Tensor:
        """(n, latent_dim) from N(0, I)."""
        return generator.normal(self.latent_dim)

    def sample(
        self,
        n: int,
        *,
        generator: ImageGenerator,
        labels: Tensor | None = None,
        temperature: float = 1.0,
    ) -> Tensor:
        """Images of `n` draws from the prior, scaled by `temperature`."""
        return self.decode(temperature * self.sample_latent(n, generator=generator))
