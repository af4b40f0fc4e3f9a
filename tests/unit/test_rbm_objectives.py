"""Every objective against its definition, and what it learns from data whose density is known."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from gencli.data.spec import DataInfo
from gencli.errors import UsageError
from gencli.models.boltzmann import flips, objectives
from gencli.models.boltzmann.configs import RBMConfig
from gencli.models.boltzmann.rbm import RBM
from gencli.models.boltzmann.units import Harmonium
from gencli.models.interface import Batch, Step

N_VISIBLE, N_HIDDEN = 6, 3
BINARY = DataInfo(1, 2, 3, binarization="static")
GREY = DataInfo(1, 2, 2)


def all_states(n: int) -> Tensor:
    return torch.tensor(list(itertools.product([0.0, 1.0], repeat=n)))


def random_units(
    n_visible: int = N_VISIBLE, n_hidden: int = N_HIDDEN, scale: float = 1.5, **kind: bool
) -> Harmonium:
    torch.manual_seed(3)
    units = Harmonium(n_visible, n_hidden, **kind)
    with torch.no_grad():
        for p in (units.weight, units.b, units.c):
            p.normal_(0, scale)
        units.m.uniform_()
    return units


def rises(units: Harmonium, v: Tensor) -> Tensor:
    """F(v^i) - F(v) of all units, written out."""
    columns = []
    for i in range(v.shape[1]):
        flipped = v.clone()
        flipped[:, i] = 1 - v[:, i]
        columns.append(units.free_energy(flipped) - units.free_energy(v))
    return torch.stack(columns, 1)


@pytest.mark.parametrize("n_hidden", [1, 7, 8, 61])
@pytest.mark.parametrize("centered", [False, True])
def test_flips_are_differences_of_free_energies(
    n_hidden: int, centered: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flips, "AT_ONCE", 300)  # in several pieces
    units = random_units(10, n_hidden, 1.0, centered=centered).double()
    v = torch.rand(5, 10).round().double()
    pixels = torch.randint(10, (5, 4))
    up = torch.randn(5, 4).double()
    ours = flips.flip_energies(units, v, units.up(v), pixels)
    plain = rises(units, v).gather(1, pixels)
    torch.testing.assert_close(ours, plain)
    parameters = (units.weight, units.b, units.c)
    for a, b in zip(
        torch.autograd.grad(ours, parameters, up),
        torch.autograd.grad(plain, parameters, up),
        strict=True,
    ):
        torch.testing.assert_close(a, b)


def test_flips_in_single_precision() -> None:
    units = random_units(40, 500, 0.5)
    v = torch.rand(3, 40).round()
    everything = torch.arange(40).expand(3, -1)
    ours = flips.flip_energies(units, v, units.up(v), everything).detach()
    exact = rises(units.double(), v.double()).detach()
    torch.testing.assert_close(ours.double(), exact, atol=1e-4, rtol=1e-5)


def test_pseudo_likelihood_is_that_of_each_unit_given_the_others() -> None:
    units = random_units()
    v = all_states(N_VISIBLE)
    log_f = -units.free_energy(v).detach()
    total = torch.zeros(len(v))
    for i in range(N_VISIBLE):
        flipped = v.clone()
        flipped[:, i] = 1 - v[:, i]
        total -= log_f - torch.logaddexp(log_f, -units.free_energy(flipped).detach())
    found = objectives.pseudo_likelihood(units, v).loss.total
    torch.testing.assert_close(found.detach(), total.mean())


def test_ratio_matching_is_the_squared_probability_of_the_other_value() -> None:
    units = random_units()
    v = all_states(N_VISIBLE)
    p = torch.softmax(-units.free_energy(v).detach(), 0)
    total = torch.zeros(len(v))
    for i in range(N_VISIBLE):
        other = torch.arange(len(v)) ^ (1 << (N_VISIBLE - 1 - i))
        total += (1 / (1 + p / p[other])).square()
    found = objectives.ratio_matching(units, v).loss.total
    torch.testing.assert_close(found.detach(), total.mean())


@pytest.mark.parametrize("objective", [objectives.pseudo_likelihood, objectives.ratio_matching])
def test_pixels_drawn_stand_for_all(objective: object) -> None:
    units = random_units(scale=0.7)
    v = torch.rand(4, N_VISIBLE).round().repeat(2000, 1)
    whole, part = (objective(units, v, n).loss.total for n in (0, 2))  # type: ignore[operator]
    torch.testing.assert_close(part, whole, atol=0.05, rtol=0)
    grads = [torch.autograd.grad(total, units.weight)[0] for total in (whole, part)]
    torch.testing.assert_close(*grads, atol=0.03, rtol=0)


def test_the_score_is_the_gradient_of_the_free_energy() -> None:
    units = random_units(4, 3, gaussian=True)
    with torch.no_grad():
        units.scale.fill_(-0.7)
    v, tau = torch.rand(5, 4), 0.4
    torch.manual_seed(1)
    found = objectives.denoising_score_matching(units, v, tau).loss.total
    torch.manual_seed(1)
    n = torch.randn_like(v)
    noisy = (v + tau * n).requires_grad_()
    score = -torch.autograd.grad(units.free_energy(noisy).sum(), noisy)[0]
    expected = tau**2 / 2 * (score + n / tau).square().sum(1).mean()
    torch.testing.assert_close(found.detach(), expected)


@torch.no_grad()
def log_p(units: Harmonium, v: Tensor) -> Tensor:
    """Exact, (B,) nats, by summing over the hidden units what is known of the visible ones."""
    h = all_states(units.n_hidden).to(v.dtype) - units.l
    field = units.b + h @ units.weight.T
    if units.gaussian:
        volume = units.n_visible * (units.log_sigma + 0.5 * math.log(2 * math.pi))
        log_z = h @ units.c + (field.square() - units.b.square()).sum(1) / 2 + volume
    else:
        log_z = h @ (units.c - units.m @ units.weight) + F.softplus(field).sum(1)
    return -units.free_energy(v) - log_z.logsumexp(0)


def true_machine(scale: float, **kind: bool) -> Harmonium:
    """Without biases, so that all structure is in the couplings."""
    units = random_units(N_VISIBLE if not kind else 4, 3 if not kind else 2, scale, **kind)
    with torch.no_grad():
        units.b.zero_()
        units.c.zero_()
        units.m.fill_(0.5)
    return units


def trained(model: RBM, batch: Tensor, *, lr: float, steps: int) -> RBM:
    """Full batches, by Adam."""
    model.start([batch])
    optimizer = torch.optim.Adam(model.parameters(), lr)
    decay = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        optimizer.zero_grad()
        model.loss(Batch(batch), Step()).total.backward()
        optimizer.step()
        decay.step()
    return model


@pytest.mark.parametrize("objective", ["cd", "pcd", "pseudo-likelihood", "ratio-matching"])
def test_finds_the_likelihood_of_the_true_parameters(objective: str) -> None:
    """Data from a machine of the same size: the learnt one comes near its likelihood."""
    true = true_machine(3.0)
    states = all_states(N_VISIBLE)
    p = log_p(true, states).exp()
    assert float(p.sum()) == pytest.approx(1, abs=1e-4)
    torch.manual_seed(0)
    data = states[p.multinomial(4000, replacement=True)]
    model = RBM(RBMConfig(hidden=N_HIDDEN, objective=objective, chains=1000, k=3), BINARY)
    model = trained(model, data.view(-1, 1, 2, 3), lr=0.2, steps=200)
    best = float(p @ log_p(true, states))
    rates = data.mean(0)
    alone = float(p @ (states * rates.log() + (1 - states) * (1 - rates).log()).sum(1))
    found = float(p @ log_p(model.units, states))
    assert best - alone > 0.3
    assert best - 0.06 < found < best  # 0.04 apart at most, over eight seeds


@torch.no_grad()
def gaussian_draws(true: Harmonium, n: int) -> Tensor:
    """Exact ones, hidden units first."""
    h = all_states(true.n_hidden)
    field = true.down(h)
    log_p_h = (h - true.l) @ true.c + field.square().sum(1) / 2
    h = h[log_p_h.softmax(0).multinomial(n, replacement=True)]
    return true.draw_visible(h, torch.rand(n, true.n_visible))


@pytest.mark.parametrize("objective", ["cd", "pcd", "denoising-score-matching"])
def test_finds_the_likelihood_of_a_gaussian_machine(objective: str) -> None:
    true = true_machine(3.0, gaussian=True)
    torch.manual_seed(0)
    v, held = gaussian_draws(true, 2000), gaussian_draws(true, 2000)
    options = RBMConfig(hidden=2, objective=objective, chains=2000, k=3, noise=0.5)
    model = trained(RBM(options, GREY), v.view(-1, 1, 2, 2), lr=0.05, steps=400)
    if objective == "denoising-score-matching":
        # The density of data with noise is again one of a Gaussian machine, of a larger sigma.
        held = held + 0.5 * torch.randn_like(held)
        blurred = true_machine(3.0, gaussian=True)
        sigma = math.sqrt(1 + 0.5**2)
        with torch.no_grad():
            blurred.scale.fill_(math.log(sigma) * math.sqrt(4))
            for p in (blurred.weight, blurred.b):
                p.div_(sigma)
            # The same weights of the mixture's components.
            h = all_states(2) - 0.5
            lost = (true.down(h + 0.5).square().sum(1) - blurred.down(h + 0.5).square().sum(1)) / 2
            blurred.c.copy_(
                true.c
                + torch.linalg.lstsq(torch.cat([h, torch.ones(4, 1)], 1), lost[:, None]).solution[
                    :2, 0
                ]
            )
        true = blurred
    normal = torch.distributions.MultivariateNormal(held.mean(0), held.T.cov())
    best, found = float(log_p(true, held).mean()), float(log_p(model.units, held).mean())
    assert best - float(normal.log_prob(held).mean()) > 0.6
    assert best - 0.06 < found < best + 0.01


@pytest.mark.parametrize(
    ("objective", "data", "match"),
    [
        ("pseudo-likelihood", GREY, "binary visible"),
        ("ratio-matching", GREY, "binary visible"),
        ("denoising-score-matching", BINARY, "Gaussian visible"),
    ],
)
def test_objectives_refuse_the_other_kind_of_units(
    objective: str, data: DataInfo, match: str
) -> None:
    with pytest.raises(UsageError, match=match):
        RBM(RBMConfig(hidden=2, objective=objective), data)  # type: ignore[arg-type]
