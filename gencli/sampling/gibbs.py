"""Block Gibbs sampling between two layers of units that are independent given each other."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Draw = Callable[[Tensor, Tensor], Tensor]
"""(units (n, n_in), uniform numbers (n, n_out)) -> a draw of the other layer (n, n_out)."""


def bernoulli(logits: Tensor, uniform: Tensor) -> Tensor:
    """Zeros and ones with log-odds `logits`, by comparison with uniform numbers of the same shape."""
    return (uniform < logits.sigmoid()).to(logits.dtype)


def gibbs(
    h: Tensor,
    steps: int,
    *,
    down: Draw,
    up: Draw,
    n_visible: int,
    uniform: Callable[[int], Tensor],
) -> Tensor:
    """Run `steps` rounds of v ~ p(v|h), h ~ p(h|v) and return the last h.

    Args:
        h: Hidden units (n, n_hidden) to start from.
        steps: How many rounds; 0 returns `h`.
        down: Draws the visible units given the hidden ones.
        up: Draws the hidden units given the visible ones.
        n_visible: Visible units.
        uniform: Gives (n, m) numbers uniform in [0, 1); asked once per round, for both layers.
    """
    n_hidden = h.shape[1]
    for _ in range(steps):
        for_v, for_h = uniform(n_visible + n_hidden).split((n_visible, n_hidden), dim=1)
        h = up(down(h, for_v), for_h)
    return h


def uniform_like(h: Tensor, stream: torch.Generator | None = None) -> Callable[[int], Tensor]:
    """Uniform numbers for the rows of `h`, from torch's global generator or from `stream`."""
    return lambda m: torch.rand(h.shape[0], m, device=h.device, generator=stream)
