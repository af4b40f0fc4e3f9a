r"""Probabilistic principal component analysis.

Tipping and Bishop 1999, J. R. Statist. Soc. B 61:611.

    p(z) = N(0, I),  p(x|z) = N(W z + mu, sigma^2 I)

Maximum likelihood in closed form, from eigenvalues lambda and eigenvectors U of the covariance:

    sigma^2 = mean of the D - L smallest lambda,  W = U_L (Lambda_L - sigma^2 I)^(1/2)

One pass over the images is all that training takes; the second epoch of the default reads what
the first one reached. Departure: the covariance is that of pixels spread within their levels'
bins. The likelihood, the bound, the encoder and all else that follows from W, mu and sigma^2
stand in `gencli.models.latent.linear_gaussian`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from gencli.data.spec import DataInfo
from gencli.models.latent.configs import PPCAConfig
from gencli.models.latent.linear_gaussian import LinearGaussian


class PPCA(LinearGaussian):
    """Principal components, and one variance for everything beside them."""

    config: PPCAConfig

    def __init__(self, config: PPCAConfig, data: DataInfo) -> None:
        super().__init__(config, data, n_noise=1)

    def fit(self, covariance: Tensor) -> tuple[Tensor, Tensor]:
        """W (D, latent_dim) and sigma^2 (1,), in closed form."""
        return principal_components(covariance, self.latent_dim)


def principal_components(covariance: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """The `n` principal components of a covariance (D, D) as W (D, n), and sigma^2 (1,)."""
    variances, directions = torch.linalg.eigh(covariance)  # smallest first
    noise = variances[:-n].mean(0, keepdim=True)
    return directions[:, -n:] * (variances[-n:] - noise).clamp_min(0).sqrt(), noise
