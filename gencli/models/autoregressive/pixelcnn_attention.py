"""Attention between the layers of PixelCNN: a pixel looks up any pixel before it, however far.

    h_p <- h_p + U sum_{q < p} a_pq v_q,    a_p = softmax_q(query_p . key_q / sqrt d)

Keys and values are of a pixel that is complete: linear maps of its features h_q and of its colours
x_q. The pixel's own are left out, so a query may be of any colour channel; each channel has heads
of its own, whose queries come from the channels up to it. The first pixel has nothing to look up: a
key and a value of zeros stand before all others.

Source: Chen et al. 2018, arXiv:1712.09763 (PixelSNAIL), figure 3, with one attention block for
several convolutional ones.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gencli.models.autoregressive.masked import CausalConv2d, channel_group

HEADS = 2
"""For each colour channel."""


class PixelAttention(nn.Module):
    """Features (B, channels, H, W) of images (B, C, H, W) -> the same, changed little at first.

    Args:
        n_colors: C.
        channels: Of the features; a multiple of 2 C.
    """

    def __init__(self, n_colors: int, channels: int) -> None:
        super().__init__()
        group = channel_group(channels, n_colors)
        self.heads = HEADS * n_colors
        self.query = CausalConv2d(group, group, 1, "B")
        self.key, self.value = (nn.Conv2d(channels + n_colors, channels, 1) for _ in range(2))
        self.out = CausalConv2d(group, group, 1, "B")
        nn.init.normal_(self.out.weight, std=0.01)

    def forward(self, h: Tensor, x: Tensor) -> Tensor:
        """See the class."""
        seen = torch.cat([h, x], 1)
        q, k, v = (self._sequence(t) for t in (self.query(h), self.key(seen), self.value(seen)))
        k, v = (F.pad(t, (0, 0, 1, -1)) for t in (k, v))  # place p holds those of p - 1
        found = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        change: Tensor = self.out(found.transpose(2, 3).reshape(h.shape))
        return h + change

    def _sequence(self, t: Tensor) -> Tensor:
        """(B, channels, H, W) -> (B, heads, H * W, channels / heads)."""
        return t.reshape(len(t), self.heads, -1, t.shape[2] * t.shape[3]).transpose(2, 3)


class AttentionCache:
    """The attention one pixel at a time, keys and values kept.

    Args:
        layer: The attention.
        n: Images at once.
        n_places: H * W.
        pointwise: Makes a product (n, in) -> (n, out) of a causal 1 x 1 convolution.
    """

    def __init__(
        self,
        layer: PixelAttention,
        n: int,
        n_places: int,
        pointwise: Callable[[CausalConv2d], Callable[[Tensor], Tensor]],
    ) -> None:
        self.layer, self.n = layer, n
        self.query, self.out = pointwise(layer.query), pointwise(layer.out)
        channels = layer.key.weight.shape[0]
        shape = (n, layer.heads, n_places, channels // layer.heads)
        self.keys, self.values = (layer.key.weight.new_zeros(shape) for _ in range(2))
        self.h = layer.key.weight.new_zeros(n, channels)
        self.place = 0

    def complete(self, x: Tensor) -> None:
        """The colours (n, C) of the pixel at hand are known: on to the next one."""
        self.place += 1
        seen = torch.cat([self.h, x], 1)
        for kept, conv in ((self.keys, self.layer.key), (self.values, self.layer.value)):
            new = F.linear(seen, conv.weight.flatten(1), conv.bias)
            kept[:, :, self.place] = new.view(self.n, self.layer.heads, -1)

    def at(self, h: Tensor) -> Tensor:
        """The features (n, channels) of the pixel at hand, changed."""
        self.h = h
        q = self.query(h).view(self.n, self.layer.heads, 1, -1)
        so_far = self.keys[:, :, : self.place + 1], self.values[:, :, : self.place + 1]
        return h + self.out(F.scaled_dot_product_attention(q, *so_far).flatten(1))
