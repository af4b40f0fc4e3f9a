"""How real samples look and how much of the data they cover, by nearest neighbours among features.

A ball is drawn around each point of a set, out to its k-th nearest neighbour in the same set.

- precision: share of the samples inside a ball of a real image; recall: share of the real images
  inside a ball of a sample (Kynkaanniemi et al. 2019, arXiv:1904.06991).
- density: number of real balls that a sample lies in, over k; coverage: share of the real balls
  that hold a sample (Naeem et al. 2020, arXiv:2002.09797). Outliers with huge balls matter less.

Fresh real images, as many as the old, would have a density of 1 and a coverage of 1 - 2^-k.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

_CHUNK = 1000  # rows: a chunk of distances to 10,000 points takes 40 MB


class PRDC(NamedTuple):
    """Precision, recall and coverage lie in [0, 1]; density is 1 for perfect samples."""

    precision: float
    recall: float
    density: float
    coverage: float


def neighbour_radii(features: Tensor, k: int) -> Tensor:
    """Distance (N,) from each row of (N, D) to its k-th nearest other row.

    Raises:
        ValueError: If there are not more than `k` rows.
    """
    if len(features) <= k:
        raise ValueError(f"{k} neighbours need at least {k + 1} rows")
    # The row itself, at distance 0, is the smallest of the k + 1.
    return torch.cat(
        [
            distances(rows, features).topk(k + 1, dim=1, largest=False).values[:, -1]
            for rows in torch.split(features, _CHUNK)
        ]
    )


def distances(a: Tensor, b: Tensor) -> Tensor:
    """Euclidean distances (N, M) between rows of (N, D) and (M, D)."""
    return torch.cdist(a, b, compute_mode="use_mm_for_euclid_dist")


def prdc(real: Tensor, samples: Tensor, k: int = 5) -> PRDC:
    """The four figures from features of real images (N, D) and of samples (M, D).

    Raises:
        ValueError: If either set has not more than `k` rows.
    """
    # Centring leaves distances alone and keeps the cancellation in |a|^2 + |b|^2 - 2ab small.
    centre = real.float().mean(0)
    real, samples = real.float() - centre, samples.float() - centre
    radii_real, radii_samples = neighbour_radii(real, k), neighbour_radii(samples, k)
    n_balls = torch.zeros(len(samples), dtype=torch.int64, device=real.device)
    recalled, covered = 0, 0
    for rows, radii in zip(torch.split(real, _CHUNK), torch.split(radii_real, _CHUNK), strict=True):
        apart = distances(rows, samples)
        inside = apart <= radii[:, None]
        n_balls += inside.sum(0)
        covered += int(inside.any(1).sum())
        recalled += int((apart <= radii_samples).any(1).sum())
    return PRDC(
        precision=float((n_balls > 0).double().mean()),
        recall=recalled / len(real),
        density=float(n_balls.double().mean()) / k,
        coverage=covered / len(real),
    )
