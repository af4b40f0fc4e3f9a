"""The general Boltzmann machine against enumeration."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from gencli.data.spec import DataInfo
from gencli.errors import UsageError
from gencli.models.boltzmann import boltzmann, machine, sweeps
from gencli.models.boltzmann.boltzmann import Boltzmann
from gencli.models.boltzmann.configs import BoltzmannConfig
from gencli.models.interface import Batch, Step
from gencli.random import ImageGenerator

DATA = DataInfo(1, 2, 3, binarization="static")
N_VISIBLE = 6


def all_states(n: int) -> Tensor:
    return torch.tensor(list(itertools.product([0.0, 1.0], repeat=n))).view(2**n, n)


def random_machine(
    hidden: int = 3, scale: float = 0.8, data: DataInfo = DATA, **options: object
) -> Boltzmann:
    torch.manual_seed(0)
    model = Boltzmann(BoltzmannConfig(hidden=hidden, **options), data)  # type: ignore[arg-type]
    with torch.no_grad():
        for p in model.parameters():
            p.normal_(0, scale)
        model.machine.m[: data.n_pixels].uniform_()
        model.machine.base[: data.n_pixels].normal_()
    return model


@torch.no_grad()
def joint(model: Boltzmann) -> Tensor:
    """-E(v, h) of all states, (2^n_visible, 2^n_hidden), coupling by coupling."""
    units = model.machine
    n = len(units.b)
    s, total = all_states(n), torch.zeros(2**n)
    weights = iter(units.weight)
    for i in range(n):
        total += units.b[i] * s[:, i]
        for j in range(i):
            total += next(weights) * (s[:, i] - units.m[i]) * (s[:, j] - units.m[j])
    return total.view(2**units.n_visible, -1)


def images(model: Boltzmann) -> Tensor:
    return all_states(model.machine.n_visible).view(-1, *model.data.shape)


def test_energy_is_the_sum_over_pairs() -> None:
    model = random_machine()
    s = all_states(N_VISIBLE + 3)
    found = model.machine.energy(s, model.machine.couplings())
    torch.testing.assert_close(-found.detach(), joint(model).flatten())


@pytest.mark.parametrize("first", [0, 7])
@pytest.mark.parametrize("block", [1, 5, 64])
def test_a_sweep_is_the_textbooks(first: int, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweeps, "BLOCK", block)
    torch.manual_seed(1)
    n = 23
    couplings = torch.randn(n, n, dtype=torch.float64).tril(-1)
    couplings = couplings + couplings.T
    s, bias = torch.rand(40, n).round().double(), torch.randn(n).double()
    before = s.clone()
    for _ in range(3):
        uniform = torch.rand(40, n - first)
        ours = sweeps.sweep(s, couplings, bias, uniform, first)
        plain = sweeps.plain_sweep(s, couplings, bias, uniform, first)
        assert torch.equal(ours[0], plain[0])
        torch.testing.assert_close(ours[1], plain[1])
        s = ours[0]
    assert torch.equal(s[:, :first], before[:, :first])
    assert not torch.equal(s, before)


def test_chains_have_the_machines_distribution() -> None:
    model = random_machine(hidden=2)
    p = joint(model).flatten().softmax(0)
    couplings = model.machine.couplings().detach()
    bias = model.machine.bias(couplings).detach()
    s = model.machine.free_draws(torch.rand(20_000, N_VISIBLE + 2))
    for _ in range(40):
        s, _ = sweeps.sweep(s, couplings, bias, torch.rand_like(s))
    number = (s.long() * 2 ** torch.arange(N_VISIBLE + 1, -1, -1)).sum(1)
    found = torch.bincount(number, minlength=len(p)) / len(s)
    assert float((found - p).abs().sum()) < 0.12  # what draws from p itself come to: 0.09
    assert float((found - p).abs().max()) < 4 * math.sqrt(float(p.max()) / len(s))


@pytest.mark.parametrize("hidden", [0, 3])
def test_probabilities_of_all_images_sum_to_one(hidden: int) -> None:
    model = random_machine(hidden)
    log_z = model.log_partition()
    assert log_z.standard_error == 0
    assert log_z.value == pytest.approx(float(joint(model).flatten().logsumexp(0)), abs=1e-4)
    with torch.no_grad():
        weights = model.log_weights(images(model), 2)
    assert torch.equal(weights[0], weights[1])
    assert float((weights[0] - log_z.value).exp().sum()) == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("hidden", [0, 4])
def test_annealed_log_partition_meets_enumeration(
    hidden: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = random_machine(hidden)
    exact = model.log_partition().value
    monkeypatch.setattr(boltzmann, "FEW_UNITS", 0)
    found = model.log_partition(chains=1000, temperatures=100)
    assert 0 < found.standard_error < 0.05
    assert abs(found.value - exact) < 4 * found.standard_error


@torch.no_grad()
def test_mean_field_bounds_and_importance_sampling_closes_the_gap(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = random_machine(3, 1.0)
    exact = joint(model).logsumexp(1)
    monkeypatch.setattr(machine, "FEW_HIDDEN", 0)
    weights = model.log_weights(images(model), 4000)
    assert float((weights.logsumexp(0) - math.log(4000) - exact).abs().max()) < 0.1
    bound = weights.mean(0)
    assert bool((bound < exact + 0.05).all())
    # E(v, mu) and the entropy of mu, written out.
    mu = model.machine.mean_field(all_states(N_VISIBLE), model.machine.couplings(), 30)
    h = all_states(3)
    q = (mu.log() @ h.T + (1 - mu).log() @ (1 - h).T).exp()
    elbo = (q * (joint(model) - q.log())).sum(1)
    torch.testing.assert_close(bound, elbo, atol=0.1, rtol=0)
    # The means are a fixed point, and better than independent ones that ignore each other.
    s = torch.cat([all_states(N_VISIBLE), mu], 1)
    fields = model.machine.fields(s, model.machine.couplings())
    torch.testing.assert_close(fields[:, N_VISIBLE:].sigmoid(), mu, atol=1e-3, rtol=0)


@pytest.mark.parametrize("hidden", [0, 2])
def test_gradient_is_that_of_the_likelihood(hidden: int) -> None:
    """Many chains at rest: what the loss gives is the gradient of -log p by enumeration."""
    model = random_machine(hidden, 0.5, chains=40_000, posterior="gibbs", settle=8, k=30)
    torch.manual_seed(2)
    x = torch.rand(2, *DATA.shape).round()
    number = (x.flatten(1).long() * 2 ** torch.arange(N_VISIBLE - 1, -1, -1)).sum(1)
    units, s = model.machine, all_states(N_VISIBLE + hidden)
    log_p = -units.energy(s, units.couplings()).view(2**N_VISIBLE, -1)
    nll = log_p.flatten().logsumexp(0) - log_p[number].logsumexp(1).mean()
    exact = torch.autograd.grad(nll, tuple(model.parameters()))
    model.loss(Batch(x.repeat(20_000, 1, 1, 1)), Step()).total.backward()
    for p, expected in zip(model.parameters(), exact, strict=True):
        torch.testing.assert_close(p.grad, expected, atol=0.015, rtol=0)


def test_mean_field_gradient_raises_the_bound() -> None:
    model = random_machine(2, 0.5, chains=20_000, k=30)
    x = torch.rand(2, *DATA.shape).round()
    units = model.machine
    mu = units.mean_field(x.flatten(1), units.couplings(), 10).detach()
    s = torch.cat([x.flatten(1), mu], 1)
    log_z = -units.energy(all_states(N_VISIBLE + 2), units.couplings())
    bound = units.energy(s, units.couplings()).mean() + log_z.logsumexp(0)
    exact = torch.autograd.grad(bound, tuple(model.parameters()))
    model.loss(Batch(x), Step()).total.backward()
    for p, expected in zip(model.parameters(), exact, strict=True):
        torch.testing.assert_close(p.grad, expected, atol=0.02, rtol=0)


def test_pseudo_likelihood_is_that_of_each_pixel_given_the_others() -> None:
    model = random_machine(0, objective="pseudo-likelihood")
    log_f, v = joint(model).flatten(), all_states(N_VISIBLE)
    total = torch.zeros(len(v))
    for i in range(N_VISIBLE):
        other = torch.arange(len(v)) ^ (1 << (N_VISIBLE - 1 - i))
        total -= F.logsigmoid(log_f - log_f[other])
    loss = model.loss(Batch(images(model)), Step()).total
    torch.testing.assert_close(loss.detach(), total.mean())


@pytest.mark.parametrize(
    ("hidden", "options"),
    [
        (0, {"objective": "pseudo-likelihood"}),
        (0, {}),
        (2, {}),
        (2, {"posterior": "gibbs", "settle": 3}),
    ],
)
def test_finds_the_likelihood_of_the_true_machine(hidden: int, options: dict[str, object]) -> None:
    true = random_machine(hidden, 1.5)
    with torch.no_grad():  # no biases: all that there is to learn is in the couplings
        true.machine.b.zero_()
        true.machine.m.fill_(0.5)
    p = joint(true).logsumexp(1).softmax(0)
    torch.manual_seed(0)
    data = all_states(N_VISIBLE)[p.multinomial(2000, replacement=True)]
    model = Boltzmann(BoltzmannConfig(hidden=hidden, chains=500, **options), DATA)  # type: ignore[arg-type]
    batch = data.view(-1, *DATA.shape)
    model.start([batch])
    optimizer = torch.optim.Adam(model.parameters(), 0.05)
    decay = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 300)
    for _ in range(300):
        optimizer.zero_grad()
        model.loss(Batch(batch), Step()).total.backward()
        optimizer.step()
        decay.step()
    with torch.no_grad():
        log_q = model.log_weights(images(model), 1)[0] - model.log_partition().value
    best, found = float(p @ p.log()), float(p @ log_q)
    rates = (data.sum(0) + 0.5) / (len(data) + 1)
    v = all_states(N_VISIBLE)
    alone = float(p @ (v @ rates.log() + (1 - v) @ (1 - rates).log()))
    assert best - alone > 0.3
    assert best - 0.04 < found < best


def test_samples_have_the_machines_marginals() -> None:
    model = random_machine(3)
    with torch.no_grad():
        x = model.sample(3000, generator=ImageGenerator(0, range(3000)), steps=30)
    expected = joint(model).logsumexp(1).softmax(0) @ all_states(N_VISIBLE)
    assert float((x.flatten(1).mean(0) - expected).abs().max()) < 4 * 0.5 / math.sqrt(3000)


def test_start_is_the_best_machine_without_couplings() -> None:
    x = torch.rand(200, *DATA.shape).round()
    model = Boltzmann(BoltzmannConfig(hidden=2, chains=2000), DATA)
    model.stages()[0].start(iter([Batch(x[:90]), Batch(x[90:])]))
    rates = (x.flatten(1).sum(0) + 0.5) / 201
    torch.testing.assert_close(model.machine.b.detach().sigmoid()[:N_VISIBLE], rates)
    torch.testing.assert_close(model.machine.m[:N_VISIBLE], rates)
    torch.testing.assert_close(
        model.chain.float().mean(0), torch.cat([rates, torch.full((2,), 0.5)]), atol=0.06, rtol=0
    )


def test_only_couplings_of_hidden_to_visible_units_begin_unlike() -> None:
    couplings = Boltzmann(BoltzmannConfig(hidden=2), DATA).machine.couplings().detach()
    assert torch.equal(couplings, couplings.T)
    assert bool(couplings[N_VISIBLE:, :N_VISIBLE].ne(0).all())
    assert not couplings[:N_VISIBLE, :N_VISIBLE].any()
    assert not couplings[N_VISIBLE:, N_VISIBLE:].any()


def test_filters_are_couplings_to_pixels() -> None:
    model = random_machine(3)
    couplings = model.machine.couplings().detach()
    assert torch.equal(model.filters()[1].flatten(), couplings[N_VISIBLE + 1, :N_VISIBLE])
    assert random_machine(0).filters().shape == (N_VISIBLE, *DATA.shape)


def test_states_are_all_there_once() -> None:
    states = machine.all_states(5, torch.zeros(()))
    assert len(states.unique(dim=0)) == 2**5
    assert machine.all_states(0, torch.zeros(())).shape == (1, 0)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(UsageError, match="binary"):
        Boltzmann(BoltzmannConfig(), DataInfo(1, 2, 3))
    with pytest.raises(UsageError, match="without hidden"):
        Boltzmann(BoltzmannConfig(objective="pseudo-likelihood"), DATA)
