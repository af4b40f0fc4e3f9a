r"""How much a harmonium's free energy rises when a visible unit is turned over, for many units.

Turning unit i of v over adds d W_i to the log-odds x of the hidden units, with d = 1 - 2 v_i:

    F(v^i) - F(v) = -d (b_i - l sum_j W_ij) - sum_j log r_j,
    r_j = 1 + sigmoid(x_j) (e^{d W_ij} - 1)

So no exponential is taken for every image, pixel and hidden unit: e^W - 1 and e^-W - 1 serve all
images, and one logarithm serves a product of eight. The gradient needs none either, for hidden unit
j of v^i has the mean 1 - (1 - sigmoid(x_j)) / r_j. All r are computed twice and never kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from gencli.models.boltzmann.units import Harmonium

AT_ONCE = 2**18
"""Values of r at a time, which fit the processor's cache."""


def flip_energies(units: Harmonium, v: Tensor, x: Tensor, pixels: Tensor) -> Tensor:
    """F(v^i) - F(v), (B, n) nats, to be differentiated once.

    The plain form is `units.free_energy` of every v^i.

    Args:
        units: Binary ones.
        v: Images (B, n_visible) of zeros and ones.
        x: `units.up(v)`.
        pixels: Units i to turn over in each image, (B, n).
    """
    d = 1 - 2 * v.gather(1, pixels)
    field = units.b - units.l * units.weight.sum(1)
    gain: Tensor = _LogRatios.apply(
        x.float() if x.dtype.itemsize < 4 else x, units.weight, d, pixels
    )
    return -d * field[pixels] - gain


class _LogRatios(torch.autograd.Function):
    """sum_j log r_j for every image and every unit chosen: (B, n)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, d: Tensor, pixels: Tensor) -> Tensor:
        table = torch.cat([weight, -weight]).exp_().sub_(1)
        ctx.save_for_backward(x, table, d, pixels)
        total = torch.empty_like(d)
        for columns, r in _ratios(x, table, d, pixels):
            total[:, columns] = _sum_log(r)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None, None]:
        x, table, d, pixels = ctx.saved_tensors
        g = grads[0]
        off = (-x).sigmoid()
        grad_x = off * g.sum(1, keepdim=True)
        grad_weight = torch.zeros_like(table[: len(table) // 2])
        for columns, r in _ratios(x, table, d, pixels):
            y = torch.div(off.unsqueeze(1), r, out=r)  # 1 - E[h_j | v^i]
            part = g[:, columns].unsqueeze(1)
            grad_x -= torch.bmm(part, y).squeeze(1)
            y.mul_(-(part * d[:, columns].unsqueeze(1)).mT)
            grad_weight.index_add_(0, pixels[:, columns].flatten(), y.flatten(0, 1))
        constant = torch.zeros_like(grad_weight[:, 0])
        constant.index_add_(0, pixels.flatten(), (g * d).flatten())
        return grad_x, grad_weight + constant.unsqueeze(1), None, None


def _ratios(x: Tensor, table: Tensor, d: Tensor, pixels: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Columns of `pixels`, and their r (B, columns, n_hidden), some at a time."""
    on, rows = x.sigmoid(), pixels + len(table) // 2 * (d < 0)
    n = max(AT_ONCE // x.numel(), 1)
    for first in range(0, pixels.shape[1], n):
        columns = slice(first, min(first + n, pixels.shape[1]))
        r = table.index_select(0, rows[:, columns].flatten()).view(len(x), -1, x.shape[1])
        yield columns, r.mul_(on.unsqueeze(1)).add_(1)


def _sum_log(r: Tensor) -> Tensor:
    """The sum of log r over the last dimension.

    Eight are multiplied first: a normal number, in float32, as long as no |W_ij| is above ten.
    """
    for _ in range(3):
        half = (r.shape[-1] + 1) // 2
        a, b = r[..., :half], r[..., half:]
        r = a * b if a.shape == b.shape else torch.cat([a[..., : b.shape[-1]] * b, a[..., -1:]], -1)
    return r.log().sum(-1)
