r"""Factor analysis, by EM (Rubin and Thayer 1982, Psychometrika 47:69).

    p(z) = N(0, I),  p(x|z) = N(W z + mu, Psi),  Psi diagonal

Unlike `ppca` it leaves every pixel a variance of its own, and is the same model whatever the
pixels' units. EM needs the covariance S alone, so many of its steps follow one pass over the
images. With the posterior's beta = M^-1 W^T Psi^-1:

    E-step:  C = S beta^T,  E = M^-1 + beta C       (the averages of (x - mu) z^T and z z^T)
    M-step:  W = C E^-1,    Psi = diag(S - W C^T)

Departures: EM begins at the principal components. Pixels are spread within their levels' bins, and
Psi stays above the variance of that: the M-step heeds it exactly. The likelihood, the bound, the
encoder and all else stand in `gencli.models.latent.linear_gaussian`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import islice

import torch
from torch import Tensor

from gencli.data.spec import DataInfo
from gencli.models.latent.configs import FactorAnalysisConfig
from gencli.models.latent.linear_gaussian import LinearGaussian
from gencli.models.latent.ppca import principal_components


class FactorAnalysis(LinearGaussian):
    """Factors common to all pixels, and each pixel's own variance."""

    config: FactorAnalysisConfig

    def __init__(self, config: FactorAnalysisConfig, data: DataInfo) -> None:
        super().__init__(config, data, n_noise=data.n_pixels)

    def fit(self, covariance: Tensor) -> tuple[Tensor, Tensor]:
        """W (D, latent_dim) and the diagonal of Psi (D,)."""
        steps = em(covariance, self.latent_dim, floor=self.spread.variance)
        reached, *found = next(steps)
        for log_p, *better in islice(steps, self.config.iterations):
            gain, reached, found = log_p - reached, log_p, better
            if gain < self.config.tolerance:
                break
        weight, noise = found
        return weight, noise


def em(covariance: Tensor, n: int, *, floor: float) -> Iterator[tuple[float, Tensor, Tensor]]:
    """The likelihood, W (D, n) and Psi (D,) before each step of EM, without end.

    Args:
        covariance: (D, D), with a positive diagonal.
        n: Factors.
        floor: Least entry of Psi.

    Yields:
        The mean log p(x) in nats, which never falls, and the parameters that have it.
    """
    spread = covariance.diagonal()
    weight, _ = principal_components(covariance, n)
    noise = (spread - weight.square().sum(1)).clamp_min(floor)
    while True:
        scaled = weight / noise.unsqueeze(1)  # Psi^-1 W
        factor = torch.linalg.cholesky(torch.eye(n).to(weight) + scaled.T @ weight)
        beta = torch.cholesky_solve(scaled.T, factor)
        cross = covariance @ beta.T  # C
        log_det = noise.log().sum() + 2 * factor.diagonal().log().sum()
        trace = (spread / noise).sum() - (scaled * cross).sum()  # of S (W W^T + Psi)^-1
        log_p = -0.5 * (len(noise) * math.log(2 * math.pi) + log_det + trace)
        yield float(log_p), weight, noise
        second = torch.cholesky_inverse(factor) + beta @ cross  # E
        weight = torch.linalg.solve(second, cross.T).T
        noise = (spread - (weight * cross).sum(1)).clamp_min(floor)
