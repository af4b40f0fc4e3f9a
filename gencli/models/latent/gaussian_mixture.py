r"""A mixture of Gaussians with full covariances, fitted by EM: a prior for codes.

    log p(z) = log sum_k pi_k N(z | mu_k, L_k L_k^T)

It is a part of other models: they give it codes batch by batch (`gather`) and let it take a step
of EM when all were seen (`maximize`). A hundredth of a pseudo-code with the variances of all codes
is added to every component's covariance, so that none becomes singular (a MAP estimate).
"""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor, nn

from gencli.models.k_means import k_means, nearest
from gencli.random import ImageGenerator

_SEEDS = 10_000  # codes among which k-means finds the first components
_LEAST_VARIANCE = 1e-8
_PSEUDO = 0.01


class GaussianMixture(nn.Module):
    """Weights, means and Cholesky factors of covariances.

    Args:
        n: Components.
        dim: Dimensions of a code.
    """

    summed: ClassVar[tuple[str, ...]] = ("count", "total", "moment")

    count: Tensor
    total: Tensor
    moment: Tensor
    variance: Tensor

    def __init__(self, n: int, dim: int) -> None:
        super().__init__()
        self.log_weight = nn.Parameter(torch.full((n,), -math.log(n)))
        self.mean = nn.Parameter(torch.zeros(n, dim))
        self.factor = nn.Parameter(torch.eye(dim).repeat(n, 1, 1))
        # Sums over the codes of this epoch, weighted by responsibilities.
        self.register_buffer("count", torch.zeros(n))
        self.register_buffer("total", torch.zeros(n, dim))  # about the components' means
        self.register_buffer("moment", torch.zeros(n, dim, dim))
        self.register_buffer("variance", torch.ones(dim))  # of all codes

    def joint(self, z: Tensor) -> Tensor:
        """The terms log pi_k + log p(z|k), (B, n), of codes (B, dim)."""
        away = (z - self.mean.unsqueeze(1)).mT  # (n, dim, B)
        white = torch.linalg.solve_triangular(self.factor, away, upper=False)
        log_det = self.factor.diagonal(dim1=1, dim2=2).log().sum(1)
        constant = self.log_weight.log_softmax(0) - log_det
        constant = constant - 0.5 * z.shape[1] * math.log(2 * math.pi)
        joint: Tensor = constant - 0.5 * white.square().sum(1).T
        return joint

    def log_prob(self, z: Tensor) -> Tensor:
        """Log p(z), (B,) nats: a density."""
        return torch.logsumexp(self.joint(z), 1)

    def gather(self, z: Tensor) -> Tensor:
        """The E-step on codes (B, dim): sums in the buffers; returns log p(z), (B,)."""
        joint = self.joint(z)
        log_p = torch.logsumexp(joint, 1)
        self._add(z, (joint - log_p.unsqueeze(1)).exp())
        return log_p

    def _add(self, z: Tensor, share: Tensor) -> None:
        self.count += share.sum(0)
        for k, mean in enumerate(self.mean):
            away = z - mean
            weighted = away * share[:, k : k + 1]
            self.total[k] += weighted.sum(0)
            self.moment[k].addmm_(weighted.T, away)

    @torch.no_grad()
    def maximize(self) -> None:
        """The M-step: parameters from the sums, which begin anew."""
        n = self.count + 1e-6
        self.log_weight.copy_((n / n.sum()).log())
        shift = self.total / n.unsqueeze(1)
        about = self.moment - n[:, None, None] * shift.unsqueeze(2) * shift.unsqueeze(1)
        covariance = about + _PSEUDO * torch.diag(self.variance)
        covariance /= (n + _PSEUDO)[:, None, None]
        # On the CPU in float64, which not every device has.
        self.factor.copy_(torch.linalg.cholesky(covariance.cpu().double()))
        self.mean.add_(shift)
        for statistic in (self.count, self.total, self.moment):
            statistic.zero_()

    @torch.no_grad()
    def start(self, z: Tensor) -> None:
        """Components from k-means of up to 10,000 of the codes (N, dim)."""
        z = z[torch.randperm(len(z), device=z.device)[:_SEEDS]]
        self.variance.copy_(z.var(0, correction=0).clamp_min(_LEAST_VARIANCE))
        self.mean.copy_(k_means(z, len(self.mean), restarts=3).centres)
        self._add(z, nn.functional.one_hot(nearest(z, self.mean), len(self.mean)).to(z))
        self.maximize()

    def draw(self, generator: ImageGenerator, temperature: float = 1.0) -> Tensor:
        """Codes, one for each stream: a component, and a point about its mean.

        Args:
            generator: Where every random number comes from.
            temperature: Scale of the distance from the mean.
        """
        u, noise = generator.uniform(1), generator.normal(self.mean.shape[1])
        edges = self.log_weight.softmax(0).cumsum(0)[:-1]
        k = torch.searchsorted(edges, u[:, 0], right=True)
        points = torch.empty_like(noise)
        for component, factor in enumerate(self.factor):  # few components, perhaps large ones
            rows = k == component
            points[rows] = noise[rows] @ factor.T
        return self.mean[k] + temperature * points
