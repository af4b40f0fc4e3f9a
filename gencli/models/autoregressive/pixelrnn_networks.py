"""The networks of PixelRNN: LSTMs over the rows or the diagonals of an image, one on another.

Within, a map is (H * W, B, features), row by row, so that a line of cells is one matrix. Features
of a colour channel are functions of the pixels before and of the channels before; states of earlier
pixels may be seen by all.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gencli.models.autoregressive.masked import CausalConv2d, channel_groups
from gencli.models.autoregressive.pixelrnn_kernel import (
    ABOVE,
    LEFT_AND_ABOVE,
    Lines,
    Neighbours,
    line_states,
)


class GroupLinear(nn.Linear):
    """A 1 x 1 convolution with mask B: a feature sees those of its own and of earlier channels."""

    mask: Tensor

    def __init__(self, in_group: Tensor, out_group: Tensor) -> None:
        super().__init__(len(in_group), len(out_group))
        seen = (in_group <= out_group.unsqueeze(1)).to(self.weight)
        self.register_buffer("mask", seen, persistent=False)

    def masked_weight(self) -> Tensor:
        """(out, in), zero where the mask is."""
        return self.weight * self.mask

    def forward(self, x: Tensor) -> Tensor:
        """(..., in) -> (..., out)."""
        return F.linear(x, self.masked_weight(), self.bias)


class Recurrence(nn.Module):
    """The state-to-state weights of one LSTM, and the lines along which it goes.

    Args:
        neighbours: Whose states a cell takes.
        height: Of the maps, as the LSTM sees them.
        width: Likewise.
        h: Size of a state.
        mirrored: Whether it sees right for left.
    """

    order: Tensor
    place: Tensor

    def __init__(
        self, neighbours: Neighbours, height: int, width: int, h: int, *, mirrored: bool = False
    ) -> None:
        super().__init__()
        self.lines = Lines.of(neighbours, height, width)
        cells = torch.arange(height * width).view(height, width)
        seen = (cells.flip(1) if mirrored else cells).flatten()
        self.register_buffer("order", seen[self.lines.order], persistent=False)
        self.register_buffer("place", self.lines.place[seen], persistent=False)
        self.weight = nn.Parameter(torch.empty(len(neighbours), 4 * h, h))
        nn.init.normal_(self.weight, std=(len(neighbours) * h) ** -0.5)

    def forward(self, x: Tensor, weight: Tensor, bias: Tensor, expand: nn.Linear) -> Tensor:
        """Features (H * W, B, features) that the states are expanded to.

        Args:
            x: The input, at least (H * W, B, F): what goes beyond is left out.
            weight: Input to state, (4h, F).
            bias: (4h,).
            expand: h -> features. It comes before cells are put back to their places: states are
                transposed in memory, and its product does not mind.
        """
        states = line_states(x[self.order], weight, bias, self.weight, self.lines)
        return expand(states)[self.place]  # type: ignore[no-any-return]


def _remember(bias: Tensor | None) -> None:
    """Let the forget gates begin open."""
    assert bias is not None
    h = len(bias) // 4
    nn.init.ones_(bias[h : 2 * h])


class RowLSTM(nn.Module):
    """A cell sees itself, its left neighbour and the states of the three cells above it.

    Source: van den Oord et al. 2016, arXiv:1601.06759, section 3.1.
    """

    def __init__(self, shape: tuple[int, int, int], channels: int) -> None:
        super().__init__()
        n_colors, self.height, self.width = shape
        h = channels // 2
        own, hidden = channel_groups(n_colors, channels, h)
        left = torch.zeros_like(own)  # all of it is known
        self.input = GroupLinear(torch.cat([left, own]), hidden.repeat(4))
        self.states = Recurrence(ABOVE, self.height, self.width, h)
        self.expand = GroupLinear(hidden, own)
        _remember(self.input.bias)

    def forward(self, x: Tensor, image: Tensor) -> Tensor:
        """Features (H * W, B, channels) to add to x of the same shape."""
        rows = x.view(self.height, self.width, *x.shape[1:])
        left = F.pad(rows, (0, 0, 0, 0, 1, 0))[:, :-1].flatten(0, 1)
        out: Tensor = self.states(
            torch.cat([left, x], -1), self.input.masked_weight(), self.input.bias, self.expand
        )
        return out


class DiagonalBiLSTM(nn.Module):
    """Two LSTMs from the upper corners, together a function of all pixels before.

    What comes from the right is moved down by a row. So it may see all colours of its own pixel,
    and it must: no feature of that pixel does, and of the last pixel of a row the next row would
    learn too late.

    Source: van den Oord et al. 2016, arXiv:1601.06759, section 3.2.
    """

    def __init__(self, shape: tuple[int, int, int], channels: int) -> None:
        super().__init__()
        n_colors, height, self.width = shape
        h = channels // 2
        own, hidden = channel_groups(n_colors, channels, h)
        self.input = GroupLinear(own, hidden.repeat(4))
        self.states = Recurrence(LEFT_AND_ABOVE, height, self.width, h)
        self.expand = GroupLinear(hidden, own)
        self.input_right = nn.Linear(channels + n_colors, 4 * h)
        self.states_right = Recurrence(LEFT_AND_ABOVE, height - 1, self.width, h, mirrored=True)
        self.expand_right = nn.Linear(h, channels, bias=False)
        for layer in (self.input, self.input_right):
            _remember(layer.bias)

    def forward(self, x: Tensor, image: Tensor) -> Tensor:
        """Features (H * W, B, channels) to add to x, beside the pixels (H * W, B, C)."""
        out: Tensor = self.states(x, self.input.masked_weight(), self.input.bias, self.expand)
        if len(x) == self.width:
            return out  # no row is above another
        from_right = self.states_right(
            torch.cat([x, image], -1),
            self.input_right.weight, self.input_right.bias, self.expand_right,
        )  # fmt: skip
        return out + F.pad(from_right, (0, 0, 0, 0, self.width, 0))  # moved down by a row


class PixelRNNStack(nn.Module):
    """A masked 7 x 7 convolution, recurrent layers, and two 1 x 1 layers: paper's table 1."""

    def __init__(
        self, shape: tuple[int, int, int], kind: Literal["row", "diagonal"], channels: int,
        n_layers: int, n_outputs: int,
    ) -> None:  # fmt: skip
        super().__init__()
        n_colors, height, width = shape
        colors, features, outputs = channel_groups(n_colors, n_colors, channels, n_outputs)
        self.first = CausalConv2d(colors, features, 7, "A")
        self.place = nn.Parameter(torch.zeros(height * width, 1, channels))
        layer = RowLSTM if kind == "row" else DiagonalBiLSTM
        self.layers = nn.ModuleList(layer(shape, channels) for _ in range(n_layers))
        self.mix = GroupLinear(features, features)
        self.last = GroupLinear(features, outputs)

    def recurrent_layers(self) -> list[RowLSTM | DiagonalBiLSTM]:
        """The recurrent layers, in order."""
        return [x for x in self.layers if isinstance(x, (RowLSTM, DiagonalBiLSTM))]

    def forward(self, x: Tensor, label: Tensor | None = None) -> Tensor:
        """Images (B, C, H, W) -> outputs (B, H * W, C * P); `label` is (B, channels)."""
        image = x.permute(2, 3, 0, 1).flatten(0, 1)
        first = self.first(x.contiguous(memory_format=torch.channels_last))
        h = first.permute(2, 3, 0, 1).flatten(0, 1) + self.place
        h = h if label is None else h + label
        for layer in self.layers:
            h = h + layer(h, image)
        outputs: Tensor = self.last(F.relu(self.mix(F.relu(h))))
        return outputs.transpose(0, 1)
