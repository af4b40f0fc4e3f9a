"""The networks of PixelCNN: a stack of masked residual blocks, and the two gated stacks.

Both map images (B, C, H, W) to outputs (B, C * P, H, W), the P outputs of a colour channel side by
side, functions of the pixels above and to the left and of the channels before. Convolutions do not
know where they are, and a pixel's place tells much: a map of features per position is added to the
first layer's. Classes come as vectors (B, width), one for each of `label_widths`, which are added
to what the layers compute before their units.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gencli.models.autoregressive.masked import CausalConv2d, channel_groups
from gencli.models.autoregressive.pixelcnn_attention import PixelAttention


def everywhere(vectors: Tensor) -> Tensor:
    """(B, C) -> (B, C, 1, 1): the same at every position."""
    return vectors[:, :, None, None]


class ResidualBlock(nn.Module):
    """x + 1x1(relu(kxk(relu(1x1(relu(x)))))), with a bottleneck of half the features.

    At first it changes x little, however many blocks there are.
    """

    def __init__(self, n_colors: int, channels: int, kernel: int, dropout: float) -> None:
        super().__init__()
        wide, narrow = channel_groups(n_colors, channels, channels // 2)
        self.reduce = CausalConv2d(wide, narrow, 1, "B")
        self.conv = CausalConv2d(narrow, narrow, kernel, "B")
        self.expand = CausalConv2d(narrow, wide, 1, "B")
        self.dropout = dropout
        for layer in (self.reduce, self.conv):
            nn.init.kaiming_normal_(layer.weight)
        nn.init.normal_(self.expand.weight, std=0.01)

    def forward(self, x: Tensor, label: Tensor | None = None) -> Tensor:
        """(B, channels, H, W) -> the same; `label` is (B, channels // 2)."""
        h = self.conv(F.relu(self.reduce(F.relu(x))))
        h = F.relu(h if label is None else h + everywhere(label))
        out: Tensor = x + self.expand(F.dropout(h, self.dropout, self.training))
        return out


class ResidualStack(nn.Module):
    """The network of arXiv:1601.06759, figure 5 and table 1."""

    blocks_in = ("blocks",)

    def __init__(
        self, shape: tuple[int, int, int], channels: int, n_blocks: int, kernel: int,
        n_outputs: int, dropout: float, attention: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        n_colors, height, width = shape
        colors, features, outputs = channel_groups(n_colors, n_colors, channels, n_outputs)
        self.first = CausalConv2d(colors, features, 7, "A")
        self.place = nn.Parameter(torch.zeros(channels, height, width))
        self.blocks = nn.ModuleList(
            ResidualBlock(n_colors, channels, kernel, dropout) for _ in range(n_blocks)
        )
        self.mix = CausalConv2d(features, features, 1, "B")
        self.last = CausalConv2d(features, outputs, 1, "B")
        self.attention = PixelAttention(n_colors, channels) if attention else None
        self.attend_after = (n_blocks + 1) // 2
        self.label_widths = (channels, *(channels // 2,) * n_blocks)

    def residual_blocks(self) -> list[ResidualBlock]:
        """The blocks, in order."""
        return [block for block in self.blocks if isinstance(block, ResidualBlock)]

    def forward(self, x: Tensor, labels: Sequence[Tensor] = ()) -> Tensor:
        """(B, C, H, W) -> (B, C * P, H, W)."""
        h = self.first(x.contiguous(memory_format=torch.channels_last)) + self.place
        if labels:
            h = h + everywhere(labels[0])
        for index, block in enumerate(self.blocks, 1):
            h = block(h, labels[index] if labels else None)
            if self.attention is not None and index == self.attend_after:
                h = self.attention(h, x)
        return self.last(F.relu(self.mix(F.relu(h))))  # type: ignore[no-any-return]


def gate(x: Tensor, dim: int = 1) -> Tensor:
    """tanh(a) * sigma(b) of the two halves of `dim`."""
    a, b = x.chunk(2, dim)
    return torch.tanh(a) * torch.sigmoid(b)


class GatedLayer(nn.Module):
    """One layer of both stacks: arXiv:1606.05328, figure 2.

    Vertical features at row i are functions of the rows up to i and reach the horizontal stack one
    row further down, so they need no mask. The layer that reads the image is horizontally of mask A
    and does not add its input to its output.
    """

    def __init__(self, n_colors: int, n_inputs: int, channels: int, kernel: int) -> None:
        super().__init__()
        self.first = n_inputs == n_colors
        read, features = channel_groups(n_colors, n_inputs, channels)
        gates = features.repeat(2)
        reach = kernel // 2
        self.vertical = nn.Conv2d(n_inputs, 2 * channels, (reach + 1, kernel), padding=(0, reach))
        self.above = (0, 0, reach, 0)  # rows of zeros above the image
        self.link = nn.Conv2d(2 * channels, 2 * channels, 1, bias=False)
        self.horizontal = CausalConv2d(read, gates, kernel, "A" if self.first else "B", above=False)
        self.out = CausalConv2d(features, features, 1, "B")

    def forward(self, v: Tensor, h: Tensor, label: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Vertical and horizontal features (B, n, H, W); `label` is (B, 4 * channels), of both."""
        v, own = self.vertical(F.pad(v, self.above)), self.horizontal(h)
        if label is not None:
            for_v, for_h = label.chunk(2, 1)
            v, own = v + everywhere(for_v), own + everywhere(for_h)
        below = F.pad(self.link(v), (0, 0, 1, -1))  # shifted down by a row
        out = self.out(gate(own + below))
        return gate(v), out if self.first else h + out


class GatedStacks(nn.Module):
    """The network of arXiv:1606.05328."""

    blocks_in = ("layers",)

    def __init__(
        self, shape: tuple[int, int, int], channels: int, n_layers: int, kernel: int,
        n_outputs: int, dropout: float, attention: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        n_colors, height, width = shape
        features, outputs = channel_groups(n_colors, channels, n_outputs)
        self.layers = nn.ModuleList(
            GatedLayer(n_colors, channels if i else n_colors, channels, kernel if i else 7)
            for i in range(n_layers)
        )
        self.place = nn.Parameter(torch.zeros(channels, height, width))
        self.mix = CausalConv2d(features, features, 1, "B")
        self.last = CausalConv2d(features, outputs, 1, "B")
        self.dropout = dropout
        self.attention = PixelAttention(n_colors, channels) if attention else None
        self.attend_after = (n_layers + 1) // 2
        self.label_widths = (4 * channels,) * n_layers

    def gated_layers(self) -> list[GatedLayer]:
        """The layers, in order."""
        return [layer for layer in self.layers if isinstance(layer, GatedLayer)]

    def forward(self, x: Tensor, labels: Sequence[Tensor] = ()) -> Tensor:
        """(B, C, H, W) -> (B, C * P, H, W)."""
        v = h = x.contiguous(memory_format=torch.channels_last)
        for index, layer in enumerate(self.layers):
            v, h = layer(v, h, labels[index] if labels else None)
            if index == 0:
                v, h = v + self.place, h + self.place
            h = F.dropout(h, self.dropout, self.training)
            if self.attention is not None and index + 1 == self.attend_after:
                h = self.attention(h, x)
        return self.last(F.relu(self.mix(F.relu(h))))  # type: ignore[no-any-return]
