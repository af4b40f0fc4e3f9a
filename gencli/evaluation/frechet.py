r"""Frechet distance between two sets of features (Heusel et al. 2017, arXiv:1706.08500).

Each set is summarised by the Gaussian of its mean and covariance, and the squared 2-Wasserstein
distance between the Gaussians is taken (Dowson and Landau 1982):

    d^2 = |mu_1 - mu_2|^2 + tr(S_1 + S_2 - 2 (S_1^{1/2} S_2 S_1^{1/2})^{1/2})

The matrix under the outer root is symmetric and positive semi-definite, unlike S_1 S_2, so its
eigenvalues are real and nothing complex has to be thrown away. Where there are fewer rows than
features, S = A^T A with A the centred rows over sqrt(n - 1), and the roots of the eigenvalues are
the singular values of A_1 A_2^T: a smaller matrix, and no root of what should be zero.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def moments(features: Tensor) -> tuple[Tensor, Tensor]:
    """Mean (D,) and unbiased covariance (D, D) of features (N, D), in float64.

    Raises:
        ValueError: If there are fewer than two rows.
    """
    if len(features) < 2:
        raise ValueError("a covariance needs at least two rows")
    x = features.double()
    mu = x.mean(0)
    x = x - mu
    return mu, x.T @ x / (len(x) - 1)


def sqrt_psd(matrix: Tensor) -> Tensor:
    """The symmetric square root of a positive semi-definite matrix (D, D).

    Eigenvalues that rounding made negative count as zero.
    """
    eigenvalues, vectors = torch.linalg.eigh((matrix + matrix.T) / 2)
    root: Tensor = (vectors * eigenvalues.clamp(min=0).sqrt()) @ vectors.T
    return root


def gaussian_distance(mu_1: Tensor, cov_1: Tensor, mu_2: Tensor, cov_2: Tensor) -> float:
    """Squared 2-Wasserstein distance of two Gaussians with means (D,) and covariances (D, D)."""
    root = sqrt_psd(cov_1.double())
    product = root @ cov_2.double() @ root
    eigenvalues = torch.linalg.eigvalsh((product + product.T) / 2)
    trace_root = eigenvalues.clamp(min=0).sqrt().sum()
    traces = cov_1.double().trace() + cov_2.double().trace()
    distance = (mu_1.double() - mu_2.double()).square().sum() + traces - 2 * trace_root
    return max(float(distance), 0.0)  # rounding can take equal Gaussians below zero


def frechet_distance(a: Tensor, b: Tensor) -> float:
    """Frechet distance between features (N, D) and (M, D).

    Biased upwards by about D (1/N + 1/M) times the features' variance: compare at equal N only.
    """
    if max(len(a), len(b)) < a.shape[1]:
        return _distance_of_few(a.double(), b.double())
    return gaussian_distance(*moments(a), *moments(b))


def _distance_of_few(a: Tensor, b: Tensor) -> float:
    """The same of float64 features (N, D) and (M, D), N and M smaller than D."""
    if min(len(a), len(b)) < 2:
        raise ValueError("a covariance needs at least two rows")
    mu_1, mu_2 = a.mean(0), b.mean(0)
    rows_1, rows_2 = (a - mu_1) / math.sqrt(len(a) - 1), (b - mu_2) / math.sqrt(len(b) - 1)
    trace_root = torch.linalg.svdvals(rows_1 @ rows_2.T).sum()
    traces = rows_1.square().sum() + rows_2.square().sum()
    return max(float((mu_1 - mu_2).square().sum() + traces - 2 * trace_root), 0.0)
