"""PixelCNN one position at a time: what a pixel adds to each layer, and nothing twice.

A causal convolution is split in two. What the rows above contribute is computed for a whole row
once the row above is complete; what the row so far contributes is, per pixel, one product of the
few features to its left and its own with the part of the kernel that the mask leaves there. A
colour pixel is gone through once per channel.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from gencli.models.autoregressive.ancestral import Conditional
from gencli.models.autoregressive.masked import CausalConv2d
from gencli.models.autoregressive.pixelcnn_attention import AttentionCache
from gencli.models.autoregressive.pixelcnn_networks import (
    GatedStacks,
    ResidualStack,
    everywhere,
    gate,
)


class RowCache:
    """The inputs of a causal convolution: some rows above, and the row so far.

    Args:
        conv: The convolution.
        n: Images at once.
        width: Of the images.
        label: What the images' classes add to the outputs, (n, out).
    """

    def __init__(self, conv: CausalConv2d, n: int, width: int, label: Tensor | None = None) -> None:
        weight = conv.masked_weight()
        rows, r = weight.shape[2] - 1, conv.reach
        own_is_seen = bool(conv.mask[:, :, -1, r].any())  # by mask A in one colour it is not
        self.taps = r + own_is_seen
        self.above = weight[:, :, :rows] if rows else None
        self.left = weight[:, :, -1, : self.taps].permute(2, 1, 0).flatten(0, 1).contiguous()
        self.bias = conv.bias
        self.label = None if label is None else everywhere(label)
        self.reach, self.width = r, width
        self.kept = weight.new_zeros(rows, n, width + 2 * r, weight.shape[1])
        self.row = weight.new_zeros(n, width + 2 * r, weight.shape[1])
        self.start_from(self.bias[:, None, None].expand(n, -1, 1, width))

    def start_from(self, given: Tensor) -> None:
        """What the row's outputs are without it, (n, out, 1, W), before the class adds its own."""
        if self.label is not None:
            given = given + self.label
        self.base = given.squeeze(2).permute(2, 0, 1).contiguous()  # (W, n, out)

    def next_row(self) -> None:
        """The row is complete: move up and compute what the rows above give the next one."""
        if self.above is not None:
            self.kept = torch.cat([self.kept[1:], self.row.unsqueeze(0)])
            window = self.kept.permute(1, 3, 0, 2)  # (n, in, rows, W + 2r)
            given = F.conv2d(window, self.above, self.bias)  # (n, out, 1, W)
            self.start_from(given)
        self.row.zero_()

    def put(self, j: int, x: Tensor) -> None:
        """Inputs (n, in) of pixel j of the row."""
        self.row[:, j + self.reach] = x

    def at(self, j: int) -> Tensor:
        """Outputs (n, out) of pixel j, from what has been put so far."""
        taps = self.row[:, j : j + self.taps].flatten(1)
        return torch.addmm(self.base[j], taps, self.left)


def _pointwise(conv: CausalConv2d) -> Callable[[Tensor], Tensor]:
    """A 1 x 1 convolution as a product: (n, in) -> (n, out)."""
    weight, bias = conv.masked_weight()[:, :, 0, 0].t().contiguous(), conv.bias
    return lambda x: torch.addmm(bias, x, weight)


def walk(
    shape: tuple[int, int, int],
    read: Callable[[int, Tensor], None],
    next_row: Callable[[int], None],
    outputs: Callable[[int, int], Tensor],
    attention: AttentionCache | None = None,
) -> Conditional:
    """Turn pixel-wise functions into a `Conditional`.

    `read(j, x)` takes in the channels (n, C) of the row's pixel j drawn so far, the others zero;
    `next_row(i)` begins row i; `outputs(i, j)` gives (n, C * P).
    """
    channels, _, width = shape

    def conditional(t: int, pixels: Tensor) -> Tensor:
        pixel, channel = divmod(t, channels)
        i, j = divmod(pixel, width)
        if channel == 0 and pixel > 0:
            before = pixels[(pixel - 1) * channels : pixel * channels].t()
            read((pixel - 1) % width, before)
            if attention is not None:
                attention.complete(before)
            if j == 0:
                next_row(i)
        if channel > 0:
            read(j, pixels[pixel * channels : (pixel + 1) * channels].t())
        return outputs(i, j).view(pixels.shape[1], channels, -1)[:, channel]

    return conditional


def _attention(
    stack: ResidualStack | GatedStacks, n: int, shape: tuple[int, int, int]
) -> AttentionCache | None:
    if stack.attention is None:
        return None
    return AttentionCache(stack.attention, n, shape[1] * shape[2], _pointwise)


def residual_rows(
    stack: ResidualStack, n: int, shape: tuple[int, int, int], labels: Sequence[Tensor] = ()
) -> Conditional:
    """The conditional of `ResidualStack` for drawing `n` images of `shape` (C, H, W)."""
    blocks = stack.residual_blocks()
    first, *caches = (
        RowCache(conv, n, shape[2], labels[index] if labels else None)
        for index, conv in enumerate((stack.first, *(block.conv for block in blocks)))
    )
    reduce = [_pointwise(block.reduce) for block in blocks]
    expand = [_pointwise(block.expand) for block in blocks]
    mix, last = _pointwise(stack.mix), _pointwise(stack.last)
    attention = _attention(stack, n, shape)

    def next_row(i: int) -> None:
        for cache in (first, *caches):
            cache.next_row()

    def outputs(i: int, j: int) -> Tensor:
        h = first.at(j) + stack.place[:, i, j]
        for index, (narrow, cache, wide) in enumerate(zip(reduce, caches, expand, strict=True), 1):
            cache.put(j, narrow(h.relu()).relu_())
            h += wide(cache.at(j).relu_())
            if attention is not None and index == stack.attend_after:
                h = attention.at(h)
        return last(mix(h.relu_()).relu_())

    return walk(shape, first.put, next_row, outputs, attention)


def gated_rows(
    stacks: GatedStacks, n: int, shape: tuple[int, int, int], labels: Sequence[Tensor] = ()
) -> Conditional:
    """The conditional of `GatedStacks`: its vertical stack goes row by row, the other by pixel."""
    width = shape[2]
    layers = stacks.gated_layers()
    halves = [label.chunk(2, 1) for label in labels]  # for the vertical, and the horizontal stack
    caches = [
        RowCache(layer.horizontal, n, width, halves[index][1] if halves else None)
        for index, layer in enumerate(layers)
    ]
    out = [_pointwise(layer.out) for layer in layers]
    mix, last = _pointwise(stacks.mix), _pointwise(stacks.last)
    attention = _attention(stacks, n, shape)
    kernels = [layer.vertical.weight for layer in layers]
    rows = [w.new_zeros(n, *w.shape[1:3], width) for w in kernels]  # (n, in, rows, W): their inputs

    def next_row(i: int) -> None:
        v = caches[0].row[:, caches[0].reach : caches[0].reach + width].permute(0, 2, 1)
        for index, (layer, cache) in enumerate(zip(layers, caches, strict=True)):
            rows[index] = torch.cat([rows[index][:, :, 1:], v.unsqueeze(2)], 2)
            v = F.conv2d(rows[index], kernels[index], layer.vertical.bias, padding=(0, cache.reach))
            if halves:
                v = v + everywhere(halves[index][0])
            cache.start_from(layer.link(v) + cache.bias[:, None, None])
            cache.next_row()
            v = gate(v).squeeze(2)
            if index == 0:
                v = v + stacks.place[:, i - 1]

    def outputs(i: int, j: int) -> Tensor:
        h = stacks.place[:, i, j]
        for index, (wide, cache) in enumerate(zip(out, caches, strict=True), 1):
            if index > 1:
                cache.put(j, h)
            h = h + wide(gate(cache.at(j)))
            if attention is not None and index == stacks.attend_after:
                h = attention.at(h)
        return last(mix(h.relu_()).relu_())

    return walk(shape, caches[0].put, next_row, outputs, attention)
