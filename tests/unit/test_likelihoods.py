"""Pixel distributions: normalised over the levels, differentiable everywhere, drawn as they say."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from gencli.data.spec import DataInfo
from gencli.errors import UsageError
from gencli.models.likelihoods import (
    Bernoulli,
    Categorical,
    Likelihood,
    Mixture,
    discretized_logistic_log_prob,
    discretized_normal_log_prob,
    likelihood_for,
)

ALL: dict[str, Likelihood] = {
    "bernoulli": Bernoulli(),
    "softmax": Categorical(),
    "softmax-5": Categorical(5),
    "logistic": Mixture("logistic", 4),
    "gaussian": Mixture("gaussian", 4),
    "logistic-7": Mixture("logistic", 2, 7),
}


def levels_of(likelihood: Likelihood, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.arange(likelihood.levels, dtype=dtype) / (likelihood.levels - 1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("mean", [-1.0, 0.0, 0.3, 0.999, 2.0])
@pytest.mark.parametrize("log_scale", [-20.0, -7.0, -5.0, -2.0, 0.0, 5.0])
def test_bins_of_a_density_sum_to_one(dtype: torch.dtype, mean: float, log_scale: float) -> None:
    x = torch.arange(256, dtype=dtype) / 255
    for log_prob in (discretized_logistic_log_prob, discretized_normal_log_prob):
        m, s = (torch.tensor(v, dtype=dtype, requires_grad=True) for v in (mean, log_scale))
        mass = log_prob(x, m, s)
        assert mass.isfinite().all()
        total = mass.exp().sum()
        tolerance = 1e-5 if dtype == torch.float32 else 1e-12
        assert abs(total.item() - 1) < tolerance
        for gradient in torch.autograd.grad(mass.sum(), (m, s)):
            assert gradient.isfinite()


def test_mass_of_a_bin_is_the_difference_of_the_cumulative_distribution() -> None:
    mean, log_scale = torch.tensor(0.4).double(), torch.tensor(-3.0).double()
    x = torch.arange(1, 255).double() / 255
    edges = ((x - 0.5 / 255 - mean) / log_scale.exp(), (x + 0.5 / 255 - mean) / log_scale.exp())
    logistic = edges[1].sigmoid() - edges[0].sigmoid()
    normal = torch.special.ndtr(edges[1]) - torch.special.ndtr(edges[0])
    keep = normal > 1e-9  # further out the plain difference has no digits left
    for expected, log_prob in (
        (logistic, discretized_logistic_log_prob),
        (normal, discretized_normal_log_prob),
    ):
        mass = log_prob(x, mean, log_scale).exp()
        torch.testing.assert_close(mass[keep], expected[keep], rtol=1e-6, atol=0)


def test_a_far_pixel_has_the_density_of_the_tail() -> None:
    # At z standard deviations the log-density is -z^2 / 2 up to lower orders: no underflow to -inf.
    log_prob = discretized_normal_log_prob(
        torch.tensor(200 / 255), torch.tensor(0.0), torch.tensor(-6.0)
    )
    z = (200 - 0.5) / 255 * math.exp(6)
    assert log_prob.item() == pytest.approx(-z * z / 2, rel=1e-3)


@pytest.mark.parametrize("name", list(ALL))
def test_levels_sum_to_one(name: str) -> None:
    likelihood = ALL[name]
    torch.manual_seed(0)
    params = torch.randn(6, 1, likelihood.n_params).double() * 2
    x = levels_of(likelihood).expand(6, -1)
    params = params.expand(-1, likelihood.levels, -1)
    total = likelihood.log_prob(params, x).exp().sum(1)
    torch.testing.assert_close(total, torch.ones(6).double())


@pytest.mark.parametrize("name", list(ALL))
def test_low_precision_parameters_are_raised_to_float32(name: str) -> None:
    likelihood = ALL[name]
    params = torch.randn(3, likelihood.n_params, dtype=torch.bfloat16)
    x = levels_of(likelihood, torch.float32)[:2].repeat(2)[:3]
    assert likelihood.log_prob(params, x).dtype == torch.float32


@pytest.mark.parametrize("temperature", [1.0, 0.5])
@pytest.mark.parametrize("name", ["bernoulli", "softmax-5", "logistic-7"])
def test_draws_have_the_stated_frequencies(name: str, temperature: float) -> None:
    likelihood = ALL[name]
    torch.manual_seed(1)
    n = 20_000
    params = torch.randn(likelihood.n_params).double()
    u = (torch.arange(n) + 0.5).double() / n  # evenly spread: frequencies are exact up to 1 / n
    drawn = likelihood.draw(params.expand(n, -1), likelihood.noise(u), temperature)
    x = levels_of(likelihood)
    observed = torch.stack([(drawn == level).double().mean() for level in x])
    if isinstance(likelihood, Mixture):  # weights to the power 1 / T, scales times T
        k = likelihood.n_components
        sharper = params.clone()
        sharper[:k] /= temperature
        sharper[2 * k :] += math.log(temperature)
        expected = likelihood.log_prob(sharper.expand(len(x), -1), x).exp()
    else:
        power = likelihood.log_prob(params.expand(len(x), -1), x) / temperature
        expected = power.softmax(0)
    torch.testing.assert_close(observed, expected, atol=5e-4, rtol=0)


@pytest.mark.parametrize("name", list(ALL))
def test_draws_at_the_ends_of_the_unit_interval_are_levels(name: str) -> None:
    likelihood = ALL[name]
    u = torch.tensor([0.0, 2.0**-24, 0.5, 1 - 2.0**-24])
    params = torch.randn(4, likelihood.n_params)
    drawn = likelihood.draw(params, likelihood.noise(u), 1.0)
    steps = drawn * (likelihood.levels - 1)
    assert drawn.isfinite().all()
    assert ((drawn >= 0) & (drawn <= 1)).all()
    torch.testing.assert_close(steps, steps.round())


def test_the_data_choose_the_distribution() -> None:
    grey, binary = DataInfo(1, 2, 2), DataInfo(1, 2, 2, binarization="dynamic")
    assert likelihood_for(binary, "auto", 5, "softmax") == Bernoulli()
    assert likelihood_for(grey, "auto", 5, "softmax") == Categorical()
    assert likelihood_for(grey, "auto", 5, "gaussian") == Mixture("gaussian", 5)
    assert likelihood_for(grey, "logistic", 5, "softmax") == Mixture("logistic", 5)
    with pytest.raises(UsageError, match="binary"):
        likelihood_for(binary, "logistic", 5, "softmax")
