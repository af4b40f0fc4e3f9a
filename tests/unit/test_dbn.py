from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from gencli.data.spec import DataInfo
from gencli.data.splits import ImageData, Split
from gencli.evaluation.evaluate import evaluate
from gencli.models.boltzmann.configs import DBNConfig
from gencli.models.boltzmann.dbn import DBN
from gencli.models.boltzmann.gibbs import in_float64
from gencli.models.interface import Batch, Step
from gencli.random import ImageGenerator

DATA = DataInfo(1, 2, 3, binarization="static")


def all_states(n: int) -> Tensor:
    return torch.tensor(list(itertools.product([0.0, 1.0], repeat=n)))


def random_dbn(hidden: tuple[int, ...] = (4, 3), depth: int | None = None) -> DBN:
    torch.manual_seed(0)
    model = DBN(DBNConfig(hidden=hidden, chains=10), DATA)
    with torch.no_grad():
        for name, p in model.named_parameters():
            p.normal_(0, 0.6 if "weight" in name else 0.5)
    model.depth.fill_(depth or len(hidden))
    return model


@torch.no_grad()
def exact_log_p(model: DBN) -> Tensor:
    """Two layers: log sum_h p(v|h) p_top(h) for all v, with Z by enumeration."""
    bottom, top = (layer.units for layer in in_float64(model).layers)
    v, h = all_states(bottom.n_visible).double(), all_states(bottom.n_hidden).double()
    log_prior = -top.free_energy(h)
    log_prior = log_prior - torch.logsumexp(log_prior, 0)
    field = (h - 0.5) @ bottom.weight.T + bottom.b  # log p(v|h), spelt out
    log_p_v = v @ field.T - F.softplus(field).sum(1)
    return torch.logsumexp(log_p_v + log_prior, 1)


@torch.no_grad()
def test_bound_is_below_the_likelihood_and_many_samples_close_the_gap() -> None:
    model = random_dbn()
    log_z = model.log_partition(chains=2000, temperatures=200).value
    x = all_states(6).view(-1, *DATA.shape)
    exact = exact_log_p(model)
    torch.manual_seed(1)
    # The mean over draws of the bound against the ELBO by enumeration of q(h|v).
    bottom, top = (layer.units for layer in in_float64(model).layers)
    v, h = all_states(6).double(), all_states(4).double()
    logits = bottom.up(v)
    log_q = logits @ h.T - F.softplus(logits).sum(1, keepdim=True)
    field = (h - 0.5) @ bottom.weight.T + bottom.b
    log_p = v @ field.T - F.softplus(field).sum(1) - top.free_energy(h)
    log_p = log_p - torch.logsumexp(-top.free_energy(all_states(4).double()), 0)
    elbo = (log_q.exp() * (log_p - log_q)).sum(1)
    assert (elbo < exact).all()
    draws = model.log_weights(x, 1000) - log_z
    standard_error = draws.std(0) / 1000**0.5
    assert ((draws.mean(0) - elbo).abs() < 5 * standard_error + 0.02).all()
    tight = model.log_weights(x, 3000).double().logsumexp(0) - math.log(3000) - log_z
    torch.testing.assert_close(tight, exact, atol=0.25, rtol=0)
    assert (tight - exact).abs().mean() < 0.3 * (elbo - exact).abs().mean()


@torch.no_grad()
def test_with_one_layer_the_bound_is_the_likelihood() -> None:
    model = random_dbn(depth=1)
    log_z = model.log_partition(chains=1000, temperatures=200).value
    units = in_float64(model).layers[0].units
    x = all_states(6).view(-1, *DATA.shape)
    exact = F.log_softmax(-units.free_energy(all_states(6).double()), 0)
    bound = model.log_weights(x, 1)[0].double() - log_z
    torch.testing.assert_close(bound, exact, atol=0.05, rtol=0)


@torch.no_grad()
def test_a_second_layer_with_the_first_ones_weights_leaves_the_model_as_it_was() -> None:
    """With the top RBM turned over, p_top(h) is the first RBM's own p(h) (Hinton et al. 2006)."""
    model = random_dbn((4, 6))
    first, second = (layer.units for layer in model.layers)
    first.m.uniform_()
    second.m.uniform_()
    second.turn_over(first)
    expected = F.log_softmax(-in_float64(first).free_energy(all_states(6).double()), 0)
    torch.testing.assert_close(exact_log_p(model), expected, atol=1e-6, rtol=0)


@torch.no_grad()
@pytest.mark.parametrize(("n_hidden", "close"), [(9, True), (3, False)])
def test_the_second_layer_starts_upside_down_if_it_is_wide_enough(n_hidden: int, close: bool):
    torch.manual_seed(0)
    model = DBN(DBNConfig(hidden=(4, n_hidden), chains=5), DATA)
    first = model.stack(1)[0].units
    first.weight.normal_(0, 0.6)
    x = torch.rand(32, *DATA.shape).round()
    model.stages()[1].start([Batch(x)])
    expected = F.log_softmax(-in_float64(first).free_energy(all_states(6).double()), 0)
    apart = (exact_log_p(model) - expected).abs().max()
    assert (apart < 0.1) == close
    assert bool(model.layers[1].chain.any()) == close  # set going


@torch.no_grad()
def test_samples_have_the_models_marginals() -> None:
    model = random_dbn()
    images = model.sample(3000, generator=ImageGenerator(0, range(3000)), steps=40)
    expected = exact_log_p(model).exp() @ all_states(6).double()
    deviation = (images.flatten(1).double().mean(0) - expected).abs().max()
    assert deviation < 4 * 0.5 / 3000**0.5


def test_stages_train_one_layer_each_on_what_those_below_draw() -> None:
    model = DBN(DBNConfig(hidden=(4, 3, 2), chains=5), DATA)
    x = torch.rand(32, *DATA.shape).round()

    def data() -> Iterator[Batch]:
        yield from (Batch(part) for part in x.split(10))

    stages = model.stages()
    assert [s.name for s in stages] == ["layer 1", "layer 2", "layer 3"]
    for i, stage in enumerate(stages):
        assert stage.start is not None
        stage.start(data())
        assert int(model.depth) == i + 1
        assert list(stage.frozen) == list(model.layers)[:i]
        seen = stage.prepare(Batch(x)).images
        assert seen.shape == ((32, 1, 2, 3), (32, 4, 1, 1), (32, 3, 1, 1))[i]
        assert seen.unique().tolist() == [0, 1]
        assert torch.equal(model.layers[i].units.b, model.layers[i].units.base)
        (update,) = stage.updates
        assert set(update.parameters) == set(model.layers[i].parameters())
        loss = update.loss(Batch(seen), Step())
        loss.total.backward(inputs=update.parameters)
        assert all(p.grad is None for layer in model.layers[i + 1 :] for p in layer.parameters())


@torch.no_grad()
def test_climbing_draws_from_the_layers_below() -> None:
    model = random_dbn((4, 3))
    x = torch.ones(20000, *DATA.shape)
    drawn = model.climb(x, 1).flatten(1).mean(0)
    expected = torch.sigmoid(model.layers[0].units.up(x[:1].flatten(1)))[0]
    assert (drawn - expected).abs().max() < 4 * 0.5 / 20000**0.5
    assert model.climb(x, 0) is x


def test_grey_data_get_gaussian_units_in_the_first_layer_alone() -> None:
    model = DBN(DBNConfig(hidden=(4, 3)), DataInfo(1, 2, 3))
    assert [layer.units.gaussian for layer in model.layers] == [True, False]
    with torch.no_grad():
        model.depth.fill_(2)
        assert torch.isfinite(model.log_weights(torch.rand(5, 1, 2, 3), 2)).all()


@pytest.mark.parametrize("depth", [1, 2])
def test_filters_are_the_first_layers(depth: int) -> None:
    model = random_dbn(depth=depth)
    assert model.filters().shape == (4, 1, 2, 3)


def test_evaluate_counts_the_error_of_the_annealing() -> None:
    images = torch.randint(0, 2, (40, *DATA.shape), dtype=torch.uint8) * 255
    split = Split(images, None)
    data = ImageData("dots", DATA, split, split, split, fingerprint="")
    model = random_dbn()
    found = evaluate(
        model, data, metrics={"nll_bound", "nll_estimate"}, k=100,
        own={"chains": 50, "temperatures": 20},
    )  # fmt: skip
    assert found["nll_bound"].kind == "bound"
    assert found["nll_estimate"].value < found["nll_bound"].value
    error = model.log_partition(chains=50, temperatures=20).standard_error
    assert error > 0
    for metric in found.values():
        assert metric.standard_error is not None
        assert metric.standard_error > error
