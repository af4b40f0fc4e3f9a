"""Masked diffusion: the absorbing kernel, under which a pixel is masked once and for good.

By time t = 1..T each pixel is masked with probability t / T, and a step back from t to s shows each
masked pixel with probability (t - s) / t, as the network's p(x_0 | what is seen). That network need
not be told t: how many pixels are seen says as much (Ou et al. 2024, arXiv:2406.03736). The bound

    -log p(x) <= sum_t 1/t E sum_{i masked at t} -log p(x_i | seen)

(Austin et al. 2021, arXiv:2107.03006; the weight is that of alpha'_t / (1 - alpha_t)) depends on
the masks only through how many pixels n are masked, all sets of n being alike, so that it is

    sum_{n=1}^D c_n E_{|M| = n} mean_{i in M} -log p(x_i | x outside M),
    c_n = sum_t n/t Binomial(n; D, t/T).

The c_n sum to D and tend to 1 as T grows: then it is the bound of a model that draws pixels one by
one in random order (Hoogeboom et al. 2022, arXiv:2110.02037). To draw n varies less than to draw t.
"""

from __future__ import annotations

import torch
from torch import Tensor

from gencli.models.diffusion.chain import OnStates, Predict, pick
from gencli.random import ImageGenerator


def count_weights(n_pixels: int, timesteps: int) -> Tensor:
    """The c_n for n = 1..D, (D,), float32."""
    D, T = n_pixels, timesteps
    n = torch.arange(1, D + 1, dtype=torch.float64)[:, None]
    t = torch.arange(1, T + 1, dtype=torch.float64)
    log_choices = torch.lgamma(n.new_tensor(D + 1)) - torch.lgamma(n + 1) - torch.lgamma(D - n + 1)
    log_binomial = log_choices + torch.xlogy(n, t / T) + torch.xlogy(D - n, 1 - t / T)
    return (log_binomial.exp() * n / t).sum(1).float()


def draw_counts(weights: Tensor, u: Tensor) -> Tensor:
    """Counts (B,) from 1 to D, in proportion to `weights` (D,), by uniform numbers (B,)."""
    shares = weights.cumsum(0) / weights.sum()
    return 1 + torch.searchsorted(shares, u, right=True).clamp(max=len(weights) - 1)


def masked(x_0: Tensor, counts: Tensor, mask: int) -> Tensor:
    """`x_0` (B, C, H, W) with `counts` (B,) of its pixels in the state `mask`, any set alike."""
    flat = x_0.flatten(1)
    order = torch.rand(flat.shape, device=x_0.device).argsort(1)
    places = torch.arange(flat.shape[1], device=x_0.device)
    hidden = torch.empty_like(flat, dtype=torch.bool)
    hidden.scatter_(1, order, places < counts[:, None])
    return flat.masked_fill(hidden, mask).view_as(x_0)


def hidden_nats(log_p: Tensor, x_0: Tensor, x_t: Tensor, mask: int) -> Tensor:
    """-log p of the pixels that are masked in `x_t`, summed, (B,), in nats."""
    nats = -log_p.gather(1, x_0[:, None])[:, 0]
    return nats.masked_fill(x_t != mask, 0).flatten(1).sum(1)


def variational_bound(
    predict: Predict, x_0: Tensor, weights: Tensor, mask: int, n_terms: int
) -> Tensor:
    """A draw (B,) whose mean is the bound on -log p(x_0), in nats.

    Args:
        predict: The model; the times that it is called with are 0.
        x_0: Images as states.
        weights: The c_n, (D,).
        mask: The state of a masked pixel.
        n_terms: Counts drawn for each image, spread evenly; each count once from D on.
    """
    D, bound = len(weights), weights.new_zeros(len(x_0))
    offset = torch.rand(len(x_0), dtype=torch.float64)
    for j in range(min(n_terms, D)):
        if n_terms >= D:
            counts, weight = torch.full_like(x_0[:, 0, 0, 0], j + 1), weights[j]
        else:
            counts = draw_counts(weights, ((j + offset) / n_terms).to(weights))
            weight = weights.sum() / n_terms
        x_t = masked(x_0, counts, mask)
        log_p = predict(x_t, torch.zeros_like(counts))
        bound = bound + weight * hidden_nats(log_p, x_0, x_t, mask) / counts
    return bound


def unmask(
    predict: Predict,
    x: Tensor,
    mask: int,
    steps: int,
    *,
    generator: ImageGenerator,
    on_step: OnStates | None = None,
) -> Tensor:
    """Draw the masked pixels of `x` (n, C, H, W) by a chain of `steps` steps.

    When a masked pixel is shown does not depend on its value: in each of the steps alike. So all
    are allotted beforehand, and the network is asked in those steps alone that show something, and
    of those images, which gives what asking it always would.
    """
    shown_in = (generator.uniform(*x.shape[1:]) * steps).long().masked_fill(x != mask, -1)
    uniforms = generator.uniform(*x.shape[1:])
    for step in range(steps):
        shown = shown_in == step
        rows = shown.flatten(1).any(1).nonzero()[:, 0]
        if len(rows):
            seen = x[rows]
            drawn = pick(predict(seen, rows.new_zeros(len(rows))).exp(), uniforms[rows])
            x = x.index_copy(0, rows, torch.where(shown[rows], drawn, seen))
        if on_step:
            on_step(step + 1, steps, x)
    return x
