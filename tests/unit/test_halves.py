"""Standard errors of figures of samples: as large as the figures differ from draw to draw."""

from __future__ import annotations

import statistics

import pytest
import torch
from torch import Tensor

from gencli.evaluation.frechet import frechet_distance
from gencli.evaluation.halves import errors
from gencli.evaluation.prdc import PRDC, prdc

DRAWS = 50


def pair(seed: int, n: int = 200) -> tuple[Tensor, Tensor]:
    """Real features, and samples that are a little off, of fresh draws."""
    generator = torch.Generator().manual_seed(seed)
    real = torch.randn(n, 6, generator=generator)
    return real, 1.2 * torch.randn(n, 6, generator=generator) + 0.8


def measured(real: Tensor, samples: Tensor) -> list[float]:
    return [*prdc(real, samples), frechet_distance(real, samples)]


@pytest.fixture(scope="module")
def draws() -> tuple[list[list[float]], list[list[float]]]:
    pairs = [pair(1000 + seed) for seed in range(DRAWS)]
    found = [errors(measured, *p, seed=seed) for seed, p in enumerate(pairs)]
    return [measured(*p) for p in pairs], found


@pytest.mark.parametrize("key", [*PRDC._fields, "frechet"])
def test_errors_are_what_draws_differ_by(
    draws: tuple[list[list[float]], list[list[float]]], key: str
) -> None:
    column = [*PRDC._fields, "frechet"].index(key)
    differ = statistics.stdev(row[column] for row in draws[0])
    error = statistics.fmean(row[column] ** 2 for row in draws[1]) ** 0.5
    assert 0.75 < error / differ < 1.4


def test_of_a_difference_of_means_it_is_the_textbook_s() -> None:
    a, b = (x[:, :1].double() for x in pair(0, 4001))
    found = [errors(lambda x, y: [float(x.mean() - y.mean())], a, b, seed=s)[0] for s in range(30)]
    textbook = float((a.var() / len(a) + b.var() / len(b)).sqrt())
    assert statistics.fmean(e * e for e in found) ** 0.5 == pytest.approx(textbook, rel=0.15)


def test_they_depend_on_the_seed_alone() -> None:
    real, samples = pair(3)
    assert errors(measured, real, samples, seed=1) == errors(measured, real, samples, seed=1)
    assert errors(measured, real, samples, seed=1) != errors(measured, real, samples, seed=2)
