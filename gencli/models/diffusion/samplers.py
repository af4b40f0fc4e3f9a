"""Noise schedules and samplers of diffusion models, over any denoiser.

Images are noised as q(x_t | x_0) = N(alpha_t x_0, sigma_t^2 I), t = 0..T, with alpha_0 = 1 and
alpha_t^2 + sigma_t^2 = 1. A denoiser maps (x_t, t) to an estimate of x_0. All samplers have one
signature: they carry `x` at `times[0]` down to `times[-1] = 0`. They are right on straight paths,
alpha_t + sigma_t = 1, too: only the named schedules have squares that add up to one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import pairwise
from typing import Literal, Protocol, TypeVar

import torch
from torch import Tensor

from gencli.models.likelihoods import discretized_normal_log_prob
from gencli.random import ImageGenerator

Denoiser = Callable[[Tensor, Tensor], Tensor]
"""x_t (n, C, H, W) and times (n,) of whole numbers -> the estimate (n, C, H, W) of x_0."""

_Share = TypeVar("_Share", float, Tensor)

OnStep = Callable[[int, int, Tensor], None]
"""Called after each step with its number, from 1, how many there are, and the images x_t then."""


@dataclass(frozen=True)
class Schedule:
    """Signal and noise at each time: `levels[t]` is (alpha_t, sigma_t), t = 0..T.

    Plain numbers, so that a sampler traced for export sees constants.
    """

    levels: tuple[tuple[float, float], ...]

    @property
    def timesteps(self) -> int:
        """T."""
        return len(self.levels) - 1

    @cached_property
    def alpha(self) -> Tensor:
        """(T + 1,), float64."""
        return torch.tensor([alpha for alpha, _ in self.levels], dtype=torch.float64)

    @cached_property
    def sigma(self) -> Tensor:
        """(T + 1,), float64."""
        return torch.tensor([sigma for _, sigma in self.levels], dtype=torch.float64)

    @property
    def snr(self) -> Tensor:
        """alpha^2 / sigma^2, (T + 1,), float64, infinite at 0."""
        return (self.alpha / self.sigma) ** 2

    def times(self, steps: int) -> list[int]:
        """`steps + 1` different times from T to 0, denser towards T: T u (3 - u) / 2 for even u.

        Times that close in on 0 would keep second-order solvers at their order, but leave too few
        of 20 steps for strong noise, where an image's shape is decided, and give worse images.
        """
        T = self.timesteps
        even = [r / steps for r in range(steps, -1, -1)]
        # Near T many steps would round to the same time: at most T - i keeps them apart.
        return [min(round(T * towards_noise(u)), T - i) for i, u in enumerate(even)]


def towards_noise(u: _Share) -> _Share:
    """Shares of T for even `u` in [0, 1]: u (3 - u) / 2, three times as dense at 1 as at 0.

    In sampling and in training alike, so that the network is exact where it is asked.
    """
    return u * (3 - u) / 2


def make_schedule(name: Literal["linear", "cosine"], timesteps: int) -> Schedule:
    """The variance-preserving schedule of that name.

    `linear`: beta from 1e-4 to 0.02 at T = 1000 (Ho et al. 2020, arXiv:2006.11239), scaled so that
    other T end at the same noise. `cosine`: alpha_t^2 falls as cos^2, with beta at most 0.999
    (Nichol and Dhariwal 2021, arXiv:2102.09672).
    """
    T = timesteps
    if name == "linear":
        beta = torch.linspace(0.1 / T, 20 / T, T, dtype=torch.float64).clamp(max=0.999)
    else:
        angle = (torch.arange(T + 1, dtype=torch.float64) / T + 0.008) / 1.008 * math.pi / 2
        f = angle.cos() ** 2
        beta = (1 - f[1:] / f[:-1]).clamp(max=0.999)
    log_alpha_bar = torch.cat([beta.new_zeros(1), torch.log1p(-beta).cumsum(0)])
    alpha, sigma = (log_alpha_bar / 2).exp(), (-torch.expm1(log_alpha_bar)).sqrt()
    return Schedule(tuple(zip(alpha.tolist(), sigma.tolist(), strict=True)))


def posterior(schedule: Schedule, s: int, t: int) -> tuple[float, float, float]:
    """q(x_s | x_t, x_0) = N(a x_0 + b x_t, v I) for s < t, as (a, b, v).

    Equations 6 and 7 of DDPM for s = t - 1, and the same for any subsequence of times.
    """
    alpha_s, sigma_s = schedule.levels[s]
    alpha_t, sigma_t = schedule.levels[t]
    alpha_ts = alpha_t / alpha_s
    beta_ts = sigma_t**2 - (alpha_ts * sigma_s) ** 2
    a = alpha_s * beta_ts / sigma_t**2
    b = alpha_ts * sigma_s**2 / sigma_t**2
    return a, b, beta_ts * sigma_s**2 / sigma_t**2


class Sampler(Protocol):
    """Carry x (n, C, H, W) from `times[0]` down to 0."""

    def __call__(
        self,
        denoise: Denoiser,
        x: Tensor,
        schedule: Schedule,
        times: Sequence[int],
        *,
        generator: ImageGenerator | None = None,
        on_step: OnStep | None = None,
    ) -> Tensor:
        """Return x_0; `generator` serves the samplers that add noise."""
        ...


def solve(
    denoise: Denoiser,
    x: Tensor,
    schedule: Schedule,
    times: Sequence[int],
    *,
    order: Literal[1, 2],
    stochastic: bool,
    generator: ImageGenerator | None = None,
    on_step: OnStep | None = None,
) -> Tensor:
    """Solve the reverse process from `times[0]` down to 0, one denoising a step.

    Every sampler here is this with two choices made, since a step of the reverse SDE with x_0 held
    fixed is a draw from the posterior of ancestral sampling.

    Args:
        denoise: The model.
        x: Noise (n, C, H, W).
        schedule: Of the noise.
        times: From the noise to 0.
        order: 1 takes the model's x_0 as it is; 2 extrapolates it to the middle of the step from
            the step before (Lu et al. 2022, arXiv:2211.01095, algorithm 2). The last step, to no
            noise at all, is of first order: log(alpha / sigma) has no end there.
        stochastic: Draw from the posteriors, of the smaller variance, rather than follow the
            probability-flow ODE. Fresh noise makes up for errors that the ODE carries to the end.
        generator: Of the fresh noise.
        on_step: Called after each step.

    Raises:
        ValueError: If it is stochastic and there is no generator.
    """
    before: tuple[Tensor, float] | None = None
    for i, (t, s) in enumerate(pairwise(times), 1):
        x_0 = _at(denoise, x, t)
        h = _log_snr(schedule, s) - _log_snr(schedule, t)  # of sqrt(SNR): lambda in the paper
        estimate = x_0
        if order == 2 and before is not None and s > 0:
            x_0_before, h_before = before
            estimate = x_0 + h / (2 * h_before) * (x_0 - x_0_before)
        before = x_0, h
        if stochastic:
            x = _posterior_step(x, estimate, schedule, s, t, generator)
        else:
            x = _ode_step(x, estimate, schedule, s, t)
        if on_step:
            on_step(i, len(times) - 1, x)
    return x


def _ode_step(x: Tensor, x_0: Tensor, schedule: Schedule, s: int, t: int) -> Tensor:
    """Solve the probability-flow ODE from t to s as if the estimate `x_0` held all the way."""
    alpha_s, sigma_s = schedule.levels[s]
    alpha_t, sigma_t = schedule.levels[t]
    ratio = sigma_s / sigma_t
    return ratio * x + (alpha_s - alpha_t * ratio) * x_0


def _posterior_step(
    x: Tensor, x_0: Tensor, schedule: Schedule, s: int, t: int, generator: ImageGenerator | None
) -> Tensor:
    """Draw x_s given x_t and the estimate `x_0`; at s = 0 it is certain."""
    if generator is None:
        raise ValueError("a stochastic sampler needs a generator")
    a, b, v = posterior(schedule, s, t)
    x = a * x_0 + b * x
    return x + math.sqrt(v) * generator.normal(*x.shape[1:]) if s > 0 else x


ddpm = partial(solve, order=1, stochastic=True)
"""Ancestral sampling: Ho et al. 2020, arXiv:2006.11239."""

ddim = partial(solve, order=1, stochastic=False)
"""DDIM with eta = 0: Song et al. 2020, arXiv:2010.02502."""

dpm_multistep = partial(solve, order=2, stochastic=False)
"""DPM-Solver++(2M): Lu et al. 2022, arXiv:2211.01095."""

sde_dpm_multistep = partial(solve, order=2, stochastic=True)
"""SDE-DPM-Solver++(2M), same source."""

SAMPLERS: dict[str, Sampler] = {
    "ddpm": ddpm,
    "ddim": ddim,
    "dpm++": dpm_multistep,
    "sde-dpm++": sde_dpm_multistep,
}


def variational_bound(
    denoise: Denoiser, x_0: Tensor, schedule: Schedule, n_times: int, levels: int
) -> Tensor:
    """A draw (B,) whose mean is the variational bound on -log p(x_0), in nats: L_T + ... + L_0.

    The posteriors are of the smaller variance, so that L_{t-1} = (SNR_{t-1} - SNR_t) / 2
    ||x_0 - D(x_t, t)||^2 (Kingma et al. 2021, arXiv:2107.00630, equation 13). L_0 is the
    discretised Gaussian decoder of DDPM (equation 13) around D(x_1, 1).

    Args:
        denoise: The model.
        x_0: Images (B, C, H, W) in [-1, 1], quantised to `levels` values.
        schedule: The noise.
        n_times: How many terms of the sum over t = 2..T to draw for each image; all of them from
            T - 1 on, and then only the noise is random.
        levels: Values of a pixel: 256, or 2 for binary images.
    """
    T, n = schedule.timesteps, min(n_times, schedule.timesteps - 1)
    snr = schedule.snr

    def column(values: Tensor) -> Tensor:
        return values.to(x_0)[:, None, None, None]

    def noised(t: Tensor) -> Tensor:
        noise = torch.randn_like(x_0)
        return column(schedule.alpha[t]) * x_0 + column(schedule.sigma[t]) * noise

    def denoised(t: Tensor) -> Tensor:
        return denoise(noised(t), t.to(x_0.device))

    alpha_T, sigma_T = schedule.levels[T]
    variance_excess = sigma_T**2 - 1 - 2 * math.log(sigma_T)
    bound = (((alpha_T * x_0) ** 2 + variance_excess) / 2).sum((1, 2, 3))  # L_T
    # One t of each n-th of 2..T by probability p: in proportion to the terms of unit Gaussian data.
    p = snr[1:].log1p().diff().neg() if n < T - 1 else snr.new_ones(T - 1)
    p = p / p.sum()
    weights = (snr[1:-1] - snr[2:]) / (2 * n * p)
    offset = torch.rand(len(x_0), dtype=torch.float64)
    for j in range(n):
        drawn = torch.searchsorted(p.cumsum(0), (j + offset) / n, right=True).clamp(max=T - 2)
        error = (x_0 - denoised(2 + drawn)).square().sum((1, 2, 3))
        bound = bound + weights[drawn].to(x_0) * error
    mean = denoised(torch.ones(len(x_0), dtype=torch.long))
    _, sigma_1 = schedule.levels[1]
    log_std = mean.new_full((), math.log(sigma_1 / 2))  # in units of pixels in [0, 1]
    L_0 = -discretized_normal_log_prob((x_0 + 1) / 2, (mean + 1) / 2, log_std, levels)
    return bound + L_0.sum((1, 2, 3))


def _at(denoise: Denoiser, x: Tensor, t: int) -> Tensor:
    return denoise(x, torch.full((x.shape[0],), t, device=x.device))


def _log_snr(schedule: Schedule, t: int) -> float:
    alpha, sigma = schedule.levels[t]
    if alpha == 0:
        return -math.inf  # noise alone; the step after it is of first order
    return math.log(alpha / sigma) if sigma > 0 else math.inf
