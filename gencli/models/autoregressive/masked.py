"""Layers with connections removed, so that an output is a function of earlier pixels alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def draw_degrees(
    n_pixels: int, hidden: Sequence[int], n_masks: int, shuffled: bool
) -> tuple[Tensor, Tensor]:
    """Orderings of the pixels and degrees of the hidden units, the same in every process.

    Args:
        n_pixels: D.
        hidden: Widths of the hidden layers.
        n_masks: M; the first has raster order and degrees spread evenly over 1..D-1.
        shuffled: Whether the other masks' orderings are random, too, like their degrees.

    Returns:
        The pixels in drawing order, int64 (M, D), and the degrees of all hidden layers side by
        side, int64 (M, sum of widths): a unit of degree k sees the first k pixels of its ordering.
    """
    generator = torch.Generator().manual_seed(n_masks)
    top = max(n_pixels - 1, 1)
    orders = [torch.arange(n_pixels)]
    even = [torch.linspace(1, top, width).round().long() for width in hidden]
    degrees = [torch.cat(even)]
    for _ in range(n_masks - 1):
        orders.append(torch.randperm(n_pixels, generator=generator) if shuffled else orders[0])
        low, layers = 1, []
        for width in hidden:
            layers.append(torch.randint(low, top + 1, (width,), generator=generator))
            low = int(layers[-1].min())  # so that every unit has an input
        degrees.append(torch.cat(layers))
    return torch.stack(orders), torch.stack(degrees)


def masked_linear(
    x: Tensor, weight: Tensor, bias: Tensor | None, in_degree: Tensor, out_degree: Tensor
) -> Tensor:
    """A linear map (B, in) -> (B, out); output j sees inputs i with in_degree_i <= out_degree_j.

    The bias is (out,), or (B, out) where each image has its own.
    """
    weight = weight * (out_degree.unsqueeze(1) >= in_degree)
    if bias is not None and bias.dim() == 2:
        return torch.addmm(bias, x, weight.t())
    return F.linear(x, weight, bias)


def channel_group(n_channels: int, n_groups: int) -> Tensor:
    """The colour channel that each feature belongs to, int64 (n_channels,): contiguous groups."""
    return torch.arange(n_channels) * n_groups // n_channels


def channel_groups(n_groups: int, *n_channels: int) -> tuple[Tensor, ...]:
    """The `channel_group` of several widths."""
    return tuple(channel_group(n, n_groups) for n in n_channels)


class CausalConv2d(nn.Module):
    """A k x k convolution that sees the rows above, the row so far, and part of its own pixel.

    Of its own pixel, a feature of colour channel g sees the features of channels before g (mask A,
    for the layer that reads the image) or up to g (mask B, for all others). Only the upper half of
    the kernel exists, so nearly half of a masked k x k convolution's products are never made.
    Source: van den Oord et al. 2016, arXiv:1601.06759, section 3.4.

    Args:
        in_group: Colour channel of each input feature, int64 (in,).
        out_group: Colour channel of each output feature, int64 (out,).
        kernel: k, odd.
        mask: A or B.
        above: Whether it sees the rows above at all.
    """

    mask: Tensor

    def __init__(
        self,
        in_group: Tensor,
        out_group: Tensor,
        kernel: int,
        mask: Literal["A", "B"],
        *,
        above: bool = True,
    ) -> None:
        super().__init__()
        reach = kernel // 2
        shape = (reach + 1, kernel) if above else (1, reach + 1)
        dense = nn.Conv2d(len(in_group), len(out_group), shape)
        assert dense.bias is not None
        self.weight, self.bias = dense.weight, dense.bias  # as initialised there
        earlier, own = in_group < out_group.unsqueeze(1), in_group == out_group.unsqueeze(1)
        seen = torch.ones_like(self.weight)
        seen[:, :, -1, reach + 1 :] = 0
        seen[:, :, -1, reach] = (earlier | own if mask == "B" else earlier).to(seen)
        self.register_buffer("mask", seen, persistent=False)
        self.reach = reach

    def masked_weight(self) -> Tensor:
        """(out, in, rows, columns), zero where the mask is; the last row is the pixel's own."""
        return self.weight * self.mask

    def forward(self, x: Tensor) -> Tensor:
        """(B, in, H, W) -> (B, out, H, W)."""
        rows = self.weight.shape[2] - 1
        if rows:  # one side by hand and the other two by the convolution: the fastest way measured
            x = F.pad(x, (0, 0, rows, 0))
            return F.conv2d(x, self.masked_weight(), self.bias, padding=(0, self.reach))
        x = F.pad(x, (self.reach, 0)) if self.reach else x
        return F.conv2d(x, self.masked_weight(), self.bias)
