"""The running activation of NADE, differentiable in memory for a few pixels instead of all."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

Activation = Literal["sigmoid", "relu"]


def running_outputs(
    x: Tensor, w: Tensor, c: Tensor, v: Tensor, activation: Activation, chunk: int = 8
) -> Tensor:
    """Outputs (D, P, B) of all pixels, v_d . h_d with h_d = activation(c + sum_{i<d} x_i w_i).

    Keeping every h_d takes D times the memory of one, and a step would wait for nothing else.
    Instead the pixels are gone through `chunk` at a time, their hidden units stay in the
    processor's cache, and the backward pass computes them again from the sum kept for each chunk.

    Args:
        x: Pixels (B, D); they get no gradient.
        w: (D, H), the row w_i added to the sum once pixel i is known.
        c: (H,), the sum before the first pixel.
        v: (D, P, H).
        activation: Elementwise.
        chunk: Pixels at a time; changes speed and memory only.
    """
    outputs: Tensor = _RunningOutputs.apply(x, w, c, v, activation, chunk)  # type: ignore[no-untyped-call]
    return outputs


def _hidden(a: Tensor, x: Tensor, w: Tensor, activation: Activation, out: Tensor) -> Tensor:
    """Fill `out` (K, B, H) with a chunk's hidden units; return the sum (B, H) after the chunk."""
    for row, x_i, w_i in zip(out.unbind(0), x.t().unsqueeze(2).unbind(0), w.unbind(0), strict=True):
        row.copy_(a)
        a = torch.addcmul(a, x_i, w_i)
    out.sigmoid_() if activation == "sigmoid" else out.relu_()
    return a


class _RunningOutputs(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, w: Tensor, c: Tensor, v: Tensor, activation: Activation, chunk: int
    ) -> Tensor:
        a = c.expand(len(x), -1)
        h = x.new_empty(chunk, *a.shape)
        outputs, starts = [], []
        for x_chunk, w_chunk, v_chunk in zip(
            x.split(chunk, 1), w.split(chunk), v.split(chunk), strict=True
        ):
            here = h[: len(w_chunk)]
            starts.append(a)
            a = _hidden(a, x_chunk, w_chunk, activation, here)
            outputs.append(torch.bmm(v_chunk, here.transpose(1, 2)))
        ctx.save_for_backward(x, w, v, *starts)
        ctx.activation, ctx.chunk = activation, chunk
        return torch.cat(outputs)

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, w, v, *starts = ctx.saved_tensors
        (g,) = grads
        grad_w, grad_v = torch.empty_like(w), torch.empty_like(v)
        later = torch.zeros_like(starts[-1])  # gradient of the sum, from the pixels gone through
        buffers = x.new_empty(2, ctx.chunk, *later.shape)
        for n in reversed(range(len(starts))):
            d = n * ctx.chunk
            here = slice(d, d + ctx.chunk)
            h, delta = buffers[:, : len(w[here])]
            _hidden(starts[n], x[:, here], w[here], ctx.activation, h)
            torch.bmm(g[here], h, out=grad_v[here])
            if v.shape[1] == 1:
                torch.mul(g[here].transpose(1, 2), v[here], out=delta)  # an outer product
            else:
                torch.bmm(g[here].transpose(1, 2), v[here], out=delta)
            if ctx.activation == "sigmoid":
                torch.ops.aten.sigmoid_backward.grad_input(delta, h, grad_input=delta)
            else:
                torch.ops.aten.threshold_backward.grad_input(delta, h, 0, grad_input=delta)
            for k in reversed(range(len(delta))):
                torch.mv(later.t(), x[:, d + k], out=grad_w[d + k])
                later += delta[k]
        return None, grad_w, later.sum(0), grad_v, None, None
