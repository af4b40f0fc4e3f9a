"""The weights of hidden units as a picture."""

from __future__ import annotations

import torch
from torch import Tensor

from gencli.viz.grid import Bytes, make_grid


def filter_sheet(weights: Tensor, n: int = 100) -> Bytes:
    """Tile the `n` strongest filters, each scaled to its own largest weight.

    Args:
        weights: (n_hidden, C, H, W), any range. One channel goes from blue (negative) over white to
            red (positive); three are colours about a middle grey.
        n: How many at most, by their norm, in their own order.

    Returns:
        uint8 (H', W', 3).
    """
    strongest = weights.flatten(1).norm(dim=1).topk(min(n, len(weights))).indices
    w = weights[strongest.sort().values]
    w = w / w.abs().amax((1, 2, 3), keepdim=True).clamp_min(1e-12)
    if w.shape[1] == 1:
        plus, minus = w.clamp_min(0), (-w).clamp_min(0)
        return make_grid(torch.cat([1 - minus, 1 - plus - minus, 1 - plus], dim=1))
    return make_grid(0.5 + 0.5 * w)
