"""The recurrence of PixelRNN over a map, many cells at a time, and its gradients by hand.

A cell's LSTM takes the states of a few neighbours and the memory of one of them:

    [o, f, i, g] = [sigma, sigma, sigma, tanh](z + sum_k h_k W_k),
    c = f c_1 + i g,    h = o tanh(c)

z is what the input gives, of all cells at once. The row LSTM's neighbours are in the row above, so
a row is one step. The diagonal LSTM's are to the left and above, so a diagonal is one: H + W - 1
steps, the columns of the skewed map of arXiv:1601.06759, figure 3, without its empty half.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

Neighbours = tuple[tuple[int, int], ...]
"""(rows, columns) from a cell to those whose states it takes; of the first it takes the memory."""

ABOVE: Neighbours = ((-1, 0), (-1, -1), (-1, 1))
LEFT_AND_ABOVE: Neighbours = ((0, -1), (-1, 0))


def cell(sums: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
    """One step of an LSTM: sums (n, 4h) and memory (n, h) -> state and memory, (n, h) each."""
    o, f, i, g = sums.chunk(4, 1)
    c = f.sigmoid() * memory + i.sigmoid() * g.tanh()
    return o.sigmoid() * c.tanh(), c


def plain_states(z: Tensor, recurrent: Tensor, neighbours: Neighbours) -> Tensor:
    """States (H, W, B, h) by the equations above, a cell at a time.

    Args:
        z: (H, W, B, 4h).
        recurrent: (K, 4h, h), of each neighbour's state.
        neighbours: K of them; what lies outside of the map is zero.
    """
    nothing = z.new_zeros(z.shape[2], recurrent.shape[2])
    states: dict[tuple[int, int], tuple[Tensor, Tensor]] = {}
    weights = recurrent.transpose(1, 2).unbind(0)
    for i, row in enumerate(z.unbind(0)):
        for j, sums in enumerate(row.unbind(0)):
            near = [states.get((i + di, j + dj), (nothing, nothing)) for di, dj in neighbours]
            for (h, _), weight in zip(near, weights, strict=True):
                sums = torch.addmm(sums, h, weight)
            states[i, j] = cell(sums, near[0][1])
    return torch.stack([h for h, _ in states.values()]).view(*z.shape[:3], -1)


@dataclass(frozen=True)
class Lines:
    """The cells of an H x W map by the step at which they are computed, those of a step in a line.

    Between two lines there is room for two cells more, which are zero: all neighbours of a line
    are a stretch of the line before and its margins.

    Attributes:
        sizes: Cells of each line.
        starts: Of each line and neighbour, where the neighbours of its first cell begin in the line
            before with its margins.
        order: The cell of the map (row by row) at each place of the lines, int64 (H * W,).
        place: Where each cell of the map is in the lines with their margins, int64 (H * W,).
    """

    sizes: tuple[int, ...]
    starts: tuple[tuple[int, ...], ...]
    order: Tensor
    place: Tensor

    @staticmethod
    def of(neighbours: Neighbours, height: int, width: int) -> Lines:
        """Rows if all neighbours are in the row above, else diagonals."""
        rows = all(di for di, _ in neighbours)
        offsets = [dj if rows else di for di, dj in neighbours]  # along a line
        spans = [
            (0, width) if rows else (max(0, line - width + 1), min(height, line + 1))
            for line in range(height if rows else height + width - 1 if height else 0)
        ]
        sizes = tuple(end - first for first, end in spans)
        starts, order, place, base = [], [], [], 0
        for line, (first, end) in enumerate(spans):
            last = spans[max(line - 1, 0)][0]
            starts.append(tuple(first - last + offset + 1 for offset in offsets))
            for s in range(end - first):
                i, j = (line, s) if rows else (first + s, line - first - s)
                order.append(i * width + j)
                place.append(base + 1 + s)
            base += end - first + 2
        where = torch.empty(len(order), dtype=torch.long)
        where[order] = torch.tensor(place, dtype=torch.long)
        return Lines(sizes, tuple(starts), torch.tensor(order, dtype=torch.long), where)

    def cut(self, flat: Tensor, batch: int) -> tuple[Tensor, ...]:
        """Views of each line of (features, H * W * batch)."""
        return torch.split(flat, [n * batch for n in self.sizes], 1)

    def cut_margins(
        self, flat: Tensor, batch: int
    ) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """Views of each line of (features, n_cells * batch), with its margins and without."""
        whole = torch.split(flat, [(n + 2) * batch for n in self.sizes], 1)
        parts = torch.split(flat, [k * batch for n in self.sizes for k in (1, n, 1)], 1)
        return whole, parts[1::3]

    @property
    def n_cells(self) -> int:
        """With the margins."""
        return sum(self.sizes) + 2 * len(self.sizes)


def line_states(x: Tensor, weight: Tensor, bias: Tensor, recurrent: Tensor, lines: Lines) -> Tensor:
    """States (M, B, h) of all cells, in lines with their margins.

    Features come first in memory within, so that the gates of a line lie together; the result is a
    transposed view. The gradient goes back line by line in memory that is laid out once, where
    autograd would keep a dozen small results for each.

    Args:
        x: (H * W, B, F), in lines.
        weight: (4h, F), of the input.
        bias: (4h,).
        recurrent: (K, 4h, h), of each neighbour's state.
        lines: Of the neighbours.
    """
    states: Tensor = _LineStates.apply(x.flatten(0, 1), weight, bias, recurrent, lines, x.shape[1])
    return states.t().view(-1, x.shape[1], states.shape[0])


class _LineStates(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, recurrent: Tensor, lines: Lines,
        batch: int,
    ) -> Tensor:  # fmt: skip
        h = recurrent.shape[2]
        # tanh(a) = 2 sigma(2a) - 1: on CPUs the logistic function is faster by far.
        doubled = bias.new_ones(4 * h, 1)
        doubled[3 * h :] = 2
        # (4h, H * W * B): o, f, i, g
        gates = torch.addmm(bias.unsqueeze(1) * doubled, weight * doubled, x.t())
        tanh_c = torch.empty_like(gates[:h])
        states, memories = gates.new_zeros(2, h, lines.n_cells * batch).unbind(0)
        weights = (recurrent * doubled).unbind(0)
        minus_one = gates.new_tensor(-1.0)
        last = last_c = None
        for start, gate, o, f, i, g, tanh, state, new_state, memory, c in zip(
            lines.starts,
            lines.cut(gates, batch),
            *(lines.cut(part, batch) for part in gates.chunk(4)),
            lines.cut(tanh_c, batch),
            *lines.cut_margins(states, batch),
            *lines.cut_margins(memories, batch),
            strict=True,
        ):
            n = gate.shape[1]
            if last is not None:
                for k, w in zip(start, weights, strict=True):
                    gate.addmm_(w, last.narrow(1, k * batch, n))
            gate.sigmoid_()
            torch.mul(i, torch.add(minus_one, g, alpha=2, out=g), out=c)
            if last_c is not None:
                c.addcmul_(f, last_c.narrow(1, start[0] * batch, n))
            torch.mul(c, 2, out=tanh).sigmoid_()
            torch.mul(o, torch.add(minus_one, tanh, alpha=2, out=tanh), out=new_state)
            last, last_c = state, memory
        ctx.save_for_backward(x, weight, recurrent, gates, tanh_c, states, memories)
        ctx.lines, ctx.batch = lines, batch
        return states

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, recurrent, gates, tanh_c, states, memories = ctx.saved_tensors
        lines, batch = ctx.lines, ctx.batch
        h = recurrent.shape[2]
        sigmoid_backward = torch.ops.aten.sigmoid_backward.grad_input
        tanh_backward = torch.ops.aten.tanh_backward.grad_input
        grad_gates = torch.empty_like(gates)
        grad_gates[h : 2 * h, : lines.sizes[0] * batch] = 0  # the first line forgets nothing
        grad_recurrent = torch.zeros_like(recurrent)
        grad_states = grads[0].clone(memory_format=torch.contiguous_format)
        grad_memories = torch.zeros_like(grad_states)
        spare = torch.empty_like(gates[:h, : max(lines.sizes) * batch])
        into = list(zip(recurrent.transpose(1, 2), grad_recurrent, strict=True))
        parts = [lines.cut(part, batch) for part in gates.chunk(4)]
        d_parts = [lines.cut(part, batch) for part in grad_gates.chunk(4)]
        sigmas, d_sigmas, tanhs, d_gates = (
            lines.cut(part, batch)
            for part in (gates[: 3 * h], grad_gates[: 3 * h], tanh_c, grad_gates)
        )
        (hs, _), (cs, _), (d_hs, d_new_hs), (d_cs, d_new_cs) = (
            lines.cut_margins(part, batch)
            for part in (states, memories, grad_states, grad_memories)
        )
        for t in reversed(range(len(lines.sizes))):
            d_h, d_c, tanh = d_new_hs[t], d_new_cs[t], tanhs[t]
            o, f, i, g = (part[t] for part in parts)
            d_o, d_f, d_i, d_g = (part[t] for part in d_parts)
            n = tanh.shape[1]
            through_tanh = torch.mul(d_h, o, out=spare[:, :n])
            d_c.add_(tanh_backward(through_tanh, tanh, grad_input=through_tanh))
            torch.mul(d_h, tanh, out=d_o)
            torch.mul(d_c, g, out=d_i)
            tanh_backward(torch.mul(d_c, i, out=d_g), g, grad_input=d_g)
            if t:
                first = lines.starts[t][0] * batch
                torch.mul(d_c, cs[t - 1].narrow(1, first, n), out=d_f)
                torch.mul(d_c, f, out=d_cs[t - 1].narrow(1, first, n))
            sigmoid_backward(d_sigmas[t], sigmas[t], grad_input=d_sigmas[t])
            if t:
                for start, (w, grad_w) in zip(lines.starts[t], into, strict=True):
                    d_hs[t - 1].narrow(1, start * batch, n).addmm_(w, d_gates[t])
                    grad_w.addmm_(d_gates[t], hs[t - 1].narrow(1, start * batch, n).t())
        grad_x = grad_gates.t() @ weight
        return grad_x, grad_gates @ x, grad_gates.sum(1), grad_recurrent, None, None
