"""Images that are nearly the same, found by small, contrast-free versions of them."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

SIDE = 16
"""Pixels a side of the small versions."""

NEARLY = 0.995
"""Correlation of two small versions from which on their images count as nearly the same."""

_FLAT = 4.0  # grey levels of spread below which there is nothing to recognise
_ROWS = 2_048
_BLOCK = 65_536  # images compared with at once


class Pair(NamedTuple):
    """Two images that are nearly the same: their places, and the correlation."""

    first: int
    second: int
    correlation: float


def small_versions(images: Tensor) -> Tensor:
    """(N, C, H, W) uint8 -> (N, C * SIDE^2) of mean 0 and length 1; zeros for flat images.

    Images smaller than `SIDE` keep their pixels.
    """
    parts = []
    for part in torch.split(images, 4 * _ROWS):
        x = part.float()
        if min(x.shape[2:]) > SIDE:
            x = F.adaptive_avg_pool2d(x, SIDE)
        x = x.flatten(1)
        x = x - x.mean(1, keepdim=True)
        spread = x.square().mean(1, keepdim=True).sqrt()
        parts.append(F.normalize(x, dim=1) * (spread > _FLAT))
    return torch.cat(parts)


def nearly_same(first: Tensor, second: Tensor, threshold: float = NEARLY) -> list[Pair]:
    """For each image of `second` its likest one of `first`, where they are nearly the same.

    Correlation does not change with brightness and contrast. Plain shapes, a 1 among digits say,
    may be alike without being copies.

    Args:
        first: (N, C, H, W) uint8, such as the training images.
        second: (M, C, H, W) uint8, such as the test images.
        threshold: Least correlation.
    """
    others = small_versions(second)
    best = torch.full((len(others),), -1.0)
    where = torch.zeros(len(others), dtype=torch.int64)
    for start in range(0, len(first), _BLOCK):
        reference = small_versions(first[start : start + _BLOCK])
        for row in range(0, len(others), _ROWS):
            part = slice(row, row + _ROWS)
            value, at = (others[part] @ reference.T).max(1)
            better = value > best[part]
            best[part] = torch.where(better, value, best[part])
            where[part] = torch.where(better, start + at, where[part])
    found = [
        Pair(int(where[row]), row, float(best[row]))
        for row in (best >= threshold).nonzero().squeeze(1).tolist()
    ]
    return sorted(found, key=lambda pair: -pair.correlation)
