"""Squared maximum mean discrepancy with a cubic kernel (Binkowski et al. 2018, arXiv:1801.01401).

With Inception's features this is the kernel inception distance. The estimator is unbiased (Gretton
et al. 2012, lemma 6): it may fall below zero, and unlike the Frechet distance's its mean does not
depend on the number of images.

    k(x, y) = (x.y / D + 1)^3
    MMD^2 = mean_{i!=j} k(x_i, x_j) + mean_{i!=j} k(y_i, y_j) - 2 mean_{i,j} k(x_i, y_j)
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def cubic_kernel(a: Tensor, b: Tensor) -> Tensor:
    """(N, D), (M, D) -> (N, M)."""
    return (a @ b.T / a.shape[1] + 1) ** 3


def mmd2(a: Tensor, b: Tensor) -> float:
    """Unbiased estimate of the squared discrepancy between features (N, D) and (M, D).

    Raises:
        ValueError: If a set has fewer than two rows.
    """
    if min(len(a), len(b)) < 2:
        raise ValueError("the unbiased estimate needs at least two rows of each")
    a, b = a.double(), b.double()
    return _off_diagonal_mean(a) + _off_diagonal_mean(b) - 2 * float(cubic_kernel(a, b).mean())


def _off_diagonal_mean(x: Tensor) -> float:
    kernel = cubic_kernel(x, x)
    n = len(x)
    return float((kernel.sum() - kernel.diagonal().sum()) / (n * (n - 1)))


def kernel_distance(
    a: Tensor, b: Tensor, *, seed: int = 0, n_subsets: int = 10
) -> tuple[float, float]:
    """Mean of `mmd2` over disjoint random subsets, and the standard error of that mean.

    Disjoint subsets are independent, so the standard error covers the choice of images; the usual
    hundred overlapping ones would make it look better than it is.

    Args:
        a: Features (N, D).
        b: Features (M, D).
        seed: Of the assignment to subsets.
        n_subsets: At least 2; each has the same number of rows of both sets.

    Raises:
        ValueError: If there are not two rows of each set for every subset.
    """
    size = min(len(a), len(b)) // n_subsets
    generator = torch.Generator().manual_seed(seed)
    rows_a = torch.randperm(len(a), generator=generator)[: n_subsets * size].view(n_subsets, size)
    rows_b = torch.randperm(len(b), generator=generator)[: n_subsets * size].view(n_subsets, size)
    values = torch.tensor(
        [mmd2(a[i.to(a.device)], b[j.to(b.device)]) for i, j in zip(rows_a, rows_b, strict=True)],
        dtype=torch.float64,
    )
    return float(values.mean()), float(values.std() / math.sqrt(n_subsets))
