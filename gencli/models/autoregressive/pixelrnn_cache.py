"""PixelRNN one position at a time: the states of the row above and of the row so far are kept.

What the row above contributes to a row is computed for all of it when the row begins, and so is,
for the diagonal kind, the map that comes from the right. A pixel then costs one LSTM cell per
layer. A colour pixel is gone through once per channel.
"""

from __future__ import annotations

import torch
from torch import Tensor

from gencli.models.autoregressive.ancestral import Conditional
from gencli.models.autoregressive.pixelcnn_cache import RowCache, walk
from gencli.models.autoregressive.pixelrnn_kernel import cell
from gencli.models.autoregressive.pixelrnn_networks import DiagonalBiLSTM, PixelRNNStack, RowLSTM


class RowStates:
    """A row LSTM at one position after another.

    Args:
        layer: The layer.
        n: Images at once.
    """

    def __init__(self, layer: RowLSTM, n: int) -> None:
        weight, recurrent = layer.input.masked_weight().t(), layer.states.weight.transpose(1, 2)
        h, width = recurrent.shape[1], layer.width
        self.weight, self.bias, self.recurrent = weight.contiguous(), layer.input.bias, recurrent
        self.expand = layer.expand
        self.x = weight.new_zeros(width + 1, n, len(weight) // 2)  # the row's, after a margin
        self.h = weight.new_zeros(width + 2, n, h)  # between margins
        self.c, self.c_above = weight.new_zeros(2, width, n, h)
        self.base = self.bias.expand(width, n, -1)

    def next_row(self, pixels: Tensor) -> None:
        """The row is complete: compute what it gives the next one."""
        middle, left, right = self.recurrent  # as in `ABOVE`
        sums = self.h[1:-1] @ middle + self.h[:-2] @ left + self.h[2:] @ right
        self.base = self.bias + sums
        self.c, self.c_above = self.c_above, self.c

    def at(self, j: int, x: Tensor) -> Tensor:
        """Features (n, channels) to add to those of the row's pixel j, x of the same shape."""
        self.x[j + 1] = x
        sums = torch.addmm(self.base[j], torch.cat([self.x[j], x], 1), self.weight)
        h, c = cell(sums, self.c_above[j])
        self.h[j + 1], self.c[j] = h, c
        return self.expand(h)  # type: ignore[no-any-return]


class DiagonalStates:
    """A diagonal BiLSTM at one position after another.

    Arguments are those of `RowStates`.
    """

    def __init__(self, layer: DiagonalBiLSTM, n: int) -> None:
        weight = layer.input.masked_weight().t()
        left, self.recurrent_above = layer.states.weight.transpose(1, 2)  # as in `LEFT_AND_ABOVE`
        h, width = len(left), layer.width
        self.weight, self.bias = torch.cat([weight, left]), layer.input.bias
        self.expand, self.expand_right = layer.expand, layer.expand_right
        self.input_right = layer.input_right
        self.side, self.above_right = layer.states_right.weight.transpose(1, 2)
        self.x = weight.new_zeros(width, n, len(weight))
        self.h, self.c = weight.new_zeros(2, width + 1, n, h)  # the row's, after a margin
        self.h_right = weight.new_zeros(width, n, h)
        self.base = self.bias.expand(width, n, -1)
        self.given = weight.new_zeros(width, n, len(weight))  # by the map that comes from the right

    def next_row(self, pixels: Tensor) -> None:
        """The row is complete, with these pixels (W, n, C): compute what it gives the next one."""
        self.base = self.bias + self.h[1:] @ self.recurrent_above
        sums = self.input_right(torch.cat([self.x, pixels], -1)) + self.h_right @ self.above_right
        h = c = torch.zeros_like(self.h[0])
        for j in range(len(sums) - 1, -1, -1):
            h, c = cell(torch.addmm(sums[j], h, self.side), c)
            self.h_right[j] = h
        self.given = self.expand_right(self.h_right)

    def at(self, j: int, x: Tensor) -> Tensor:
        """Features (n, channels) to add to those of the row's pixel j, x of the same shape."""
        self.x[j] = x
        sums = torch.addmm(self.base[j], torch.cat([x, self.h[j]], 1), self.weight)
        h, c = cell(sums, self.c[j])
        self.h[j + 1], self.c[j + 1] = h, c
        return self.given[j] + self.expand(h)  # type: ignore[no-any-return]


def recurrent_rows(
    stack: PixelRNNStack, n: int, shape: tuple[int, int, int], label: Tensor | None = None
) -> Conditional:
    """The conditional of `PixelRNNStack` for drawing `n` images of `shape` (C, H, W)."""
    width = shape[2]
    first = RowCache(stack.first, n, width, label)
    states = [
        RowStates(layer, n) if isinstance(layer, RowLSTM) else DiagonalStates(layer, n)
        for layer in stack.recurrent_layers()
    ]

    def next_row(i: int) -> None:
        pixels = first.row[:, first.reach : first.reach + width].transpose(0, 1)
        for layer in states:
            layer.next_row(pixels)
        first.next_row()

    def outputs(i: int, j: int) -> Tensor:
        h = first.at(j) + stack.place[i * width + j]
        for layer in states:
            h = h + layer.at(j, h)
        out: Tensor = stack.last(stack.mix(h.relu_()).relu_())
        return out

    return walk(shape, first.put, next_row, outputs)
