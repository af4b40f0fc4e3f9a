"""Variances of the reverse chain that a network tells: Nichol and Dhariwal 2021, arXiv:2102.09672.

The first diffusion model learnt the means and the variances of its steps (Sohl-Dickstein et al.
2015, arXiv:1503.03585). For each pixel and step the variance lies between those that would be right
if x_0 were known, and if it were pure noise, by a share v of the network's:

    log Sigma = v log beta + (1 - v) log beta~.

It is learnt by the variational bound, whose terms are the KL divergences of the true posteriors
N(a x_0 + b x_t, beta~) from N(a D(x_t) + b x_t, Sigma), and leaves the means to the other loss.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor

from gencli.models.diffusion.samplers import OnStep, Schedule, posterior
from gencli.models.likelihoods import discretized_normal_log_prob
from gencli.random import ImageGenerator

Estimator = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""x_t (n, C, H, W) and times (n,) -> the estimate of x_0 and the shares v, (n, C, H, W) each."""


def range_of(schedule: Schedule, s: int, t: int) -> tuple[float, float]:
    """The logarithms of beta~ and beta of the step from t to s, s < t.

    To 0 beta~ is none; the variance then begins with the step's before, as in the paper.
    """
    _, _, smaller = posterior(schedule, s, t) if s > 0 else posterior(schedule, 1, 2)
    alpha_s, sigma_s = schedule.levels[s]
    alpha_t, sigma_t = schedule.levels[t]
    return math.log(smaller), math.log(sigma_t**2 - (alpha_t / alpha_s * sigma_s) ** 2)


def step_table(schedule: Schedule) -> Tensor:
    """The a, log beta~ and log beta of each single step, (T + 1, 3); row 0 is that of 1."""
    rows = [
        (posterior(schedule, t - 1, t)[0], *range_of(schedule, t - 1, t))
        for t in range(1, schedule.timesteps + 1)
    ]
    return torch.tensor([rows[0], *rows])


def bound_terms(
    x_0: Tensor, estimate: Tensor, share: Tensor, t: Tensor, table: Tensor, levels: int
) -> Tensor:
    """The term L_{t-1} of the bound on -log p(x_0), (n,), in nats.

    Args:
        x_0: Images in [-1, 1].
        estimate: D(x_t).
        share: v.
        t: Times (n,) from 1 on.
        table: The step table.
        levels: Values of a pixel under the decoder of t = 1.
    """
    a, low, high = table[t][:, :, None, None, None].unbind(1)
    log_variance = torch.lerp(low, high, share)
    error = (a * (x_0 - estimate)).square()
    divergence = log_variance - low + (low.exp() + error) * torch.exp(-log_variance) - 1
    decoded = -discretized_normal_log_prob(
        (x_0 + 1) / 2, (estimate + 1) / 2, log_variance / 2 - math.log(2), levels
    )
    last = (t == 1)[:, None, None, None]
    return torch.where(last, decoded, divergence / 2).flatten(1).sum(1)


def variational_bound(
    estimate: Estimator, x_0: Tensor, schedule: Schedule, n_terms: int, levels: int
) -> Tensor:
    """A draw (n,) whose mean is the variational bound on -log p(x_0), in nats.

    Args:
        estimate: The model.
        x_0: Images (n, C, H, W) in [-1, 1], quantised to `levels` values.
        schedule: The noise.
        n_terms: Terms of the sum over t = 1..T drawn for each image, one of each `n_terms`-th of
            it; all from T on, and then only the noise is random.
        levels: Values of a pixel: 256, or 2 for binary images.
    """
    T, table = schedule.timesteps, step_table(schedule).to(x_0)
    n = min(n_terms, T)
    alpha_T, sigma_T = schedule.levels[T]
    variance_excess = sigma_T**2 - 1 - 2 * math.log(sigma_T)
    bound = (((alpha_T * x_0) ** 2 + variance_excess) / 2).flatten(1).sum(1)  # L_T
    offset = torch.rand(len(x_0), dtype=torch.float64)
    for j in range(n):
        t = 1 + ((j + offset) * (T / n)).long().clamp(max=T - 1)
        alpha, sigma = (v[t].to(x_0)[:, None, None, None] for v in (schedule.alpha, schedule.sigma))
        x_t, t = alpha * x_0 + sigma * torch.randn_like(x_0), t.to(x_0.device)
        bound = bound + T / n * bound_terms(x_0, *estimate(x_t, t), t, table, levels)
    return bound


def ancestral(
    estimate: Estimator,
    x: Tensor,
    schedule: Schedule,
    times: Sequence[int],
    *,
    generator: ImageGenerator,
    on_step: OnStep | None = None,
) -> Tensor:
    """Carry noise x (n, C, H, W) from `times[0]` down to 0 by draws of the learnt variances."""
    for i, (t, s) in enumerate(pairwise(times), 1):
        x_0, share = estimate(x, torch.full((len(x),), t, device=x.device))
        if s == 0:
            x = x_0
        else:
            a, b, _ = posterior(schedule, s, t)
            low, high = range_of(schedule, s, t)
            deviation = torch.exp((low + share * (high - low)) / 2)
            x = a * x_0 + b * x + deviation * generator.normal(*x.shape[1:])
        if on_step:
            on_step(i, len(times) - 1, x)
    return x
