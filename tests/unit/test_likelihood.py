from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.distributions import MultivariateNormal, Normal

from gencli.evaluation.likelihood import bits_per_dim, log_mean_weight, mean_and_error


class LinearGaussian:
    """z ~ N(0, I), x ~ N(W z, s^2 I): p(x) = N(0, W W' + s^2 I) and p(z|x) are known.

    `width` scales the proposal's standard deviation beyond the posterior's; 1 is the posterior.
    """

    def __init__(self, width: float) -> None:
        generator = torch.Generator().manual_seed(0)
        self.w = torch.randn(6, 2, generator=generator, dtype=torch.float64)
        self.s, self.width = 0.7, width
        self.sizes: list[int] = []
        precision = torch.eye(2, dtype=torch.float64) + self.w.T @ self.w / self.s**2
        self.covariance = torch.linalg.inv(precision)

    def log_prob(self, x: Tensor) -> Tensor:
        covariance = self.w @ self.w.T + self.s**2 * torch.eye(6, dtype=torch.float64)
        return MultivariateNormal(torch.zeros(6, dtype=torch.float64), covariance).log_prob(x)

    def log_weights(self, x: Tensor, k: int) -> Tensor:
        self.sizes.append(k)
        mean = x @ self.w @ self.covariance / self.s**2
        q = MultivariateNormal(mean, self.width**2 * self.covariance)
        z = q.sample((k,))
        prior = Normal(0.0, 1.0).log_prob(z).sum(-1)
        likelihood = Normal(z @ self.w.T, self.s).log_prob(x).sum(-1)
        return prior + likelihood - q.log_prob(z)

    def draw(self, n: int) -> Tensor:
        z = torch.randn(n, 2, dtype=torch.float64)
        return z @ self.w.T + self.s * torch.randn(n, 6, dtype=torch.float64)


def test_exact_posterior_gives_the_exact_likelihood() -> None:
    torch.manual_seed(0)
    model = LinearGaussian(width=1)
    x = model.draw(20)
    found = log_mean_weight(model.log_weights, x, 7, piece=2)
    assert torch.allclose(found, model.log_prob(x), atol=1e-10)
    assert model.sizes == [2, 2, 3]


def test_estimate_converges_to_the_likelihood() -> None:
    torch.manual_seed(0)
    model = LinearGaussian(width=1.5)
    x = model.draw(50)
    exact = model.log_prob(x)
    few = log_mean_weight(model.log_weights, x, 5, piece=5)
    many = log_mean_weight(model.log_weights, x, 20_000, piece=1000)
    assert float((many - exact).abs().max()) < 0.05
    assert float((few - exact).abs().mean()) > 5 * float((many - exact).abs().mean())


def test_pieces_add_up_to_one_draw() -> None:
    torch.manual_seed(0)
    log_w = torch.randn(100, 8, dtype=torch.float64) * 5
    taken = 0

    def weights(x: Tensor, k: int) -> Tensor:
        nonlocal taken
        taken += k
        return log_w[taken - k : taken]

    found = log_mean_weight(weights, torch.zeros(8), 100, piece=13)
    assert taken == 100
    assert torch.allclose(found, log_w.logsumexp(0) - math.log(100))


def test_mean_and_error() -> None:
    value, error = mean_and_error(torch.tensor([1.0, 2.0, 3.0, 6.0]))
    assert value == 3
    assert error == pytest.approx(math.sqrt(14 / 3) / 2)
    assert mean_and_error(torch.tensor([2.0])) == (2.0, None)


def test_eight_bits_for_a_uniform_byte() -> None:
    assert bits_per_dim(784 * math.log(256), 784) == pytest.approx(8)
