"""Block Gibbs sampling between two layers of units that are independent given each other."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor, nn

M = TypeVar("M", bound=nn.Module)

Draw = Callable[[Tensor, Tensor], Tensor]
"""(units (n, n_in), uniform numbers (n, n_out)) -> a draw of the other layer (n, n_out)."""


def bernoulli(logits: Tensor, uniform: Tensor) -> Tensor:
    """Zeros and ones with log-odds `logits`, from uniform numbers of the same shape."""
    return (uniform < logits.sigmoid()).to(logits.dtype)


def gibbs(
    h: Tensor,
    steps: int,
    down: Draw,
    up: Draw,
    *,
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
    for _ in range(steps):
        numbers = uniform(n_visible + h.shape[1])
        v = down(h, numbers[:, :n_visible])
        h = up(v, numbers[:, n_visible:])
    return h


def uniform_like(h: Tensor) -> Callable[[int], Tensor]:
    """Uniform numbers for the rows of `h`, from torch's global generator."""
    return lambda m: torch.rand(h.shape[0], m, device=h.device)


def in_float64(module: M) -> M:
    """A copy in double precision, or in single where the device has nothing better."""
    double = all(p.device.type != "mps" for p in module.parameters())
    return copy.deepcopy(module).to(torch.float64 if double else torch.float32)
