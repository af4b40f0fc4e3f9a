"""How well clusters agree with classes, as functions of two columns of integers."""

from __future__ import annotations

import torch
from torch import Tensor


def contingency(clusters: Tensor, labels: Tensor, n_clusters: int, n_classes: int) -> Tensor:
    """Images in each cluster and class, (n_clusters, n_classes) int64.

    Args:
        clusters: (N,) int64.
        labels: (N,) int64.
        n_clusters: Clusters that there are, seen or not.
        n_classes: Classes that there are.
    """
    pairs = clusters * n_classes + labels
    return pairs.bincount(minlength=n_clusters * n_classes).view(n_clusters, n_classes)


def normalized_mutual_information(counts: Tensor) -> float:
    """2 I(clusters; classes) / (H(clusters) + H(classes)), of a contingency table.

    Strehl and Ghosh 2002, but with the arithmetic mean of the entropies below the line. From 0 for
    independent columns to 1 for columns that determine each other, a single cluster of a single
    class included. Not corrected for chance: with many clusters it is above 0 by chance alone.
    """
    joint = counts.double() / counts.sum()
    of_cluster, of_class = joint.sum(1), joint.sum(0)
    entropies = _entropy(of_cluster) + _entropy(of_class)
    if entropies == 0:
        return 1.0
    return max(2 * (1 - _entropy(joint.flatten()) / entropies), 0.0)


def _entropy(p: Tensor) -> float:
    return float(torch.special.entr(p).sum())


def matched(counts: Tensor) -> Tensor:
    """A class for each cluster, no class twice, so that most images are right: (n_clusters,).

    For a contingency table of at most as many clusters as classes.
    """
    return assignment(-counts.double())


def majority(counts: Tensor) -> Tensor:
    """The class that most images of each cluster have, (n_clusters,).

    An empty cluster is given the class that is most frequent of all.
    """
    whole = counts.sum(0, keepdim=True)
    return torch.where(counts.sum(1, keepdim=True) > 0, counts, whole).argmax(1)


def assignment(cost: Tensor) -> Tensor:
    """The column of each row, no column twice, of least total cost: (n,) for `cost` (n, m), n <= m.

    The Hungarian method with potentials (Kuhn 1955; in this form, one shortest augmenting path for
    each row, Jonker and Volgenant 1987), in O(n^2 m).
    """
    n, m = cost.shape
    table = cost.double().cpu()
    u, v = torch.zeros(n, dtype=torch.float64), torch.zeros(m, dtype=torch.float64)
    owner = torch.full((m,), -1)  # the row that has each column
    for row in range(n):
        # Dijkstra over columns, by reduced costs, from this row to the nearest free column.
        distance = torch.full((m,), torch.inf, dtype=torch.float64)
        before = torch.full((m,), -1)
        done = torch.zeros(m, dtype=torch.bool)
        at, so_far, column = row, 0.0, -1
        while True:
            through = so_far + table[at] - u[at] - v
            shorter = ~done & (through < distance)
            distance[shorter], before[shorter] = through[shorter], column
            column = int(torch.where(done, torch.inf, distance).argmin())
            so_far = float(distance[column])
            done[column] = True
            at = int(owner[column])
            if at < 0:
                break
        slack = torch.where(done, so_far - distance, 0.0)
        taken = done & (owner >= 0)
        u[row] += so_far
        u[owner[taken]] += slack[taken]
        v -= slack
        while column >= 0:  # along the path, each column goes to the row before
            previous = int(before[column])
            owner[column] = owner[previous] if previous >= 0 else row
            column = previous
    rows = torch.empty(n, dtype=torch.int64)
    columns = torch.nonzero(owner >= 0).flatten()
    rows[owner[columns]] = columns
    return rows
