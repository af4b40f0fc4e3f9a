"""How many different things there are among samples (Friedman and Dieng 2023, arXiv:2210.02410).

    VS = exp(-sum_i lambda_i log lambda_i),   lambda: eigenvalues of K / n,   K_ij = cos(x_i, x_j)

It is 1 where all are alike and n where no two have anything in common; by features of D dimensions
it is at most D. It takes no real images: noise is varied, too.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def vendi(features: Tensor) -> float:
    """The effective number of different rows of features (N, D)."""
    x = F.normalize(features.double(), dim=1)
    # K / n = X X^T / n has the eigenvalues of X^T X / n, and zeros.
    values = torch.linalg.eigvalsh(x.T @ x / len(x)).clamp(min=0)
    return float(torch.special.entr(values / values.sum()).sum().exp())
