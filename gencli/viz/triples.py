"""Sheets of translations: source, made images, the true one."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from gencli.viz.grid import Bytes, make_grid


def triples(source: Tensor, made: Tensor, true: Tensor) -> Bytes:
    """Several translations beside each other, so that the sheet is nearly a square.

    Args:
        source: (n, C', H, W) in [0, 1].
        made: (n, k, C, H, W), k images made of each source.
        true: (n, C, H, W).

    Returns:
        uint8 (H', W', 1 or 3), in colour if any of them is.
    """
    parts = (source[:, None], made, true[:, None])
    channels = max(part.shape[2] for part in parts)
    rows = torch.cat([part.expand(-1, -1, channels, -1, -1) for part in parts], dim=1)
    groups = math.ceil(math.sqrt(len(rows) / rows.shape[1]))
    return make_grid(rows.flatten(0, 1), columns=groups * rows.shape[1])
