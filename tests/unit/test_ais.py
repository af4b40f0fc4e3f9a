from __future__ import annotations

import itertools
import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from gencli.models.boltzmann.ais import FEWEST_EFFECTIVE, ais, log_mean_exp


class TinyRBM:
    """8 visible and 5 hidden binary units, annealed from the visible biases alone."""

    def __init__(self, scale: float) -> None:
        torch.manual_seed(0)
        self.w = scale * torch.randn(8, 5, dtype=torch.float64)
        self.b = torch.randn(8, dtype=torch.float64)
        self.c = torch.randn(5, dtype=torch.float64)

    def log_f(self, v: Tensor, beta: float) -> Tensor:
        return v @ self.b + F.softplus(beta * (v @ self.w + self.c)).sum(1)

    def transition(self, v: Tensor, beta: float) -> Tensor:
        h = torch.bernoulli(torch.sigmoid(beta * (v @ self.w + self.c)))
        return torch.bernoulli(torch.sigmoid(self.b + beta * (h @ self.w.T)))

    def initial(self, n: int) -> Tensor:
        return torch.bernoulli(torch.sigmoid(self.b).expand(n, 8))

    def log_z(self, beta: float) -> float:
        states = torch.tensor(list(itertools.product([0.0, 1.0], repeat=8)), dtype=torch.float64)
        return float(self.log_f(states, beta).logsumexp(0))


@pytest.mark.parametrize(("scale", "n_temperatures"), [(0.5, 50), (1.5, 300)])
def test_against_enumeration(scale: float, n_temperatures: int) -> None:
    rbm = TinyRBM(scale)
    exact = rbm.log_z(1) - rbm.log_z(0)
    torch.manual_seed(1)
    result = ais(rbm.initial(1000), rbm.log_f, rbm.transition, n_temperatures)
    found, error = result.value, result.standard_error
    assert 0 < error < 0.05
    assert abs(found - exact) < 3 * error


def test_weights_are_unbiased_even_in_one_step() -> None:
    # One step is plain importance sampling from f_0: it needs no mixing, only many chains.
    rbm = TinyRBM(0.5)
    torch.manual_seed(2)
    result = ais(rbm.initial(200_000), rbm.log_f, rbm.transition, 1)
    found, error = result.value, result.standard_error
    assert abs(found - (rbm.log_z(1) - rbm.log_z(0))) < 3 * error
    assert error < 0.02


def test_standard_error_is_the_spread_of_repetitions() -> None:
    rbm = TinyRBM(0.5)
    torch.manual_seed(3)
    runs = [ais(rbm.initial(200), rbm.log_f, rbm.transition, 5) for _ in range(200)]
    values, errors = torch.tensor([(r.value, r.standard_error) for r in runs]).unbind(1)
    assert float(errors.mean()) == pytest.approx(float(values.std()), rel=0.2)


def test_gaussian_path_in_closed_form() -> None:
    # f_beta = exp(-(1 + 3 beta) v^2 / 2), sampled exactly at each beta: log Z ratio = -log(4) / 2.
    torch.manual_seed(4)
    result = ais(
        torch.randn(2000, 1, dtype=torch.float64),
        lambda v, beta: -(1 + 3 * beta) * v.square().sum(1) / 2,
        lambda v, beta: torch.randn_like(v) / math.sqrt(1 + 3 * beta),
        200,
    )
    assert abs(result.value + math.log(4) / 2) < 3 * result.standard_error < 0.02


def test_path_that_changes_nothing_but_the_scale_is_exact() -> None:
    calls: list[tuple[int, int]] = []
    result = ais(
        torch.zeros(7, 3),
        lambda v, beta: 5000 * beta + v.sum(1),
        lambda v, beta: v,
        10,
        progress=lambda *done: calls.append(done),
    )
    assert result.value == pytest.approx(5000, abs=1e-3)
    assert result.standard_error == pytest.approx(0, abs=1e-6)
    assert result.effective_chains == pytest.approx(7)
    assert calls == [(j, 10) for j in range(1, 11)]


def test_log_mean_exp_far_from_zero() -> None:
    w = torch.tensor([1.0, 2.0, 4.0, 9.0], dtype=torch.float64)
    result = log_mean_exp(w.log() - 3000)
    assert result.value == pytest.approx(math.log(4) - 3000, abs=1e-9)
    assert result.standard_error == pytest.approx(float(w.std()) / 4 / 2, rel=1e-12)
    assert result.effective_chains == pytest.approx(16**2 / 102, rel=1e-12)


def test_effective_chains_tell_when_the_standard_error_is_too_small() -> None:
    """Within two standard errors: nearly always above the threshold, often not far below it."""
    trusted, doubted = list[bool](), list[bool]()
    for scale in (1.5, 2.5, 4.0):
        rbm = TinyRBM(scale)
        exact = rbm.log_z(1) - rbm.log_z(0)
        for n_chains, n_temperatures in ((100, 1), (100, 3), (100, 30), (300, 10)):
            torch.manual_seed(5)
            for _ in range(40):
                found = ais(rbm.initial(n_chains), rbm.log_f, rbm.transition, n_temperatures)
                within = abs(found.value - exact) < 2 * found.standard_error
                if found.effective_chains >= FEWEST_EFFECTIVE:
                    trusted.append(within)
                elif found.effective_chains < FEWEST_EFFECTIVE / 5:
                    doubted.append(within)
    assert min(len(trusted), len(doubted)) > 80
    assert sum(trusted) / len(trusted) > 0.9
    assert sum(doubted) / len(doubted) < 0.85


def test_one_chain_has_no_standard_error() -> None:
    with pytest.raises(ValueError, match="two chains"):
        ais(torch.zeros(1, 2), lambda v, beta: v.sum(1), lambda v, beta: v, 3)
