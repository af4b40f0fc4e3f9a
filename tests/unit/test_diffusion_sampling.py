"""Schedules, posteriors, samplers and the bound, against what is known of Gaussian data.

Pixels are independent, N(MEAN, STD^2), so that the best denoiser, the reverse process and the
probability-flow ODE all have closed forms.
"""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from gencli.models.diffusion.samplers import (
    SAMPLERS,
    Denoiser,
    Schedule,
    make_schedule,
    posterior,
    variational_bound,
)
from gencli.random import ImageGenerator

MEAN, STD = 0.3, 0.2
SCHEDULES = ("linear", "cosine")


def exact_denoiser(schedule: Schedule) -> Denoiser:
    """E[x_0 | x_t] for the Gaussian data."""

    def denoise(x: Tensor, t: Tensor) -> Tensor:
        alpha, sigma = (
            values[t][:, None, None, None] for values in (schedule.alpha, schedule.sigma)
        )
        gain = alpha * STD**2 / (alpha**2 * STD**2 + sigma**2)
        return MEAN + gain * (x - alpha * MEAN)

    return denoise


def ever_closer(schedule: Schedule, steps: int) -> list[int]:
    """Times closer together towards 0.

    Even ones leave noise for the last step that falls as 1 / sqrt(steps) only, and no solver is of
    second order.
    """
    return [round(schedule.timesteps * (r / steps) ** 2) for r in range(steps, -1, -1)]


def noise(n: int, *shape: int) -> tuple[Tensor, ImageGenerator]:
    generator = ImageGenerator(0, range(n))
    return generator.normal(*shape).double(), generator


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("timesteps", [2, 50, 1000])
def test_schedules_lose_signal_from_all_to_nearly_none(name: str, timesteps: int) -> None:
    schedule = make_schedule(name, timesteps)
    assert schedule.timesteps == timesteps
    assert schedule.levels[0] == (1.0, 0.0)
    assert (schedule.alpha.diff() < 0).all()
    assert (schedule.sigma.diff() > 0).all()
    torch.testing.assert_close(
        schedule.alpha**2 + schedule.sigma**2, torch.ones(timesteps + 1, dtype=torch.float64)
    )
    assert schedule.levels[timesteps][0] < (0.1 if timesteps == 2 else 0.01)


def test_schedules_are_those_of_their_papers() -> None:
    linear, cosine = (make_schedule(name, 1000) for name in SCHEDULES)
    assert 1 - float(linear.alpha[1]) ** 2 == pytest.approx(1e-4)
    assert 1 - float(linear.alpha[1000] / linear.alpha[999]) ** 2 == pytest.approx(0.02)
    half = math.cos((0.5 + 0.008) / 1.008 * math.pi / 2) / math.cos(0.008 / 1.008 * math.pi / 2)
    assert float(cosine.alpha[500]) == pytest.approx(half)
    assert 1 - float(cosine.alpha[1000] / cosine.alpha[999]) ** 2 == pytest.approx(0.999)


@pytest.mark.parametrize("steps", [1, 7, 20, 37, 49, 50])
def test_times_go_from_the_noise_to_the_image(steps: int) -> None:
    times = make_schedule("cosine", 50).times(steps)
    assert (times[0], times[-1], len(times)) == (50, 0, steps + 1)
    assert all(t > s for t, s in pairwise(times))
    if 1 < steps < 49:
        assert sum(t > 25 for t in times) > len(times) / 2


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize(("s", "t"), [(1, 2), (10, 11), (3, 40), (0, 1), (0, 17)])
def test_posterior_is_bayes_rule(name: str, s: int, t: int) -> None:
    schedule = make_schedule(name, 50)
    a, b, v = posterior(schedule, s, t)
    (alpha_s, sigma_s), (alpha_t, sigma_t) = schedule.levels[s], schedule.levels[t]

    # Given x_0, (x_s, x_t) is Gaussian with Cov(x_s, x_t) = (alpha_t / alpha_s) sigma_s^2.
    gain = alpha_t / alpha_s * sigma_s**2 / sigma_t**2
    assert b == pytest.approx(gain)
    assert a == pytest.approx(alpha_s - gain * alpha_t)
    assert v == pytest.approx(sigma_s**2 - gain**2 * sigma_t**2, abs=1e-12)

    # With x_0 unknown but Gaussian: the mean is linear in x_0, so E[x_0 | x_t] stands in for it.
    var_t = alpha_t**2 * STD**2 + sigma_t**2
    cov = alpha_s * alpha_t * STD**2 + alpha_t / alpha_s * sigma_s**2
    x_t = torch.linspace(-2, 2, 5, dtype=torch.float64)[:, None, None, None]
    x_0 = exact_denoiser(schedule)(x_t, torch.full((5,), t))
    expected = alpha_s * MEAN + cov / var_t * (x_t - alpha_t * MEAN)
    torch.testing.assert_close(a * x_0 + b * x_t, expected)


@pytest.mark.parametrize(("sampler", "order"), [("ddim", 1), ("dpm++", 2)])
@pytest.mark.parametrize("name", SCHEDULES)
def test_deterministic_samplers_converge_to_the_ode_at_their_order(
    name: str, sampler: str, order: int
) -> None:
    schedule = make_schedule(name, 1 << 18)
    x_T, _ = noise(4, 1, 3, 3)
    alpha_T, sigma_T = schedule.levels[schedule.timesteps]
    spread = math.hypot(alpha_T * STD, sigma_T)
    exact = MEAN + STD * (x_T - alpha_T * MEAN) / spread  # the flow keeps every quantile

    def error(steps: int) -> float:
        times = ever_closer(schedule, steps)
        got = SAMPLERS[sampler](exact_denoiser(schedule), x_T, schedule, times)
        return float((got - exact).abs().max())

    coarse, fine = error(64), error(256)
    assert math.log(coarse / fine, 4) == pytest.approx(order, abs=0.1)
    assert fine < (0.01 if order == 1 else 0.0005)


class OneByOne(ImageGenerator):
    """Noise that is 1 for image k in draw k, counting from 1, and 0 for all others."""

    drawn = 0

    def normal(self, *shape: int) -> Tensor:
        self.drawn += 1
        out = torch.zeros_like(super().normal(*shape), dtype=torch.float64)
        out[self.drawn] = 1
        return out


@pytest.mark.parametrize(("sampler", "order"), [("ddpm", 1), ("sde-dpm++", 2)])
@pytest.mark.parametrize("name", SCHEDULES)
def test_law_of_stochastic_samplers_converges_at_their_order(
    name: str, sampler: str, order: int
) -> None:
    schedule = make_schedule(name, 1 << 18)

    def error(steps: int) -> float:
        """Of the variance, exactly: an image is linear in the noise, so it takes one of each."""
        n = steps + 2  # the noise at T, one for each step but the last, and none for the mean
        x_T = torch.zeros(n, 1, 1, 1, dtype=torch.float64)
        x_T[0] = 1
        out = SAMPLERS[sampler](
            exact_denoiser(schedule), x_T, schedule, ever_closer(schedule, steps),
            generator=OneByOne(0, range(n)),
        ).flatten()  # fmt: skip
        assert float(out[-1]) == pytest.approx(MEAN, abs=2e-3)
        return float((out[:-1] - out[-1]).square().sum()) - STD**2

    coarse, fine = error(32), error(128)
    assert math.log(coarse / fine, 4) == pytest.approx(order, abs=0.15)


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("steps", [50, 1000])
def test_ancestral_sampling_has_the_law_of_its_recursion(name: str, steps: int) -> None:
    schedule = make_schedule(name, 1000)
    x_T, generator = noise(64, 1, 16, 16)
    got = SAMPLERS["ddpm"](
        exact_denoiser(schedule), x_T, schedule, schedule.times(steps), generator=generator
    )
    mean, variance = 0.0, 1.0
    for t, s in pairwise(schedule.times(steps)):
        a, b, v = posterior(schedule, s, t)
        one = torch.tensor([0.0, 1.0], dtype=torch.float64)[:, None, None, None]
        shift, top = exact_denoiser(schedule)(one, torch.full((2,), t)).flatten().tolist()
        slope = a * (top - shift) + b
        mean, variance = slope * mean + a * shift, slope**2 * variance + v
    n = got.numel()
    assert float(got.mean()) == pytest.approx(mean, abs=4 * math.sqrt(variance / n))
    assert float(got.var()) == pytest.approx(variance, rel=4 * math.sqrt(2 / n))
    if steps == 1000:
        assert mean == pytest.approx(MEAN, abs=1e-3)
        assert math.sqrt(variance) == pytest.approx(STD, rel=0.02)


@pytest.mark.parametrize("sampler", ["ddpm", "sde-dpm++"])
def test_stochastic_samplers_need_a_generator(sampler: str) -> None:
    schedule = make_schedule("cosine", 10)
    with pytest.raises(ValueError, match="generator"):
        SAMPLERS[sampler](exact_denoiser(schedule), torch.zeros(1, 1, 2, 2), schedule, [10, 0])


@pytest.mark.parametrize("sampler", list(SAMPLERS))
def test_callback_sees_every_step(sampler: str) -> None:
    schedule = make_schedule("cosine", 100)
    x_T, generator = noise(2, 1, 2, 2)
    seen: list[tuple[int, int, Tensor]] = []
    out = SAMPLERS[sampler](
        exact_denoiser(schedule), x_T, schedule, schedule.times(5),
        generator=generator, on_step=lambda *now: seen.append(now),
    )  # fmt: skip
    assert [(step, total) for step, total, _ in seen] == [(i, 5) for i in range(1, 6)]
    assert torch.equal(seen[-1][2], out)
    assert not torch.equal(seen[0][2], out)


def test_bound_on_gaussian_data_is_its_closed_form() -> None:
    torch.manual_seed(0)
    schedule, levels = make_schedule("cosine", 200), 1 << 14
    x_0 = MEAN + STD * torch.randn(400, 1, 12, 12, dtype=torch.float64)
    got = variational_bound(exact_denoiser(schedule), x_0, schedule, 1000, levels) / 144

    variance = STD**2
    snr, sigma_1 = schedule.snr, schedule.levels[1][1]
    alpha_T, sigma_T = schedule.levels[200]
    L_T = (alpha_T**2 * (MEAN**2 + variance) + sigma_T**2 - 1) / 2 - math.log(sigma_T)
    error = variance / (1 + snr * variance)  # E (x_0 - D(x_t, t))^2
    L_sum = float(((snr[1:-1] - snr[2:]) / 2 * error[2:]).sum())
    L_0 = math.log(sigma_1 * math.sqrt(2 * math.pi)) + float(error[1]) / (2 * sigma_1**2)
    expected = L_T + L_sum + L_0 - math.log(2 / (levels - 1))
    assert float(got.mean()) == pytest.approx(expected, abs=4 * float(got.std()) / 20)
    assert float(got.std()) / 20 < 0.02
    # An upper bound on the entropy. Even at T = infinity the smaller variances cost half of Euler's
    # constant on data without structure, sum (1 / t - log(1 + 1 / t)) / 2 over the last steps.
    entropy = math.log(STD * math.sqrt(2 * math.pi * math.e)) - math.log(2 / (levels - 1))
    assert entropy + 0.2886 < expected < entropy + 0.6


@pytest.mark.parametrize("n_times", [1, 4, 18])
def test_bound_from_few_times_has_the_same_mean(n_times: int) -> None:
    torch.manual_seed(0)
    schedule = make_schedule("linear", 20)
    x_0 = torch.full((20_000, 1, 1, 1), 0.5, dtype=torch.float64)
    few, full = (
        variational_bound(exact_denoiser(schedule), x_0, schedule, n, 256) for n in (n_times, 19)
    )
    standard_error = math.sqrt((float(few.var()) + float(full.var())) / len(x_0))
    assert float(few.mean()) == pytest.approx(float(full.mean()), abs=4 * standard_error)


def test_bound_from_all_times_leaves_none_out() -> None:
    schedule = make_schedule("cosine", 300)
    seen: list[int] = []

    def denoise(x: Tensor, t: Tensor) -> Tensor:
        seen.extend(t.tolist())
        return x

    variational_bound(denoise, torch.zeros(3, 1, 1, 1), schedule, 299, 256)
    assert sorted(seen) == sorted([*range(1, 301)] * 3)
