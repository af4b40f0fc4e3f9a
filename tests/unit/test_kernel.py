from __future__ import annotations

import pytest
import torch

from gencli.evaluation.kernel import kernel_distance, mmd2


def normal(n: int, d: int, seed: int) -> torch.Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def by_hand(a: torch.Tensor, b: torch.Tensor) -> float:
    def k(x: torch.Tensor, y: torch.Tensor) -> float:
        return float((x @ y) / len(x) + 1) ** 3

    def within(s: torch.Tensor) -> float:
        pairs = [k(s[i], s[j]) for i in range(len(s)) for j in range(len(s)) if i != j]
        return sum(pairs) / len(pairs)

    return within(a) + within(b) - 2 * sum(k(x, y) for x in a for y in b) / (len(a) * len(b))


def test_against_the_double_loop() -> None:
    a, b = normal(9, 4, 0), 2 * normal(7, 4, 1) + 0.5
    assert mmd2(a, b) == pytest.approx(by_hand(a, b), rel=1e-12)
    with pytest.raises(ValueError, match="two rows"):
        mmd2(a[:1], b)


def test_unbiased_for_equal_distributions() -> None:
    draws = torch.tensor([mmd2(normal(20, 3, 2 * i), normal(30, 3, 2 * i + 1)) for i in range(400)])
    assert draws.min() < 0 < draws.max()
    assert abs(float(draws.mean())) < 3 * float(draws.std()) / 20


def test_the_population_value_of_a_shift() -> None:
    # In one dimension k(x, y) = (xy + 1)^3; for N(0, 1) against N(m, 1), with E x^2 = 1 + m^2 and
    # E x^3 = m^3 + 3m: MMD^2 = (m^3 + 3m)^2 + 3 m^4 + 3 m^2.
    m = 0.5
    expected = (m**3 + 3 * m) ** 2 + 3 * m**4 + 3 * m**2
    value, error = kernel_distance(normal(10_000, 1, 0), normal(10_000, 1, 1) + m)
    assert abs(value - expected) < 4 * error < 0.5 * expected


def test_standard_error_is_the_spread_of_repetitions() -> None:
    runs = [kernel_distance(normal(400, 3, 2 * i), normal(400, 3, 2 * i + 1)) for i in range(200)]
    values, errors = torch.tensor(runs).unbind(1)
    assert float(errors.mean()) == pytest.approx(float(values.std()), rel=0.15)


def test_the_seed_decides_the_subsets() -> None:
    a, b = normal(100, 3, 0), normal(90, 3, 1)
    assert kernel_distance(a, b, seed=1) == kernel_distance(a, b, seed=1)
    assert kernel_distance(a, b, seed=1) != kernel_distance(a, b, seed=2)
