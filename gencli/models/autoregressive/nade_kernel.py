"""The running activation of NADE, and its gradients in memory for a few pixels instead of all.

h_d = activation(c + sum_{i<d} x_i w_i), outputs_d = v_d . h_d + b_d: one more term per pixel.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from gencli.models.likelihoods import Likelihood

Activation = Literal["sigmoid", "relu"]

CHUNK = 14
"""Pixels at a time: their hidden units fit the processor's cache, and calls are few enough."""


def running_outputs(
    x: Tensor, w: Tensor, c: Tensor, v: Tensor, b: Tensor, activation: Activation
) -> Tensor:
    """Outputs (B, D, P) of all pixels.

    Args:
        x: Pixels (B, D).
        w: (D, H), the row w_i added to the sum once pixel i is known.
        c: (H,), the sum before the first pixel, or (B, H) where each image has its own.
        v: (D, P, H).
        b: (D, P), or (B, D, P) likewise.
        activation: Elementwise.
    """
    a = c.expand(len(x), -1)
    chunks = []
    for x_chunk, w_chunk, v_chunk in zip(
        *(torch.split(t, CHUNK) for t in (x.t().unsqueeze(2), w, v)), strict=True
    ):
        sums = []
        for x_i, w_i in zip(x_chunk.unbind(0), w_chunk.unbind(0), strict=True):
            sums.append(a)
            a = torch.addcmul(a, x_i, w_i)
        h = torch.stack(sums)  # (K, B, H)
        h = h.sigmoid() if activation == "sigmoid" else h.relu()
        chunks.append(torch.bmm(v_chunk, h.transpose(1, 2)))  # (K, P, B)
    return torch.cat(chunks).permute(2, 0, 1) + b


def running_log_prob_sum(
    x: Tensor, w: Tensor, c: Tensor, v: Tensor, b: Tensor, activation: Activation,
    likelihood: Likelihood,
) -> Tensor:  # fmt: skip
    """The sum over images of log p(x), 0-d, for training: of `running_outputs`, in one pass.

    Keeping every h_d takes D times the memory of one, and a step would wait for nothing else. But
    the gradient of log p(x_d | x_{<d}) is known as soon as h_d is, so it is taken there and then,
    and a handful of pixels' hidden units are all that is ever kept. With delta_d the gradient of
    the sum inside h_d, that of w_i needs the later ones, sum_{d>i} delta_d: their total less the
    running sum up to i.

    Arguments are those of `running_outputs`; x gets no gradient.
    """
    total: Tensor = _RunningLogProbSum.apply(x, w, c, v, b, activation, likelihood)
    return total


class _RunningLogProbSum(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, w: Tensor, c: Tensor, v: Tensor, b: Tensor,
        activation: Activation, likelihood: Likelihood,
    ) -> Tensor:  # fmt: skip
        grad_w, grad_v, grad_b = torch.empty_like(w), torch.empty_like(v), torch.empty_like(b)
        a = c.expand(len(x), -1).clone()  # (B, H)
        b_rows = b.unsqueeze(1) if b.dim() == 2 else b.transpose(0, 1)  # (D, 1 or B, P)
        before = torch.zeros_like(a)  # sum of delta up to the pixel
        pixels = x.t().contiguous()  # (D, B)
        buffers = x.new_empty(2, CHUNK, *a.shape)
        outputs = []
        for d in range(0, len(pixels), CHUNK):
            here = slice(d, d + CHUNK)
            x_here, w_here, v_here = pixels[here], w[here], v[here]
            h, delta = buffers[:, : len(x_here)]
            _fill_with_sums(h, a, x_here, w_here)
            h.sigmoid_() if activation == "sigmoid" else h.relu_()
            output = torch.bmm(v_here, h.transpose(1, 2)).transpose(1, 2) + b_rows[here]
            g = likelihood.gradient(output, x_here).transpose(1, 2)  # (K, P, B)
            torch.bmm(g, h, out=grad_v[here])
            if b.dim() == 2:
                torch.sum(g, 2, out=grad_b[here])
            else:
                grad_b[:, here] = g.permute(2, 0, 1)
            if v.shape[1] == 1:
                torch.mul(g.transpose(1, 2), v_here, out=delta)  # the same, faster
            else:
                torch.bmm(g.transpose(1, 2), v_here, out=delta)
            if activation == "sigmoid":
                torch.ops.aten.sigmoid_backward.grad_input(delta, h, grad_input=delta)
            else:
                torch.ops.aten.threshold_backward.grad_input(delta, h, 0, grad_input=delta)
            for row in delta.unbind(0):
                before = row.add_(before)
            torch.bmm(x_here.unsqueeze(1), delta, out=grad_w[here].unsqueeze(1))
            before = before.clone()  # the buffer is filled anew
            outputs.append(output)
        torch.addmm(grad_w, pixels, before, beta=-1, out=grad_w)
        ctx.save_for_backward(grad_w, before.sum(0) if c.dim() == 1 else before, grad_v, grad_b)
        return likelihood.log_prob(torch.cat(outputs), pixels).sum()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        return None, *(grads[0] * gradient for gradient in ctx.saved_tensors), None, None


def _fill_with_sums(sums: Tensor, a: Tensor, x: Tensor, w: Tensor) -> None:
    """Write the sums (B, H) before each of the pixels x (K, B) to `sums`, the last one to `a`."""
    following = [*sums.unbind(0)[1:], a]
    sums[0].copy_(a)
    for now, x_i, w_i, then in zip(
        sums.unbind(0), x.unsqueeze(2).unbind(0), w.unbind(0), following, strict=True
    ):
        torch.addcmul(now, x_i, w_i, out=then)
