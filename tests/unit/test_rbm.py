from __future__ import annotations

import itertools
import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from gencli.data.spec import DataInfo
from gencli.errors import UsageError
from gencli.models.boltzmann.configs import RBMConfig
from gencli.models.boltzmann.gibbs import bernoulli, gibbs, in_float64
from gencli.models.boltzmann.rbm import RBM
from gencli.models.interface import Batch, Step
from gencli.random import ImageGenerator

BINARY = DataInfo(1, 3, 3, binarization="static")
GREY = DataInfo(1, 3, 3)


def all_states(n: int) -> Tensor:
    return torch.tensor(list(itertools.product([0.0, 1.0], repeat=n)))


def random_rbm(data: DataInfo, hidden: int = 5, **options: object) -> RBM:
    torch.manual_seed(0)
    model = RBM(RBMConfig(hidden=hidden, **options), data)  # type: ignore[arg-type]
    with torch.no_grad():
        for p in model.parameters():
            p.normal_(0, 0.7)
        model.units.base.normal_()
        if model.units.centered:
            model.units.m.uniform_()
    return model


def joint_energy(model: RBM, v: Tensor, h: Tensor) -> Tensor:
    """E(v, h) for every pair, (n_v, n_h), written out as in the paper."""
    units = model.units
    half = 0.5 if units.centered else 0.0
    u = (v - units.m) / (units.log_sigma.exp() if units.gaussian else 1.0)
    visible = ((u - units.b) ** 2).sum(1) / 2 if units.gaussian else -v @ units.b
    return visible[:, None] - (units.c + u @ units.weight) @ (h - half).T


@pytest.mark.parametrize("data", [BINARY, GREY])
def test_free_energy_sums_out_the_hidden_units(data: DataInfo) -> None:
    model = random_rbm(data)
    x = torch.rand(7, *data.shape).round() if data.binary else torch.randn(7, *data.shape)
    expected = -torch.logsumexp(-joint_energy(model, x.flatten(1), all_states(5)), 1)
    torch.testing.assert_close(model.energy(x), expected)


@pytest.mark.parametrize("data", [BINARY, GREY])
def test_conditional_is_the_joint_renormalised(data: DataInfo) -> None:
    model = random_rbm(data)
    v = all_states(9) if data.binary else torch.randn(40, 9)
    h = all_states(5)[[3, 17]]
    joint = -joint_energy(model, v, h).detach()
    for i, one in enumerate(h):
        log_p = model.units.log_conditional(v, one.expand(len(v), -1)).detach()
        # The ratio of joint and conditional is p(h), which does not depend on v.
        torch.testing.assert_close(log_p - joint[:, i], (log_p - joint[:, i])[:1].expand(len(v)))
    if data.binary:
        assert math.isclose(float(log_p.exp().sum()), 1, rel_tol=1e-4)


@torch.no_grad()
def exact_log_z(model: RBM) -> float:
    units = in_float64(model).units
    h = all_states(units.n_hidden).double()
    if not units.gaussian:
        v = all_states(units.n_visible).double()
        return float(torch.logsumexp(-units.free_energy(v), 0))
    # Integrating v out of exp(-E): for each h a Gaussian of u around b + W (h - l).
    field = units.b + (h - 0.5) @ units.weight.T
    gain = (field**2 - units.b**2).sum(1) / 2
    volume = units.n_visible * (units.log_sigma + 0.5 * math.log(2 * math.pi))
    return float(torch.logsumexp((h - 0.5) @ units.c + gain, 0) + volume)


@pytest.mark.parametrize("data", [BINARY, GREY])
def test_annealed_log_partition_meets_enumeration(data: DataInfo) -> None:
    model = random_rbm(data)
    estimate, standard_error = model.log_partition(chains=500, temperatures=500)[:2]
    assert 0 < standard_error < 0.05
    assert abs(estimate - exact_log_z(model)) < 4 * standard_error


def test_log_partition_is_exact_without_couplings() -> None:
    model = random_rbm(BINARY)
    with torch.no_grad():
        model.units.weight.zero_()
        model.units.b.copy_(model.units.base)
        model.units.c.zero_()
    estimate, standard_error = model.log_partition(chains=2, temperatures=3)[:2]
    assert abs(estimate - exact_log_z(model)) < 1e-4
    assert standard_error < 1e-6


@pytest.mark.parametrize("centered", [False, True])
@pytest.mark.parametrize("objective", ["cd", "pcd"])
def test_gradient_is_the_textbook_update(objective: str, centered: bool) -> None:
    model = random_rbm(BINARY, objective=objective, centered=centered, k=3, chains=6)
    v = torch.rand(8, 9).round()
    units = model.units
    m, half = units.m, 0.5 if centered else 0.0
    a = (units.b - half * units.weight.sum(1)).detach()
    d = (units.c - m @ units.weight).detach()
    if objective == "pcd":
        model.chain.copy_(torch.rand(6, 5) < 0.5)

    torch.manual_seed(1)  # the negative phase by hand, from the same random numbers
    with torch.no_grad():
        if objective == "pcd":
            h = model.chain.float()
        else:
            logits = v @ units.weight + d
            h = bernoulli(logits, torch.rand_like(logits))
        for _ in range(2):
            u = torch.rand(len(h), 14)
            v_model = (u[:, :9] < torch.sigmoid(h @ units.weight.T + a)).float()
            h = (u[:, 9:] < torch.sigmoid(v_model @ units.weight + d)).float()
        v_model = (torch.rand(len(h), 9) < torch.sigmoid(h @ units.weight.T + a)).float()
        p, p_model = (torch.sigmoid(u @ units.weight + d) for u in (v, v_model))

    torch.manual_seed(1)
    model.loss(Batch(v.view(-1, 1, 3, 3)), Step()).total.backward()
    # <(v - m)(h - l)> of the model less that of the data; offsets are zero in the textbook.
    expected = (v_model - m).T @ (p_model - half) / len(v_model)
    expected -= (v - m).T @ (p - half) / len(v)
    torch.testing.assert_close(units.weight.grad, expected)
    torch.testing.assert_close(units.b.grad, v_model.mean(0) - v.mean(0))
    torch.testing.assert_close(units.c.grad, p_model.mean(0) - p.mean(0))


def test_autocast_keeps_the_gradient_of_the_weights() -> None:
    model = random_rbm(BINARY)
    batch = Batch(torch.rand(64, 1, 3, 3).round())
    grads = []
    for enabled in (False, True):
        torch.manual_seed(2)
        model.zero_grad()
        model.chain.zero_()
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            loss = model.loss(batch, Step())
        loss.total.backward()
        grads.append(model.units.weight.grad)
    assert torch.nn.functional.cosine_similarity(grads[0].flatten(), grads[1].flatten(), 0) > 0.9


def test_penalties_have_their_gradients() -> None:
    batch = Batch(torch.rand(16, 1, 3, 3).round())

    def gradient(**options: float) -> Tensor:
        model = random_rbm(BINARY, **options)
        torch.manual_seed(3)
        model.loss(batch, Step()).total.backward()
        return model.units.weight.grad

    plain = gradient()
    weight = random_rbm(BINARY).units.weight
    torch.testing.assert_close(gradient(weight_decay=0.1) - plain, 0.1 * weight.detach())
    assert not torch.equal(gradient(sparsity=1.0, sparsity_target=0.01), plain)


def test_persistent_chains_move_and_have_the_models_marginals() -> None:
    """Chains left to run at a learning rate of zero are draws from p."""
    model = random_rbm(BINARY, chains=4000)
    batch = Batch(torch.zeros(2, 1, 3, 3))
    for _ in range(60):
        model.loss(batch, Step())
    v, h = all_states(9), all_states(5)
    p = torch.softmax(-joint_energy(model, v, h).flatten(), 0).view(len(v), len(h))
    expected = p.sum(0) @ h
    deviation = (model.chain.float().mean(0) - expected).abs().max()
    assert deviation < 4 * 0.5 / math.sqrt(4000)


def test_samples_have_the_models_marginals() -> None:
    model = random_rbm(BINARY)
    images = model.sample(3000, generator=ImageGenerator(0, range(3000)), steps=40)
    v = all_states(9)
    expected = torch.softmax(-model.units.free_energy(v), 0) @ v
    assert (images.flatten(1).mean(0) - expected).abs().max() < 4 * 0.5 / math.sqrt(3000)


@pytest.mark.parametrize("data", [BINARY, GREY])
def test_an_image_depends_on_its_seed_and_index_alone(data: DataInfo) -> None:
    model = random_rbm(data, hidden=40)
    with torch.no_grad():
        together = model.sample(5, generator=ImageGenerator(7, range(5)), steps=200)
        alone = model.sample(1, generator=ImageGenerator(7, [3]), steps=200)
    assert together.shape == (5, 1, 3, 3)
    assert together.min() >= 0
    assert together.max() <= 1
    assert torch.equal(together[3], alone[0])


def test_start_sets_the_biases_to_the_base_rates() -> None:
    x = torch.zeros(10, 1, 3, 3)
    x[:3, :, 0] = 1
    model = RBM(RBMConfig(hidden=2), BINARY)
    model.stages()[0].start(iter([Batch(x[:4]), Batch(x[4:])]))
    p = model.units.base.sigmoid().view(3, 3)
    torch.testing.assert_close(p[0], torch.full((3,), 3.5 / 11))
    torch.testing.assert_close(p[1:], torch.full((2, 3), 0.5 / 11))
    assert torch.equal(model.units.b, model.units.base)
    torch.testing.assert_close(model.units.m.view(3, 3), p)

    grey = RBM(RBMConfig(hidden=2), GREY)
    grey.stages()[0].start(iter([Batch(torch.rand(5000, 1, 3, 3))]))
    torch.testing.assert_close(grey.units.m, torch.full((9,), 0.5), atol=0.02, rtol=0)
    assert not grey.units.b.any()
    assert abs(float(grey.units.log_sigma.detach().exp()) - math.sqrt(1 / 12)) < 0.01


def test_visible_units_follow_the_data_or_the_option() -> None:
    assert not RBM(RBMConfig(hidden=2), BINARY).units.gaussian
    assert RBM(RBMConfig(hidden=2), GREY).units.gaussian
    assert RBM(RBMConfig(hidden=2, visible="gaussian"), BINARY).units.gaussian
    with pytest.raises(UsageError, match="binary data"):
        RBM(RBMConfig(hidden=2, visible="binary"), replace(BINARY, binarization="none"))


def test_training_raises_the_likelihood_of_bars() -> None:
    """PCD on images of one row each: the entropy of the data, log 3, is the least nll there is."""
    torch.manual_seed(0)
    model = RBM(RBMConfig(hidden=8, chains=200), BINARY)
    rows = torch.eye(3).view(3, 1, 3, 1).expand(3, 1, 3, 3).contiguous()
    model.start([rows])
    optimizer = torch.optim.SGD(model.parameters(), 0.3)
    decay = torch.optim.lr_scheduler.LinearLR(optimizer, 1, 0, 1000)
    for _ in range(1000):
        optimizer.zero_grad()
        model.loss(Batch(rows), Step()).total.backward()
        optimizer.step()
        decay.step()
    nll = float(model.energy(rows).detach().mean()) + exact_log_z(model)
    assert math.log(3) < nll < math.log(3) + 0.5


def test_gibbs_asks_for_its_numbers_once_a_round() -> None:
    asked: list[int] = []

    def uniform(m: int) -> Tensor:
        asked.append(m)
        return torch.full((2, m), 0.5)

    h = gibbs(
        torch.zeros(2, 3),
        4,
        lambda h, u: (h.sum(1, keepdim=True) + u).floor(),
        lambda v, u: v[:, :1] + 2 * u,
        n_visible=5,
        uniform=uniform,
    )
    assert asked == [8] * 4
    # v = floor(sum h + 1/2) and h = v + 1 in each of three units: 0, 1, 4, 13, 40.
    assert torch.equal(h, torch.full((2, 3), 40.0))


def test_filters_are_the_columns_of_the_weights() -> None:
    model = random_rbm(BINARY)
    filters = model.filters()
    assert filters.shape == (5, 1, 3, 3)
    assert filters[2, 0, 1, 0] == model.units.weight[3, 2]


@pytest.mark.parametrize("data", [BINARY, GREY])
def test_the_loss_is_the_plain_contrast(data: DataInfo, monkeypatch: pytest.MonkeyPatch) -> None:
    model, seen = random_rbm(data), []
    draw = model.units.draw_visible

    def drawn(*args: object, **kwargs: object) -> torch.Tensor:
        seen.append(draw(*args, **kwargs))
        return seen[-1]

    monkeypatch.setattr(model.units, "draw_visible", drawn)
    v = torch.rand(16, 1, 3, 3).round()
    loss = model.loss(Batch(v), Step()).total
    free_energy = model.units.free_energy
    plain = free_energy(v.flatten(1)).mean() - free_energy(seen[-1]).mean()
    torch.testing.assert_close(loss, plain)
    parameters = tuple(p for p in model.parameters())
    for ours, theirs in zip(
        *(torch.autograd.grad(x, parameters) for x in (loss, plain)), strict=True
    ):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)
