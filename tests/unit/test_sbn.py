"""Tiny belief networks, whose hidden states are all enumerated."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from gencli.data.spec import DataInfo
from gencli.errors import UsageError
from gencli.models.interface import Batch, Step
from gencli.models.latent.configs import SBNConfig
from gencli.models.latent.sbn import SBN, climbed, log_mean
from gencli.random import ImageGenerator

DATA = DataInfo(1, 2, 3, binarization="static")


def all_states(n: int) -> Tensor:
    return torch.tensor(list(itertools.product([0.0, 1.0], repeat=n)), dtype=torch.float64)


def random_sbn(data: DataInfo = DATA, scale: float = 1.0, **options: Any) -> SBN:
    torch.manual_seed(0)
    model = SBN(SBNConfig(**{"hidden": (3, 2), **options}), data).double()
    with torch.no_grad():
        for name, p in model.named_parameters():
            p.normal_(0, 0.3 if "recognition" in name else scale)
    return model


def hidden_states(model: SBN) -> list[Tensor]:
    """All states of the hidden layers, each (n_states, 1, n_units)."""
    widths = model.config.hidden
    return list(all_states(sum(widths)).unsqueeze(1).split(widths, dim=-1))


def exact_log_p(model: SBN, x: Tensor) -> Tensor:
    """Log p(x), (B,) nats, spelt out layer by layer."""

    def log_prob(units: Tensor, logits: Tensor) -> Tensor:
        return torch.distributions.Bernoulli(logits=logits).log_prob(units).sum(-1)

    layers = [x, *hidden_states(model)]
    log_p = log_prob(layers[-1], model.prior)
    for linear, here, above in zip(model.generative, layers, layers[1:], strict=False):
        log_p = log_p + log_prob(here, above @ linear.weight.T + linear.bias)
    return log_p.logsumexp(0)


def gradients(value: Tensor, parameters: Sequence[nn.Parameter]) -> Tensor:
    """All derivatives in one row; zeros where there are none."""
    found = torch.autograd.grad(value, parameters, allow_unused=True, retain_graph=True)
    pairs = zip(found, parameters, strict=True)
    return torch.cat([(torch.zeros_like(p) if g is None else g).flatten() for g, p in pairs])


@torch.no_grad()
def test_the_likelihood_sums_to_one() -> None:
    model = random_sbn()
    assert float(exact_log_p(model, all_states(6)).exp().sum()) == pytest.approx(1)
    joint = model.log_joint(all_states(6), hidden_states(model)).logsumexp(0)
    torch.testing.assert_close(joint, exact_log_p(model, all_states(6)))
    posterior = model.log_posterior(all_states(6).expand(32, -1, -1), hidden_states(model))
    torch.testing.assert_close(posterior.exp().sum(0), torch.ones(64, dtype=torch.float64))


@torch.no_grad()
@pytest.mark.parametrize("hidden", [(4,), (3, 2), (2, 2, 2)])
def test_weights_have_the_mean_of_the_likelihood(hidden: tuple[int, ...]) -> None:
    model = random_sbn(scale=0.7, hidden=hidden)
    x = all_states(6)[::7]
    exact = exact_log_p(model, x)
    log_w = model.log_weights(x.view(-1, *DATA.shape), 20_000)
    ratio = (log_w - exact).exp()
    error = ratio.std(0) / math.sqrt(len(ratio))
    assert float(error.max()) < 0.05
    assert ((ratio.mean(0) - 1).abs() < 4 * error).all()
    assert (log_w.mean(0) < exact).all()  # the bound of one particle, and of five
    fives = log_mean(log_w.view(5, -1, len(x))).mean(0)
    assert (log_w.mean(0) < fives).all()
    assert (fives < exact + 0.02).all()


@torch.no_grad()
def test_dreams_and_samples_are_drawn_from_the_model() -> None:
    model = random_sbn().float()
    expected = exact_log_p(model.double(), all_states(6)).exp()
    mean = (expected @ all_states(6)).float()
    model.float()
    x, states = model.dream(20_000)
    index = (x.long() * 2 ** torch.arange(5, -1, -1)).sum(1)
    found = torch.bincount(index, minlength=64) / len(x)
    assert (found - expected).abs().max() < 4 * 0.5 / math.sqrt(len(x))
    assert [s.shape[1] for s in states] == [3, 2]
    images = model.sample(5000, generator=ImageGenerator(0, range(5000)))
    assert (images.flatten(1).mean(0) - mean).abs().max() < 4 * 0.5 / math.sqrt(5000)


def every_draw(model: SBN, x: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Log p and log q of all K-tuples of hidden states, each (K, n_tuples), for one image."""
    states = hidden_states(model)
    log_p = model.log_joint(x, states).squeeze(1)
    log_q = model.log_posterior(x.expand(len(states[0]), 1, -1), states).squeeze(1)
    tuples = torch.tensor(list(itertools.product(range(len(log_p)), repeat=k))).T
    return log_p[tuples], log_q[tuples]


@pytest.mark.parametrize("k", [2, 3])
def test_vimco_has_the_gradient_of_the_bound(k: int) -> None:
    """Both expectations by summing over all K-tuples of hidden states."""
    model = random_sbn(hidden=(2, 1))
    x = all_states(6)[[37]]
    log_p, log_q = every_draw(model, x, k)
    parameters = list(model.parameters())
    chance = log_q.sum(0).exp()
    assert float(chance.detach().sum()) == pytest.approx(1)
    bound = (chance * log_mean(log_p - log_q)).sum()
    estimator = (chance.detach() * climbed("vimco", log_p, log_q)).sum()
    expected = gradients(bound, parameters)
    assert expected.abs().max() > 0.1
    torch.testing.assert_close(gradients(estimator, parameters), expected)


def test_the_baseline_of_vimco_lowers_the_variance() -> None:
    model = random_sbn(hidden=(2, 1))
    x = all_states(6)[[37]]
    log_p, log_q = every_draw(model, x, 2)
    chance = log_q.sum(0).exp().detach()
    recognition = list(model.recognition.parameters())
    plain = (log_mean(log_p - log_q).detach() * log_q).sum(0) + log_mean(log_p - log_q)
    spread = []
    for values in (climbed("vimco", log_p, log_q), plain):
        rows = torch.stack([gradients(value, recognition) for value in values])
        mean = chance @ rows
        spread.append((mean, float(chance @ (rows - mean).square().sum(1))))
    (ours, small), (theirs, large) = spread
    torch.testing.assert_close(ours, theirs)
    assert small < 0.5 * large


def test_many_particles_of_rws_give_the_gradient_of_the_likelihood() -> None:
    """And, for q, that of E log q(h|x) under the true posterior."""
    model = random_sbn(scale=0.7)
    x = all_states(6)[[5, 44]]
    states, log_q = model.infer(x, 100_000)
    value = climbed("rws", model.log_joint(x, states), log_q).mean()
    p = [model.prior, *model.generative.parameters()]
    expected = gradients(exact_log_p(model, x).mean(), p)
    assert (gradients(value, p) - expected).norm() < 0.03 * expected.norm()
    everything = hidden_states(model)
    posterior = model.log_joint(x, everything).softmax(0).detach()
    log_q = model.log_posterior(x.expand(len(everything[0]), -1, -1), everything)
    q = list(model.recognition.parameters())
    expected = gradients((posterior * log_q).sum(0).mean(), q)
    assert (gradients(value, q) - expected).norm() < 0.03 * expected.norm()


def test_wake_teaches_p_and_sleep_teaches_q() -> None:
    model = random_sbn(objective="wake-sleep", particles=4).float()
    p, q = [model.prior, *model.generative.parameters()], list(model.recognition.parameters())
    x = all_states(6).float().view(-1, *DATA.shape)
    torch.manual_seed(1)
    total = model.loss(Batch(x), Step()).total
    torch.manual_seed(1)
    flat = x.flatten(1)
    wake = -model.log_joint(flat, model.infer(flat, 4)[0]).mean()
    sleep = -model.log_posterior(*model.dream(64)).mean()
    torch.testing.assert_close(gradients(total, p), gradients(wake, p))
    torch.testing.assert_close(gradients(total, q), gradients(sleep, q))


@pytest.mark.parametrize("objective", ["rws", "wake-sleep", "vimco"])
def test_every_objective_learns_what_a_factorial_model_cannot(objective: str) -> None:
    """Two patterns that exclude one another: log 2 nats, against more than 2 without layers."""
    torch.manual_seed(0)
    pattern = torch.tensor([1.0, 1, 0, 0, 1, 0])
    x = torch.stack([pattern, 1 - pattern]).repeat(32, 1).view(-1, *DATA.shape)
    model = SBN(SBNConfig(hidden=(4, 2), objective=objective), DATA)
    model.start([Batch(x)])
    optimizer = torch.optim.Adam(model.parameters(), 0.08)
    for _ in range(150):
        optimizer.zero_grad()
        model.loss(Batch(x), Step()).total.backward()
        optimizer.step()
    with torch.no_grad():
        nll = -exact_log_p(model.double(), x[:2].flatten(1).double()).mean()
    assert math.log(2) <= nll < math.log(2) + 0.4


def test_visible_biases_start_at_the_base_rates() -> None:
    model = SBN(SBNConfig(hidden=(3,)), DATA)
    x = torch.zeros(3, *DATA.shape)
    x[0, 0, 0, 0] = x[1, 0, 0, 0] = 1
    model.start([Batch(x[:2]), Batch(x[2:])])
    rates = model.generative[0].bias.sigmoid()
    torch.testing.assert_close(rates[:2], torch.tensor([2.5 / 4, 0.5 / 4]))


@torch.no_grad()
def test_validation_is_the_bound_of_the_training() -> None:
    model = random_sbn(particles=7).float()
    x = all_states(6).float().view(-1, *DATA.shape)
    torch.manual_seed(3)
    expected = math.log(7) - model.log_weights(x, 7).logsumexp(0)
    torch.manual_seed(3)
    torch.testing.assert_close(model.validation_loss(x), expected)


def test_grey_data_and_a_single_particle_of_vimco_are_refused() -> None:
    with pytest.raises(UsageError, match="binary"):
        SBN(SBNConfig(), DataInfo(1, 2, 3))
    with pytest.raises(UsageError, match="particles"):
        SBN(SBNConfig(objective="vimco", particles=1), DATA)
