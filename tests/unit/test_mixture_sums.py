"""A mixture is a distribution after every way of training, and EM's promise is kept as stated."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from gencli.data.spec import DataInfo
from gencli.models.interface import Batch, Step
from gencli.models.mixture.configs import MixtureConfig
from gencli.models.mixture.mixture import Mixture

DATA = DataInfo(1, 4, 4, binarization="static")
ALL = ((torch.arange(1 << 16)[:, None] >> torch.arange(16)) & 1).float().view(-1, 1, 4, 4)


def images(n: int) -> Tensor:
    torch.manual_seed(0)
    centres = 0.1 + 0.8 * (torch.rand(6, 16) < 0.5).float()
    return torch.bernoulli(centres[torch.randint(6, (n,))]).view(-1, 1, 4, 4)


def started(x: Tensor, **options: float) -> Mixture:
    torch.manual_seed(1)
    model = Mixture(MixtureConfig(**options), DATA)  # type: ignore[arg-type]
    start = model.stages()[0].start
    assert start is not None
    start([Batch(x)])
    return model


def e_step(model: Mixture, x: Tensor) -> float:
    """Gather the statistics of all images; returns log p of them, in nats."""
    with torch.no_grad():
        return -sum(
            float(model.loss(Batch(part), Step()).total) * len(part) for part in x.split(50)
        )


def total_probability(model: Mixture) -> float:
    with torch.no_grad():
        return sum(float(model.log_prob(part).double().exp().sum()) for part in ALL.split(1 << 13))


@pytest.mark.parametrize("smoothing", [0.0, 0.01, 1.0])
@pytest.mark.parametrize(("components", "n"), [(1, 20), (6, 300), (200, 180), (90, 7)])
def test_probabilities_sum_to_one(components: int, n: int, smoothing: float) -> None:
    x = images(n)
    model = started(x, components=components, smoothing=smoothing)
    revived = 0
    for _ in range(4):
        e_step(model, x)
        revived += int((model.count < 1).sum())
        model.maximize()
        assert float(model.log_weight.detach().double().exp().sum()) == pytest.approx(1, abs=1e-5)
        assert torch.isfinite(model.log_weight).all()
        assert total_probability(model) == pytest.approx(1, abs=1e-5)
    assert revived or components < 10


def test_and_after_a_resume_in_the_middle_of_an_epoch() -> None:
    x = images(180)
    model = started(x, components=200)
    for _ in range(2):
        e_step(model, x)
        model.maximize()
    e_step(model, x[:100])
    again = Mixture(MixtureConfig(components=200), DATA)
    again.load_state_dict(model.state_dict())
    for mixture in (model, again):
        torch.manual_seed(2)
        e_step(mixture, x[100:])
        mixture.maximize()
        assert total_probability(mixture) == pytest.approx(1, abs=1e-5)
    assert torch.equal(model.log_weight, again.log_weight)


def test_weights_that_do_not_sum_to_one_are_taken_as_proportions() -> None:
    """Runs of gencli 0.1.0 have such, and `sample` takes them so."""
    model = started(images(60), components=5)
    with torch.no_grad():
        model.log_weight -= 0.5
    assert total_probability(model) == pytest.approx(1, abs=1e-5)


def test_a_revival_takes_no_weight_from_the_others() -> None:
    x = images(300)
    model = started(x, components=6)
    with torch.no_grad():
        model.log_weight[2] = -1000.0
    e_step(model, x)
    count = model.count.clone()
    assert (count < 1).nonzero().flatten().tolist() == [2]
    model.maximize()
    expected = (count + 1) / (count + 1).sum()
    heaviest = int(count.argmax())
    others = [i for i in range(6) if i not in (2, heaviest)]
    weight = model.log_weight.detach().exp()
    torch.testing.assert_close(weight[others], expected[others])
    half = (expected[2] + expected[heaviest]) / 2
    torch.testing.assert_close(weight[[2, heaviest]], half.repeat(2))


@pytest.mark.parametrize(("components", "n"), [(8, 300), (40, 180)])
def test_the_objective_falls_in_no_step_but_of_a_revival(components: int, n: int) -> None:
    x = images(n)
    model = started(x, components=components)
    objective, revived = [], []
    for _ in range(25):
        m, mu = model.data_mean.double(), model.mean.detach().double()
        pixels = (m * mu.log() + (1 - m) * torch.log1p(-mu)).sum()
        log_prior = float(pixels + model.log_weight.detach().double().sum())
        objective.append(e_step(model, x) + log_prior)
        revived.append(bool((model.count < 1).any()))
        model.maximize()
    steps = [b - a for a, b in itertools.pairwise(objective)]
    quiet = [step for step, r in zip(steps, revived[:-1], strict=True) if not r]
    assert min(quiet, default=0.0) > -1e-2
    if components == 40:
        assert any(revived)
    else:
        assert len(quiet) > 10
