"""Models whose images are a function of a standard normal latent."""

from __future__ import annotations

from torch import Tensor

from gencli.config import Config
from gencli.data.spec import DataInfo
from gencli.models.interface import NOTHING, Condition, GenerativeModel
from gencli.models.latent.configs import LatentSampling
from gencli.random import ImageGenerator


class LatentModel(GenerativeModel):
    """A model that writes `decode`; images are drawn by decoding z from the prior, N(0, I).

    A model with another prior writes `sample_latent`, too.

    Args:
        config: The model's options.
        data: What the images are.
        latent_dim: Dimensions of z.
    """

    def __init__(self, config: Config, data: DataInfo, latent_dim: int) -> None:
        super().__init__(config, data)
        self.latent_dim = latent_dim

    def decode(self, z: Tensor, condition: Condition = NOTHING) -> Tensor:
        """(n, latent_dim) -> images (n, C, H, W) in [0, 1]."""
        raise TypeError(f"{type(self).__name__} does not define decode()")

    def sample_latent(
        self, n: int, *, generator: ImageGenerator, temperature: float = 1.0
    ) -> Tensor:
        """(n, latent_dim) from N(0, I), `temperature` times as far from the mean."""
        return temperature * generator.normal(self.latent_dim)

    def sample(
        self,
        n: int,
        *,
        generator: ImageGenerator,
        condition: Condition = NOTHING,
        temperature: float = LatentSampling.temperature,
    ) -> Tensor:
        """Images of `n` draws from the prior, whose deviations `temperature` scales."""
        z = self.sample_latent(n, generator=generator, temperature=temperature)
        return self.decode(z, condition)
