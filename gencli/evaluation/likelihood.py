"""Likelihoods over many images: means with standard errors, and importance sampling in pieces."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

_AT_ONCE = 4_000_000
"""Pixels decoded at once in importance sampling: 16 MB for each tensor."""

_PIECE = 50
"""Importance samples per image in one of them."""

N_ESTIMATE = 1_000
"""Images whose likelihood is estimated by sampling, unless told otherwise."""


def at_once(n_pixels: int) -> tuple[int, int]:
    """Importance samples of an image, and images, that go through a model together."""
    decoded = max(_AT_ONCE // n_pixels, 1)
    piece = min(_PIECE, decoded)
    return piece, max(decoded // piece, 1)


def mean_and_error(values: Tensor) -> tuple[float, float | None]:
    """Mean of (n,) values and the standard error of that mean; None for a single value."""
    values = values.double()
    if len(values) < 2:
        return float(values.mean()), None
    return float(values.mean()), float(values.std() / math.sqrt(len(values)))


def log_mean_weight(
    log_weights: Callable[[Tensor, int], Tensor], x: Tensor, k: int, *, piece: int
) -> Tensor:
    r"""Importance-sampling estimate of log p(x) with `k` samples per image, in pieces.

        log 1/k sum_i w_i = logsumexp_i log w_i - log k

    Its mean over draws is a lower bound that tends to log p(x) as k grows (Burda et al. 2015,
    arXiv:1509.00519).

    Args:
        log_weights: (x, k_j) -> (k_j, B) nats, the logarithms of importance weights.
        x: Images (B, C, H, W) in [0, 1].
        k: Samples per image.
        piece: Samples per image that fit at once; pieces have up to twice as many.

    Returns:
        (B,) nats, float64.
    """
    n_pieces = max(k // piece, 1)
    sizes = [k * (j + 1) // n_pieces - k * j // n_pieces for j in range(n_pieces)]
    pieces = [log_weights(x, size).double().logsumexp(0) for size in sizes]
    return torch.stack(pieces).logsumexp(0) - math.log(k)


def bits_per_dim(nats: float, n_pixels: int) -> float:
    """Nats per image -> bits per dimension, for images of `n_pixels` values."""
    return nats / (n_pixels * math.log(2))
