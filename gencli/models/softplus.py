"""Sums of softplus over many units, with one logarithm for a hundred of them.

The log-probability of binary units given their logits a, and the free energy of hidden ones, are
sums of log(1 + exp a) = max(a, 0) - log sigma(|a|). On a CPU a logarithm takes ten times as long as
a sigmoid. But the sum of logarithms is that of products: sigma(|a|) lies between 1/2 and 1, so the
product of `GROUP` of them is a normal number in float32.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

GROUP = 112
"""Units whose sigmoids are multiplied: 2^-112 is well above the smallest float32, 2^-126."""


def sum_softplus(a: Tensor) -> Tensor:
    """The sum of log(1 + exp a) over the last dimension: (..., D) -> (...), at least float32.

    The plain form is `F.softplus(a).sum(-1)`. It can be differentiated once.
    """
    total: Tensor = _SumSoftplus.apply(_at_least_float32(a))
    return total


def bernoulli_log_prob(x: Tensor, logits: Tensor) -> Tensor:
    """Log-probability of independent binary units, summed over the last dimension, in nats.

    The plain form is `-F.binary_cross_entropy_with_logits(logits, x, reduction="none").sum(-1)`,
    and the gradient is that one's to the last bit.

    Args:
        x: (..., D) in [0, 1]; a value between is taken as a probability. It gets no gradient.
        logits: (..., D), with which x broadcasts. They can be differentiated once.

    Returns:
        (...) in at least float32.
    """
    total: Tensor = _BernoulliLogProb.apply(x, _at_least_float32(logits))
    return total


class _SumSoftplus(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, a: Tensor) -> Tensor:
        ctx.save_for_backward(a)
        return a.relu().sum(-1) - _sum_log_sigmoid_abs(a)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        a: Tensor = ctx.saved_tensors[0]
        return a.sigmoid().mul_(grads[0].unsqueeze(-1))


class _BernoulliLogProb(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, a: Tensor) -> Tensor:
        ctx.save_for_backward(x, a)
        # Unit by unit: the sums of x a and of max(a, 0) are large and would cancel.
        return (x * a).sub_(a.relu()).sum(-1) + _sum_log_sigmoid_abs(a)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[None, Tensor]:
        x, a = ctx.saved_tensors
        return None, a.sigmoid().sub_(x).mul_(-grads[0].unsqueeze(-1))


def sum_log(q: Tensor) -> Tensor:
    """The sum of logarithms over the last dimension, of numbers in [1/2, 1]: (..., D) -> (...)."""
    whole = q.shape[-1] // GROUP * GROUP
    total = q[..., whole:].prod(-1).log_()
    if whole:
        groups = q[..., :whole].reshape(*q.shape[:-1], -1, GROUP)
        total += groups.prod(-1).log_().sum(-1)
    return total


def _sum_log_sigmoid_abs(a: Tensor) -> Tensor:
    return sum_log(a.abs().sigmoid_())


def _at_least_float32(a: Tensor) -> Tensor:
    return a if a.dtype == torch.float64 else a.float()
