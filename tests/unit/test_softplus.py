"""Sums of softplus by products agree with the plain form, and so do their gradients."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from gencli.models.likelihoods import Bernoulli, Categorical, log_prob_sum
from gencli.models.softplus import GROUP, bernoulli_log_prob, sum_softplus

WIDTHS = (1, 7, GROUP, GROUP + 1, 784, 3 * GROUP)


def logits(width: int, scale: float, dtype: torch.dtype = torch.float32) -> Tensor:
    a = scale * torch.randn(5, width, generator=torch.Generator().manual_seed(width))
    return a.to(dtype).requires_grad_()


def plain_log_prob(x: Tensor, a: Tensor) -> Tensor:
    return -F.binary_cross_entropy_with_logits(a, x.to(a.dtype), reduction="none").sum(-1)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("scale", [0.0, 1.0, 30.0, 1000.0])
def test_values_are_those_of_the_plain_form_in_double_precision(width: int, scale: float) -> None:
    a = logits(width, scale)
    x = (torch.rand(5, width, generator=torch.Generator().manual_seed(1)) > 0.5).float()
    for fast, plain in (
        (sum_softplus(a), a.double().logaddexp(torch.zeros(())).sum(-1)),
        (bernoulli_log_prob(x, a), plain_log_prob(x, a.double())),
    ):
        assert fast.dtype == torch.float32
        torch.testing.assert_close(fast.double(), plain, rtol=1e-6, atol=1e-4)


def test_terms_that_are_small_are_not_lost_among_large_logits() -> None:
    a = torch.tensor([[40.0, -40.0] * 392, [12.0, -12.0] * 392])
    x = (a > 0).float()  # all as the logits say: only the tails are left
    torch.testing.assert_close(
        bernoulli_log_prob(x, a).double(), plain_log_prob(x, a.double()), rtol=1e-2, atol=1e-5
    )


@pytest.mark.parametrize("width", WIDTHS)
def test_the_gradient_is_the_plain_forms_to_the_bit(width: int) -> None:
    a = logits(width, 5.0)
    x = torch.rand(5, width, generator=torch.Generator().manual_seed(2))
    (fast,) = torch.autograd.grad(bernoulli_log_prob(x, a).mean(), a)
    (plain,) = torch.autograd.grad(plain_log_prob(x, a).mean(), a)
    assert torch.equal(fast, plain)
    (fast,) = torch.autograd.grad(sum_softplus(a).mean(), a)
    (plain,) = torch.autograd.grad(F.softplus(a).sum(-1).mean(), a)
    torch.testing.assert_close(fast, plain)


def test_x_broadcasts_and_low_precision_is_raised() -> None:
    a = logits(784, 3.0).reshape(5, 784)[None].expand(3, 5, 784)
    x = torch.rand(5, 784, generator=torch.Generator().manual_seed(3))
    torch.testing.assert_close(bernoulli_log_prob(x, a)[1], plain_log_prob(x, a[1]))
    assert bernoulli_log_prob(x, a.bfloat16()).dtype == torch.float32
    assert sum_softplus(a.double()).dtype == torch.float64


def test_what_is_not_finite_stays_so() -> None:
    a = torch.full((1, 300), torch.nan)
    assert sum_softplus(a).isnan().all()
    assert bernoulli_log_prob(torch.ones(1, 300), a).isnan().all()


def test_whole_images_of_binary_and_of_grey_pixels() -> None:
    x = torch.rand(4, 784, generator=torch.Generator().manual_seed(4)).round()
    generator = torch.Generator().manual_seed(5)
    for likelihood in (Bernoulli(), Categorical(4)):
        params = torch.randn(4, 784, likelihood.n_params, generator=generator)
        torch.testing.assert_close(
            log_prob_sum(likelihood, params, x), likelihood.log_prob(params, x).sum(1)
        )
