"""The running activation of NADE, differentiable in memory for a few pixels instead of all."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

Activation = Literal["sigmoid", "relu"]


def running_outputs(
    x: Tensor, w: Tensor, c: Tensor, v: Tensor, activation: Activation, chunk: int = 8
) -> Tensor:
    """Outputs (D, B, P) of all pixels, v_d . h_d with h_d = activation(c + sum_{i<d} x_i w_i).

    Keeping every h_d takes D times the memory of one, and moving it is what a step would wait for.
    Instead the pixels are gone through `chunk` at a time, their activations stay in the processor's
    cache, and the backward pass computes them again from the sums kept at the start of each chunk.
    Within a chunk the running sum is a product with the strictly lower triangle of its pixels.

    Args:
        x: Pixels (B, D); they get no gradient.
        w: (D, H), the row w_i added to the sum once pixel i is known.
        c: (H,), the sum before the first pixel.
        v: (D, H, P).
        activation: Elementwise.
        chunk: Pixels at a time; changes speed and memory only.
    """
    outputs: Tensor = _RunningOutputs.apply(x, w, c, v, activation, chunk)  # type: ignore[no-untyped-call]
    return outputs


def _hidden(start: Tensor, x: Tensor, w: Tensor, activation: Activation) -> tuple[Tensor, Tensor]:
    """Hidden units (K, B, H) of a chunk, and the prefixes (K, B, K) of its pixels x (B, K)."""
    k = x.shape[1]
    prefix = x * torch.ones(k, k, dtype=x.dtype, device=x.device).tril(-1).unsqueeze(1)
    a = torch.baddbmm(start.expand(k, -1, -1), prefix, w.expand(k, -1, -1))
    return (a.sigmoid_() if activation == "sigmoid" else a.relu_()), prefix


class _RunningOutputs(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, w: Tensor, c: Tensor, v: Tensor, activation: Activation, chunk: int
    ) -> Tensor:
        a = c.expand(x.shape[0], -1)
        outputs = x.new_empty(x.shape[1], x.shape[0], v.shape[2])
        starts = []
        for d in range(0, x.shape[1], chunk):
            here = slice(d, d + chunk)
            h, _ = _hidden(a, x[:, here], w[here], activation)
            torch.bmm(h, v[here], out=outputs[here])
            starts.append(a)
            a = torch.addmm(a, x[:, here], w[here])
        ctx.save_for_backward(x, w, v, *starts)
        ctx.activation, ctx.chunk = activation, chunk
        return outputs

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, w, v, *starts = ctx.saved_tensors
        (g,) = grads
        grad_w, grad_v = torch.empty_like(w), torch.empty_like(v)
        later = torch.zeros_like(starts[0])  # gradient of the sum, from all pixels after the chunk
        for n in reversed(range(len(starts))):
            here = slice(n * ctx.chunk, (n + 1) * ctx.chunk)
            h, prefix = _hidden(starts[n], x[:, here], w[here], ctx.activation)
            torch.bmm(h.transpose(1, 2), g[here], out=grad_v[here])
            delta = torch.bmm(g[here], v[here].transpose(1, 2))
            if ctx.activation == "sigmoid":
                torch.ops.aten.sigmoid_backward.grad_input(delta, h, grad_input=delta)
            else:
                torch.ops.aten.threshold_backward.grad_input(delta, h, 0, grad_input=delta)
            torch.addmm(
                x[:, here].t() @ later, prefix.flatten(0, 1).t(), delta.flatten(0, 1),
                out=grad_w[here],
            )  # fmt: skip
            later += delta.sum(0)
        return None, grad_w, later.sum(0), grad_v, None, None
