from __future__ import annotations

import pytest
import torch

from gencli.evaluation.frechet import frechet_distance, gaussian_distance, moments, sqrt_psd


def random_covariance(d: int, seed: int, rank: int | None = None) -> torch.Tensor:
    root = torch.randn(
        d, rank or d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
    )
    return root @ root.T / d


def test_square_root_squares_back() -> None:
    s = random_covariance(20, 0)
    assert torch.allclose(sqrt_psd(s) @ sqrt_psd(s), s, atol=1e-12)
    assert torch.allclose(sqrt_psd(s), sqrt_psd(s).T)


def test_diagonal_gaussians_have_a_closed_form() -> None:
    mu_1, mu_2 = torch.tensor([0.0, 1.0, 2.0]), torch.tensor([1.0, -1.0, 2.0])
    sd_1, sd_2 = torch.tensor([1.0, 2.0, 0.5]), torch.tensor([3.0, 2.0, 0.0])
    expected = float((mu_1 - mu_2).square().sum() + (sd_1 - sd_2).square().sum())
    found = gaussian_distance(mu_1, sd_1.square().diag(), mu_2, sd_2.square().diag())
    assert found == pytest.approx(expected, rel=1e-12)


def test_covariances_that_do_not_commute() -> None:
    a, b = random_covariance(12, 1), random_covariance(12, 2)
    assert not torch.allclose(a @ b, b @ a, atol=1e-3)
    # The eigenvalues of A B are those of A^1/2 B A^1/2, found here by the general solver.
    trace_root = torch.linalg.eigvals(a @ b).real.sqrt().sum()
    expected = float(a.trace() + b.trace() - 2 * trace_root)
    zero = torch.zeros(12)
    assert gaussian_distance(zero, a, zero, b) == pytest.approx(expected, rel=1e-10)
    assert gaussian_distance(zero, b, zero, a) == pytest.approx(expected, rel=1e-10)


def test_singular_covariances_stay_finite_and_equal_ones_give_zero() -> None:
    s, mu = random_covariance(30, 3, rank=4), torch.ones(30)
    assert gaussian_distance(mu, s, mu, s) == pytest.approx(0, abs=1e-7)
    assert gaussian_distance(mu, s, mu, 4 * s) == pytest.approx(float(s.trace()), rel=1e-6)


def test_shifted_copies_are_the_squared_shift_apart() -> None:
    x = torch.randn(500, 8, generator=torch.Generator().manual_seed(4))
    assert frechet_distance(x, x + 3) == pytest.approx(9 * 8, rel=1e-5)
    rotation = torch.linalg.qr(torch.randn(8, 8, dtype=torch.float64)).Q
    y = torch.randn(400, 8, generator=torch.Generator().manual_seed(5)).double() * 2 + 1
    rotated = frechet_distance(x.double() @ rotation, y @ rotation)
    assert rotated == pytest.approx(frechet_distance(x, y), rel=1e-9)


@pytest.mark.parametrize(("n", "m"), [(30, 20), (20, 39)])
def test_fewer_rows_than_features(n: int, m: int) -> None:
    generator = torch.Generator().manual_seed(7)
    x, y = (torch.randn(rows, 40, generator=generator).relu() for rows in (n, m))
    expected = gaussian_distance(*moments(x), *moments(y))
    assert frechet_distance(x, y) == pytest.approx(expected, rel=1e-6)
    assert frechet_distance(x, x) == pytest.approx(0, abs=1e-12)
    with pytest.raises(ValueError, match="two rows"):
        frechet_distance(x, y[:1])


def test_moments_match_torch() -> None:
    x = torch.randn(100, 5, generator=torch.Generator().manual_seed(6))
    mu, cov = moments(x)
    assert torch.allclose(mu, x.double().mean(0))
    assert torch.allclose(cov, torch.cov(x.double().T))
    with pytest.raises(ValueError, match="two rows"):
        moments(x[:1])
