"""Densities over latents: of posteriors, of priors and of the layers between.

Rows are latents (..., dim); log-densities and divergences are (...) in nats.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from gencli.random import ImageGenerator

_LOG_2_PI = math.log(2 * math.pi)


class Density(Protocol):
    """What a prior p is asked for."""

    def log_prob(self, z: Tensor) -> Tensor:
        """Log p(z): (..., dim) -> (...)."""
        ...

    def divergence(self, q: Gaussian, z: Tensor) -> Tensor:
        """KL(q || p), (...), in closed form where there is one, else a draw of it: at z, from q."""
        ...

    def draw(self, generator: ImageGenerator, temperature: float) -> Tensor:
        """A latent for each stream, (n, dim); standard deviations are scaled by `temperature`."""
        ...


@dataclass(frozen=True)
class StandardNormal:
    """N(0, I)."""

    dim: int

    def log_prob(self, z: Tensor) -> Tensor:
        """See `Density`."""
        return -0.5 * (z.square() + _LOG_2_PI).sum(-1)

    def divergence(self, q: Gaussian, z: Tensor) -> Tensor:
        """In closed form; see `Density`."""
        return -0.5 * (1 + q.log_var - q.mean.square() - q.log_var.exp()).sum(-1)

    def draw(self, generator: ImageGenerator, temperature: float) -> Tensor:
        """See `Density`."""
        return temperature * generator.normal(self.dim)


@dataclass(frozen=True)
class Gaussian:
    """N(mean, diag exp(log_var)), both (..., dim)."""

    mean: Tensor
    log_var: Tensor

    def rsample(self, *shape: int) -> Tensor:
        """Draws (*shape, ..., dim) from torch's generators, with a gradient."""
        eps = torch.randn(*shape, *self.mean.shape, device=self.mean.device)
        return self.mean + torch.exp(0.5 * self.log_var) * eps

    def log_prob(self, z: Tensor) -> Tensor:
        """See `Density`."""
        squares = (z - self.mean).square() * torch.exp(-self.log_var)
        return -0.5 * (squares + self.log_var + _LOG_2_PI).sum(-1)

    def divergence(self, q: Gaussian, z: Tensor) -> Tensor:
        """In closed form; see `Density`."""
        log_ratio = q.log_var - self.log_var
        squares = (q.mean - self.mean).square() * torch.exp(-self.log_var)
        return -0.5 * (1 + log_ratio - squares - log_ratio.exp()).sum(-1)

    def draw(self, generator: ImageGenerator, temperature: float) -> Tensor:
        """See `Density`."""
        noise = generator.normal(self.mean.shape[-1])
        return self.mean + temperature * torch.exp(0.5 * self.log_var) * noise

    def detach(self) -> Gaussian:
        """The same without a gradient to its parameters."""
        return Gaussian(self.mean.detach(), self.log_var.detach())


@dataclass(frozen=True)
class EvenMixture:
    """1/K sum_k N(mean_k, diag exp(log_var_k)), from K Gaussians (K, dim)."""

    components: Gaussian

    def log_prob(self, z: Tensor) -> Tensor:
        """By two matrix products, the squares multiplied out; see `Density`."""
        mean, log_var = self.components.mean, self.components.log_var
        with torch.autocast(z.device.type, enabled=False):  # what is left of large terms
            precision = torch.exp(-log_var)
            constant = -0.5 * (mean.square() * precision + log_var + _LOG_2_PI).sum(-1)
            cross = z @ (mean * precision).t() - 0.5 * z.square() @ precision.t()
            return torch.logsumexp(cross + constant, -1) - math.log(len(mean))

    def divergence(self, q: Gaussian, z: Tensor) -> Tensor:
        """A draw; see `Density`."""
        return q.log_prob(z) - self.log_prob(z)

    def draw(self, generator: ImageGenerator, temperature: float) -> Tensor:
        """A component, then its Gaussian; see `Density`."""
        k = (generator.uniform(1)[:, 0] * len(self.components.mean)).long()
        chosen = Gaussian(self.components.mean[k], self.components.log_var[k])
        return chosen.draw(generator, temperature)
