"""Tiny deep Boltzmann machines, whose states are all enumerated."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
import torch
from torch import Tensor

from gencli.data.spec import DataInfo
from gencli.data.splits import ImageData, Split
from gencli.data.store import ResidentStore
from gencli.errors import UsageError
from gencli.evaluation.evaluate import evaluate
from gencli.models.boltzmann.configs import DBMConfig
from gencli.models.boltzmann.dbm import DBM
from gencli.models.boltzmann.layers import Layers
from gencli.models.interface import Batch, Step
from gencli.random import ImageGenerator
from gencli.training.validation import validate

DATA = DataInfo(1, 2, 2, binarization="static")


def all_states(n: int) -> Tensor:
    return torch.tensor(list(itertools.product([0.0, 1.0], repeat=n)), dtype=torch.float64)


def random_dbm(hidden: tuple[int, ...] = (3, 3), scale: float = 1.0, **options: Any) -> DBM:
    torch.manual_seed(0)
    model = DBM(DBMConfig(**{"hidden": hidden, "chains": 10, **options}), DATA).double()
    with torch.no_grad():
        for name, p in model.named_parameters():
            p.normal_(0, scale if "weights" in name else 0.5)
        model.base.normal_()
        if model.config.centered:
            for layer in range(len(hidden) + 1):
                model.get_buffer(f"offset{layer}").uniform_()
    return model


def energies(model: DBM) -> Tensor:
    """The -E of all states but for a constant, (n_v, n_h), spelt out with its offsets."""
    v, h = all_states(model.data.n_pixels), all_states(sum(model.config.hidden))
    n = len(v) * len(h)
    s = [v.repeat_interleave(len(h), 0), *h.repeat(len(v), 1).split(model.config.hidden, 1)]
    value = torch.zeros(n, dtype=torch.float64)
    for layer, b in enumerate(model.biases):
        value = value + s[layer] @ b
        if layer < len(model.weights):
            here, above = (
                x - model.get_buffer(f"offset{layer + i}")
                for i, x in enumerate(s[layer : layer + 2])
            )
            value = value + torch.einsum("ni,ij,nj->n", here, model.weights[layer], above)
            rest = [model.get_buffer(f"offset{layer + i}") for i in (0, 1)]
            value = value - rest[0] @ model.weights[layer] @ rest[1]
    return value.view(len(v), len(h))


HIDDEN = pytest.mark.parametrize("hidden", [(3, 3), (3, 2, 2), (2, 2, 2, 1)])


@torch.no_grad()
@HIDDEN
def test_annealing_finds_the_normaliser(hidden: tuple[int, ...]) -> None:
    model = random_dbm(hidden)
    exact = float(energies(model).flatten().logsumexp(0))
    torch.manual_seed(1)
    found = model.log_partition(chains=1000, temperatures=100)
    assert 0 < found.standard_error < 0.05
    assert abs(found.value - exact) < 3 * found.standard_error


@torch.no_grad()
@HIDDEN
@pytest.mark.parametrize("centered", [True, False])
def test_the_bound_is_that_of_the_factorial_posterior(
    hidden: tuple[int, ...], centered: bool
) -> None:
    model = random_dbm(hidden, scale=1.5, centered=centered)
    x = all_states(4)
    log_p = energies(model)
    bound = model.log_prob_bound(x.view(-1, *DATA.shape))
    means = torch.cat(model.posterior(x)[1:], 1)
    states = all_states(means.shape[1])
    log_q = states @ means.log().T + (1 - states) @ (1 - means).log().T
    elbo = (log_q.exp() * (log_p.T - log_q)).sum(0)
    torch.testing.assert_close(bound, elbo)
    exact = log_p.logsumexp(1)
    assert (bound < exact).all()
    # Half a nat of the gap is left where a factorial q is not enough, not more.
    assert (bound - exact).mean() > -0.5


@torch.no_grad()
def test_mean_field_never_lowers_the_bound() -> None:
    model = random_dbm((3, 2, 2), scale=2)
    x, layers = all_states(4), model.layers()
    bounds = []
    for passes in range(8):
        s = layers.mean_field(x, passes)
        entropy = sum((torch.special.entr(m) + torch.special.entr(1 - m)).sum(1) for m in s[1:])
        bounds.append(layers.negative_energy(s) + entropy)
    for before, after in itertools.pairwise(bounds[1:]):
        assert (after > before - 1e-9).all()
    assert (bounds[-1] - bounds[1]).max() > 0.01


@torch.no_grad()
@HIDDEN
def test_weights_have_the_mean_of_the_unnormalised_likelihood(hidden: tuple[int, ...]) -> None:
    model = random_dbm(hidden, scale=0.7)
    x = all_states(4)
    exact = energies(model).logsumexp(1)
    torch.manual_seed(1)
    log_w = model.log_weights(x.view(-1, *DATA.shape), 20_000)
    ratio = (log_w - exact).exp()
    error = ratio.std(0) / math.sqrt(len(ratio))
    assert float(error.max()) < 0.05
    assert ((ratio.mean(0) - 1).abs() < 4 * error + 1e-9).all()
    single = log_w.mean(0)
    assert (single < exact + 0.01).all()
    assert (model.log_prob_bound(x.view(-1, *DATA.shape)) < single + 0.02).all()


@torch.no_grad()
def test_sampling_has_the_models_marginals() -> None:
    model = random_dbm()
    images = model.sample(3000, generator=ImageGenerator(0, range(3000)), steps=40)
    expected = energies(model).logsumexp(1).softmax(0) @ all_states(4)
    assert (images.flatten(1).double().mean(0) - expected).abs().max() < 4 * 0.5 / 3000**0.5


def test_the_gradient_is_that_of_the_bound() -> None:
    """With as many chains as make the model's expectation exact enough."""
    model = random_dbm((3, 2), chains=40_000, mean_field=30, k=30)
    x = all_states(4)[[1, 1, 6, 9]]
    parameters = list(model.parameters())
    bound = model.log_prob_bound(x.view(-1, *DATA.shape)).mean() - energies(
        model
    ).flatten().logsumexp(0)
    # Mean field stands still where the bound is highest: q's own part of the gradient is nothing.
    expected = torch.autograd.grad(-bound, parameters)
    torch.manual_seed(1)
    loss = model.contrast(0, (1, 1, 1), Batch(x.view(-1, *DATA.shape)), Step()).total
    found = torch.autograd.grad(loss, parameters)
    difference = torch.cat([(a - b).flatten() for a, b in zip(found, expected, strict=True)])
    assert torch.cat([g.flatten() for g in expected]).norm() > 0.3
    assert difference.abs().max() < 4 * 0.5 / 40_000**0.5


def test_the_contrast_is_the_difference_of_mean_energies() -> None:
    machine = random_dbm((3, 2, 2))
    layers = machine.layers()
    torch.manual_seed(1)
    data, model = ([torch.rand(n, m, dtype=torch.float64) for m in (4, 3, 2, 2)] for n in (5, 7))
    plain = layers.negative_energy(model).mean() - layers.negative_energy(data).mean()
    loss = layers.contrast(data, model)
    torch.testing.assert_close(loss, plain)
    parameters = list(machine.parameters())
    found, expected = (
        torch.autograd.grad(value, parameters, retain_graph=True) for value in (loss, plain)
    )
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs)


@torch.no_grad()
def test_copies_are_layers_of_their_own_with_the_same_weights() -> None:
    """Two copies of the visible layer against one layer of twice the width."""
    model = random_dbm((3, 2))
    pair = model.layers(0, (2, 1))
    b, w = pair.biases, pair.weights[0]
    doubled = Layers([torch.cat([b[0], b[0]]), b[1]], [torch.cat([w, w])], (1, 1))
    first, second, h = all_states(4), all_states(4).flip(0), all_states(3).repeat(2, 1)
    both, summed = [torch.cat([first, second], 1), h], [first + second, h]
    torch.testing.assert_close(pair.negative_energy(summed), doubled.negative_energy(both))
    torch.testing.assert_close(pair.field(1, summed), doubled.field(1, both))
    torch.testing.assert_close(pair.field(0, summed).repeat(1, 2), doubled.field(0, both))
    ink = pair.draw(0, torch.zeros(20_000, 4), torch.rand(20_000, 8))
    shares = torch.stack([(ink == k).float().mean() for k in (0, 1, 2)])
    torch.testing.assert_close(shares, torch.tensor([0.25, 0.5, 0.25]), atol=0.01, rtol=0)
    # Centred, two copies of an offset count: with them the hidden units' log-odds are the biases.
    offset = model.get_buffer("offset0").expand(1, -1)
    torch.testing.assert_close(pair.field(1, [2 * offset, h])[0], model.biases[1])


@torch.no_grad()
def test_moving_an_offset_leaves_the_distribution_as_it_is() -> None:
    model = random_dbm((3, 2, 2))
    before = energies(model).flatten().log_softmax(0)
    for layer, n in enumerate((3, 2, 2), start=1):
        model.move_offset(layer, torch.rand(n, dtype=torch.float64))
    torch.testing.assert_close(energies(model).flatten().log_softmax(0), before)


@pytest.mark.parametrize("pretraining", ["greedy", "lowest", "none"])
def test_training_finds_what_a_factorial_model_cannot(pretraining: str) -> None:
    """Two patterns that exclude one another: log 2 nats, against more than 2 without couplings."""
    torch.manual_seed(0)
    pattern = torch.tensor([1.0, 1, 0, 0])
    x = torch.stack([pattern, 1 - pattern]).repeat(16, 1).view(-1, *DATA.shape)
    model = DBM(DBMConfig(hidden=(4, 3), pretraining=pretraining), DATA)
    stages = model.stages()
    assert [stage.name for stage in stages] == {
        "greedy": ["layers 0 and 1", "layers 1 and 2", "all layers"],
        "lowest": ["layers 0 and 1", "all layers"],
        "none": ["all layers"],
    }[pretraining]
    assert sum(stage.settings.share for stage in stages) == pytest.approx(1)
    for stage in stages:
        assert stage.start is not None
        stage.start(iter([Batch(x[:20]), Batch(x[20:])]))
        (update,) = stage.updates
        optimizer = torch.optim.SGD(update.parameters, 0.3)
        steps = 200 if len(stages) > 1 else 500
        for i in range(steps):
            optimizer.param_groups[0]["lr"] = 0.3 * (1 - i / steps)
            loss = update.loss(stage.prepare(Batch(x)), Step())
            optimizer.zero_grad()
            loss.total.backward(inputs=update.parameters)
            optimizer.step()
    with torch.no_grad():
        log_p = energies(model.double()).logsumexp(1).log_softmax(0)
        index = (x[:2].flatten(1).long() * torch.tensor([8, 4, 2, 1])).sum(1)
        assert math.log(2) <= -log_p[index].mean() < math.log(2) + 0.4


def test_greedy_pairs_have_copies_for_the_neighbours_to_come() -> None:
    model = DBM(DBMConfig(hidden=(4, 3, 2), pretraining="greedy", chains=5), DATA)
    x = torch.rand(8, *DATA.shape).round()
    first, middle, top, _ = model.stages()
    found = [stage.updates[0].loss.args for stage in (first, middle, top)]
    assert found == [(0, (2, 1)), (1, (2, 2)), (2, (1, 2))]
    for stage, n in ((first, 2), (middle, 4), (top, 3)):
        assert stage.start is not None
        stage.start([Batch(x)])
        seen = stage.prepare(Batch(x)).images
        assert seen.shape == ((8, *DATA.shape) if n == 2 else (8, n, 1, 1))
        assert set(seen.unique().tolist()) <= {0, 1}
    assert model.chain.max() == 2  # two copies of layer 2, added


def test_evaluate_adds_log_z_to_bound_and_estimate() -> None:
    images = (all_states(4).view(-1, *DATA.shape) * 255).to(torch.uint8)
    split = Split(images, None)
    data = ImageData("dots", DATA, split, split, split, fingerprint="")
    model = random_dbm().float()
    found = evaluate(
        model, data, metrics={"nll_bound", "nll_estimate"}, k=200,
        own={"chains": 500, "temperatures": 50},
    )  # fmt: skip
    with torch.no_grad():
        exact = -float(energies(model.double()).logsumexp(1).log_softmax(0).mean())
    assert found["nll_bound"].kind == "bound"
    assert exact - 0.05 < found["nll_estimate"].value < exact + 0.05
    assert exact < found["nll_bound"].value < exact + 0.5
    assert all(metric.standard_error for metric in found.values())


def test_validation_adds_log_z_to_the_bound() -> None:
    images = (all_states(4).view(-1, *DATA.shape) * 255).to(torch.uint8)
    model = random_dbm().float()
    store = ResidentStore(Split(images, None), DATA, "cpu")
    found = validate(model, model.stages()[-1], store, seed=0, batch_size=10)
    with torch.no_grad():
        exact = -float(energies(model.double()).logsumexp(1).log_softmax(0).mean())
    assert exact - 0.1 < found < exact + 0.5


def test_grey_data_and_a_single_layer_are_refused() -> None:
    with pytest.raises(UsageError, match="binary"):
        DBM(DBMConfig(), DataInfo(1, 2, 2))
    with pytest.raises(UsageError, match="One hidden layer"):
        DBM(DBMConfig(hidden=(5,)), DATA)
