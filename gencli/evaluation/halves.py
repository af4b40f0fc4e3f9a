"""Standard errors of figures of two sets of features, by halving both.

    error^2 = mean over splits of (theta(first halves) - theta(second halves))^2 / 4

The halves share no image, so the square of their difference is twice the variance of a figure of
half as many images, and that is twice the variance of the whole's. It covers the choice of the
samples and of the real images. What a figure is off by because the sets are finite (the Frechet
distance's bias) is not in it.

Unlike the bootstrap it repeats no image, which would be its own nearest neighbour. The jackknife is
too careful with figures of neighbours: simulated, its errors were up to twice as large as they
should be, these between 0.9 and 1.4 times (tests/unit/test_halves.py). Of eight splits an error is
itself known to about a quarter.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

SPLITS = 8


def errors(
    figures: Callable[[Tensor, Tensor], Sequence[float]], a: Tensor, b: Tensor, *, seed: int = 0
) -> list[float]:
    """The standard error of each figure of two sets.

    Args:
        figures: Features of both -> one number or more.
        a: Features (N, D).
        b: Features (M, D).
        seed: Of the splits.
    """
    generator = torch.Generator().manual_seed(seed)
    squares = []
    for _ in range(SPLITS):
        halves = zip(_halves(a, generator), _halves(b, generator), strict=True)
        first, second = (figures(*pair) for pair in halves)
        squares.append([(u - v) ** 2 / 4 for u, v in zip(first, second, strict=True)])
    return [math.sqrt(math.fsum(each) / SPLITS) for each in zip(*squares, strict=True)]


def _halves(features: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """At random, of one size: a row is left over where there is an odd one."""
    half = len(features) // 2
    order = torch.randperm(len(features), generator=generator).to(features.device)
    return features[order[:half]], features[order[half : 2 * half]]
