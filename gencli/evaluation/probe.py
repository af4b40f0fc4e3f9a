"""How much of the classes a linear classifier reads out of codes: a function of its inputs alone.

Multinomial logistic regression with an L2 penalty on the weights W, not on the biases b,

    mean_i -log softmax(W x_i + b)_{y_i} + penalty/2 |W|^2

by L-BFGS (Liu and Nocedal 1989). The points are centred and divided by one number, the root of
their mean variance, so that a penalty means about the same for every kind of code, whatever its
units, while directions keep their relative sizes. The penalty is chosen with the last fifth of the
points held out, then all are used.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from gencli.evaluation.classifier import one_thread

PENALTIES = (1.0, 0.1, 0.01, 1e-3, 1e-4)
_ITERATIONS = 100


def predictions(x: Tensor, labels: Tensor, new: Tensor, n_classes: int) -> Tensor:
    """The classes (M,) of points `new` (M, D), learnt from `x` (N, D) with `labels` (N,).

    Args:
        x: Points in random order, at least 5; on the CPU.
        labels: Their classes, int64.
        new: Points to classify.
        n_classes: Classes that there are.
    """
    mean = x.mean(0)
    scale = (x - mean).square().mean().sqrt().clamp_min(1e-12)
    x, new = (x - mean) / scale, (new - mean) / scale
    with one_thread():
        n = len(x) - len(x) // 5
        best, penalty, weight = -1.0, PENALTIES[0], torch.zeros(n_classes, x.shape[1] + 1)
        for candidate in PENALTIES:  # each starts where the last ended
            weight = fit(x[:n], labels[:n], candidate, weight)
            right = float((_logits(x[n:], weight).argmax(1) == labels[n:]).double().mean())
            if right > best:
                best, penalty, start = right, candidate, weight
        return _logits(new, fit(x, labels, penalty, start)).argmax(1)


def fit(x: Tensor, labels: Tensor, penalty: float, start: Tensor) -> Tensor:
    """Weights (n_classes, D + 1), the biases last, that minimise the objective.

    Args:
        x: Points (N, D).
        labels: Classes (N,), int64.
        penalty: Weight of half the squared norm.
        start: Where the search begins, (n_classes, D + 1).
    """
    weight = start.clone()
    optimizer = torch.optim.LBFGS(
        [weight], max_iter=_ITERATIONS, tolerance_grad=1e-6, tolerance_change=1e-8,
        line_search_fn="strong_wolfe",
    )  # fmt: skip
    targets = F.one_hot(labels, len(start)).to(x)

    def closure() -> float:
        log_p = _logits(x, weight).log_softmax(1)
        error = (log_p.exp() - targets) / len(x)
        kept = weight[:, :-1]
        weight.grad = torch.cat([error.T @ x + penalty * kept, error.sum(0).unsqueeze(1)], 1)
        return float(0.5 * penalty * kept.square().sum() - (log_p * targets).sum() / len(x))

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    return weight.detach()


def _logits(x: Tensor, weight: Tensor) -> Tensor:
    return torch.addmm(weight[:, -1], x, weight[:, :-1].T)


def principal_axes(x: Tensor, n: int) -> Tensor:
    """The `n` directions (D, n) of largest variance of points (N, D), the largest first."""
    with one_thread():
        directions: Tensor = torch.linalg.eigh(torch.cov(x.double().T)).eigenvectors
    return directions.flip(1)[:, :n].to(x)
