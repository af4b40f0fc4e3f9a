"""Learnt variances of the diffusion model against closed forms and the fixed ones."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal, kl_divergence

from gencli.data.spec import DataInfo
from gencli.models.diffusion import variances
from gencli.models.diffusion.configs import DDPMConfig
from gencli.models.diffusion.ddpm import DDPM
from gencli.models.diffusion.samplers import ddpm, make_schedule, posterior
from gencli.models.interface import Batch, Step
from gencli.random import ImageGenerator

SCHEDULE = make_schedule("cosine", 20)
TABLE = variances.step_table(SCHEDULE)
DATA = DataInfo(1, 4, 4)


def make(**changes: object) -> DDPM:
    torch.manual_seed(0)
    config = DDPMConfig(
        width=8, multipliers=(1, 2), timesteps=20, variance="learned", perturbation=0.0, **changes
    )
    model = DDPM(config, DATA)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model.eval()


def test_terms_are_divergences_of_gaussians() -> None:
    x_0, estimate, share = torch.rand(3, 19, 1, 2, 2)
    t = torch.arange(2, 21)
    got = variances.bound_terms(x_0, estimate, share, t, TABLE, 256)
    for i in range(19):
        s = i + 1
        a, b, smaller = posterior(SCHEDULE, s, s + 1)
        alpha = SCHEDULE.levels[s + 1][0] / SCHEDULE.levels[s][0]
        larger = 1 - alpha**2  # beta
        deviation = (larger ** share[i] * smaller ** (1 - share[i])).sqrt()
        x_t = torch.randn(1, 2, 2)  # has no say: both means move alike
        right = Normal(a * x_0[i] + b * x_t, smaller**0.5)
        told = Normal(a * estimate[i] + b * x_t, deviation)
        expected = kl_divergence(right, told).sum()
        torch.testing.assert_close(got[i], expected, rtol=1e-3, atol=1e-4)


def test_the_smaller_variances_give_the_terms_of_the_fixed_ones() -> None:
    x_0, estimate = torch.rand(2, 19, 1, 2, 2)
    t = torch.arange(2, 21)
    got = variances.bound_terms(x_0, estimate, torch.zeros_like(x_0), t, TABLE, 256)
    snr = SCHEDULE.snr
    weight = ((snr[t - 1] - snr[t]) / 2).float()
    expected = weight * (x_0 - estimate).square().flatten(1).sum(1)
    torch.testing.assert_close(got, expected, rtol=1e-3, atol=1e-4)


def test_the_last_term_is_a_likelihood_of_levels() -> None:
    levels = torch.linspace(-1, 1, 256).view(-1, 1, 1, 1)
    estimate, share = torch.full_like(levels, 0.3), torch.full_like(levels, 0.4)
    t = torch.ones(256, dtype=torch.long)
    nats = variances.bound_terms(levels, estimate, share, t, TABLE, 256)
    assert float((-nats).exp().sum()) == pytest.approx(1, abs=1e-4)


def test_the_best_variance_is_that_of_the_true_reverse_step() -> None:
    t, n = torch.full((50_000,), 9), 50_000
    a, low, high = TABLE[9]
    x_0 = 0.1 * torch.randn(n, 1, 1, 1)  # around an estimate that knows its mean alone
    best = (low.exp() + (a * 0.1) ** 2).log()
    share = (best - low) / (high - low)

    def nats(share: Tensor) -> float:
        at = torch.zeros_like(x_0), share.expand_as(x_0), t
        return float(variances.bound_terms(x_0, *at, TABLE, 256).mean())

    assert 0 < float(share) < 1
    assert nats(share) < min(nats(share - 0.2), nats(share + 0.2))


def test_the_bound_moves_variances_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    model, images = make(), torch.rand(8, 1, 4, 4)
    out = (0.1 * torch.randn(8, 2, 4, 4)).requires_grad_()
    monkeypatch.setattr(model, "predict", lambda *_: out)
    torch.manual_seed(1)
    model.loss(Batch(images), Step()).total.backward()
    assert out.grad is not None
    assert out.grad.isfinite().all()
    assert out.grad[:, 1].abs().min() > 0
    plain = DDPM(DDPMConfig(width=8, multipliers=(1, 2), timesteps=20, perturbation=0.0), DATA)
    mean = out[:, :1].detach().requires_grad_()
    monkeypatch.setattr(plain, "predict", lambda *_: mean)
    torch.manual_seed(1)
    plain.loss(Batch(images), Step()).total.backward()
    torch.testing.assert_close(out.grad[:, :1], mean.grad)


@torch.no_grad()
def test_ancestral_sampling_by_the_smaller_variances_is_the_fixed_sampler() -> None:
    def denoise(x: Tensor, t: Tensor) -> Tensor:
        return 0.5 * x.clamp(-1, 1)

    x = torch.randn(4, 1, 4, 4)
    for times in (list(range(20, -1, -1)), [20, 11, 5, 0]):
        fixed = ddpm(denoise, x, SCHEDULE, times, generator=ImageGenerator(0, range(4)))
        learned = variances.ancestral(
            lambda x, t: (denoise(x, t), torch.zeros_like(x)), x, SCHEDULE, times,
            generator=ImageGenerator(0, range(4)),
        )  # fmt: skip
        torch.testing.assert_close(learned, fixed, atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_samples_and_bounds_go_by_the_learnt_variances(monkeypatch: pytest.MonkeyPatch) -> None:
    model = make()

    def draw(sampler: str) -> Tensor:
        return model.sample(3, generator=ImageGenerator(0, range(3)), sampler=sampler, steps=5)

    images = torch.rand(200, 1, 4, 4).mul(255).round() / 255
    before = {sampler: draw(sampler) for sampler in ("ddpm", "ddim")}
    torch.manual_seed(0)
    bound = model.log_prob_bound(images, terms=20)
    assert bound.shape == (200,)
    assert float(bound.mean()) < -16 * torch.tensor(256.0).log()  # the images are noise
    torch.manual_seed(0)
    few = model.log_prob_bound(images.repeat(4, 1, 1, 1), terms=3)
    error = few.std() / len(few) ** 0.5
    assert abs(float(few.mean() - bound.mean())) < 5 * float(error)
    model.unet.head[2].bias[1] += 0.5  # wider steps
    assert not torch.equal(draw("ddpm"), before["ddpm"])
    assert torch.equal(draw("ddim"), before["ddim"])
    torch.manual_seed(0)
    assert not torch.equal(model.log_prob_bound(images, terms=20), bound)
