"""Whether samples are copies of training images, told by features.

- `copying_test` (Meehan et al. 2020, arXiv:2004.05675): are samples nearer to the training images
  than fresh images are? In each cluster of training images, the distances to the nearest training
  image of samples q and of fresh images p are compared by Mann and Whitney's statistic:

      U = #{(q, p): L(q) > L(p)},   Z = (U - mn/2) / sqrt(mn (m + n + 1) / 12)

  C_T is the mean of Z over the clusters, each weighted by its share of fresh images. Far below
  zero: copies; far above: samples unlike the data. Fresh images would have 0, but for the error.
- `authentic` (Alaa et al. 2022, arXiv:2102.08921): a sample is authentic unless it is nearer to its
  nearest training image than that one's own nearest training image is. Not all fresh images are,
  so their share stands beside.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from gencli.evaluation.prdc import distances
from gencli.models.k_means import k_means, nearest

CLUSTERS = 10
"""Of training images, at most; fewer where there are few images."""

FEWEST = 20
"""Samples and fresh images that a cluster must have to count: the statistic is then normal."""

_PER_CLUSTER = 500
_RESTARTS = 3
_SEEN = 10_000  # training images that the clusters are found among
_CHUNK = 500  # rows: their distances to 60,000 points take 120 MB


class Near(NamedTuple):
    """The nearest training images: distances (N, k) and which (N, k), nearest first."""

    apart: Tensor
    which: Tensor


class Copying(NamedTuple):
    """C_T, and its standard deviation where the samples are fresh images."""

    value: float
    error: float


def nearest_training(features: Tensor, train: Tensor, k: int = 1) -> Near:
    """The `k` training images nearest to each row of features (N, D), of train (T, D)."""
    centre = train.float().mean(0)
    features, train = features.float() - centre, train.float() - centre
    found = [
        distances(rows, train).topk(k, dim=1, largest=False)
        for rows in torch.split(features, _CHUNK)
    ]
    return Near(torch.cat([f.values for f in found]), torch.cat([f.indices for f in found]))


def most_alike(features: Tensor, train: Tensor, n: int, k: int) -> tuple[Tensor, Tensor]:
    """The `n` rows of features nearest to a training image, and the `k` of these nearest to each.

    Returns:
        Which rows (n,), and which training images (n, k), both nearest first.
    """
    near = nearest_training(features, train, min(k, len(train)))
    rows = near.apart[:, 0].argsort()[:n]
    return rows, near.which[rows]


def copying_test(train: Tensor, fresh: Tensor, samples: Tensor, *, seed: int) -> Copying | None:
    """C_T of samples (M, D), by training (T, D) and fresh images' features (N, D).

    Args:
        train: Features of what the model was trained on.
        fresh: Of images that it was not trained on.
        samples: Of what it draws.
        seed: Of the clusters.

    Returns:
        None where no cluster has twenty samples and twenty fresh images.
    """
    fewest = min(len(train), len(fresh), len(samples))
    n_clusters = max(min(CLUSTERS, fewest // _PER_CLUSTER), 1)
    train, fresh, samples = train.float(), fresh.float(), samples.float()
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        seen = train[torch.randperm(len(train))[:_SEEN]]
        centres = k_means(seen, n_clusters, restarts=_RESTARTS).centres
    ours, theirs = (nearest_training(x, train).apart[:, 0] for x in (samples, fresh))
    cells = nearest(samples, centres), nearest(fresh, centres)
    weights, scores = [], []
    for cell in range(n_clusters):
        q, p = ours[cells[0] == cell], theirs[cells[1] == cell]
        if min(len(q), len(p)) >= FEWEST:
            weights.append(len(p))
            scores.append(standardised(q, p))
    if not weights:
        return None
    whole = sum(weights)
    value = math.fsum(w * z for w, z in zip(weights, scores, strict=True)) / whole
    return Copying(value, math.sqrt(sum(w * w for w in weights)) / whole)


def standardised(q: Tensor, p: Tensor) -> float:
    """Mann and Whitney's U of (m,) and (n,), less its mean and in its standard deviations.

    Both are those of two draws from one distribution. A tie counts half.
    """
    p = p.sort().values
    below = torch.searchsorted(p, q, right=False)
    upto = torch.searchsorted(p, q, right=True)
    u = float((below + upto).double().sum()) / 2
    m, n = len(q), len(p)
    return (u - m * n / 2) / math.sqrt(m * n * (m + n + 1) / 12)


def authentic(train: Tensor, samples: Tensor) -> Tensor:
    """Which samples (M, D) are no nearer to a training image than another of these is: (M,) bool.

    Args:
        train: Features (T, D) of two training images or more.
        samples: Features.
    """
    near = nearest_training(samples, train)
    apart, which = near.apart[:, 0], near.which[:, 0]
    images, back = torch.unique(which, return_inverse=True)
    own = nearest_training(train[images], train, k=2).apart[:, 1]  # the first is the image itself
    return apart > own[back]
