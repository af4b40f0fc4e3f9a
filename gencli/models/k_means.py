"""K-means, and the choice of seeds that mixtures begin with too.

Random numbers come from torch's global generators.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


def spread_out(x: Tensor, n: int) -> Tensor:
    """Choose `n` rows of `x` (N, D) by k-means++ (Arthur and Vassilvitskii 2007).

    Each is drawn in proportion to the squared distance to the nearest row chosen before.
    """
    squares = x.square().sum(1)
    chosen = [torch.randint(len(x), (), device=x.device)]
    distance = torch.full_like(squares, torch.inf)
    while len(chosen) < n:
        last = chosen[-1]
        to_last = squares - 2 * (x @ x[last]) + squares[last]
        distance = torch.minimum(distance, to_last).clamp_min(1e-12)
        chosen.append(torch.multinomial(distance, 1)[0])
    return x[torch.stack(chosen)]


class Clusters(NamedTuple):
    """Centres (n, D), and the sum of squared distances of all points to theirs."""

    centres: Tensor
    inertia: float


def nearest(x: Tensor, centres: Tensor) -> Tensor:
    """The nearest of `centres` (n, D) to each row of `x` (N, D), as (N,) int64."""
    middle = centres.mean(0)  # about which little cancels
    x, centres = x - middle, centres - middle
    return torch.addmm(centres.square().sum(1), x, centres.T, alpha=-2).argmin(1)


def k_means(x: Tensor, n: int, *, restarts: int = 10, iterations: int = 100) -> Clusters:
    """Lloyd's algorithm from seeds by k-means++, the best of several starts.

    A centre that no point is nearest to stays where it is.

    Args:
        x: Points (N, D).
        n: Clusters.
        restarts: Starts, of which that with the least inertia is taken.
        iterations: Most steps from each start; without a change they end.
    """
    return min((_lloyd(x, n, iterations) for _ in range(restarts)), key=lambda c: c.inertia)


def _lloyd(x: Tensor, n: int, iterations: int) -> Clusters:
    centres = spread_out(x, n)
    mine = nearest(x, centres)
    for _ in range(iterations):
        count = mine.bincount(minlength=n).to(x).unsqueeze(1)
        total = torch.zeros_like(centres).index_add_(0, mine, x)
        centres = torch.where(count > 0, total / count.clamp_min(1), centres)
        before, mine = mine, nearest(x, centres)
        if mine.equal(before):
            break
    return Clusters(centres, float((x - centres[mine]).square().sum(dtype=torch.float32)))
