from __future__ import annotations

import itertools
import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from gencli.data.spec import DataInfo
from gencli.errors import UsageError
from gencli.models.interface import Batch, Step
from gencli.models.k_means import spread_out
from gencli.models.mixture.configs import MixtureConfig
from gencli.models.mixture.mixture import Mixture
from gencli.random import ImageGenerator

BINARY = DataInfo(1, 3, 3, binarization="static")
GREY = DataInfo(1, 3, 3)


def patterns(n: int, data: DataInfo = BINARY) -> Tensor:
    """Noisy copies of four patterns, (n, 1, 3, 3)."""
    torch.manual_seed(0)
    centres = 0.1 + 0.8 * (torch.rand(4, 9) < 0.5).float()
    mean = centres[torch.randint(4, (n,))]
    x = torch.bernoulli(mean) if data.binary else (mean + 0.05 * torch.randn(n, 9)).clamp(0, 1)
    return x.view(-1, 1, 3, 3)


def run_epoch(model: Mixture, x: Tensor, batch_size: int = 64) -> float:
    """One epoch as the trainer does it; returns the mean loss."""
    (update,) = model.updates()
    assert update.optimizer is None
    assert update.epoch_end is not None
    with torch.no_grad():
        losses = [
            update.loss(Batch(part), Step()).total * len(part) for part in x.split(batch_size)
        ]
        update.epoch_end()
    return float(torch.stack(losses).sum()) / len(x)


def started(config: MixtureConfig, x: Tensor, data: DataInfo) -> Mixture:
    torch.manual_seed(1)
    model = Mixture(config, data)
    start = model.stages()[0].start
    assert start is not None
    start(Batch(part) for part in x.split(50))
    return model


def log_prior(model: Mixture) -> float:
    """What `smoothing` adds to the log-likelihood that EM raises, for Bernoullis."""
    m, mu = model.data_mean.double(), model.mean.detach().double()
    pixels = m * mu.log() + (1 - m) * torch.log1p(-mu)
    weights = model.log_weight.detach().double()
    return model.config.smoothing * float(pixels.sum() + weights.sum())


@pytest.mark.parametrize(("data", "smoothing"), [(BINARY, 0.0), (BINARY, 1.0), (GREY, 0.0)])
def test_em_never_lowers_its_objective(data: DataInfo, smoothing: float) -> None:
    x = patterns(600, data)
    model = started(MixtureConfig(components=6, smoothing=smoothing, variance_floor=1e-4), x, data)
    objective = []
    for _ in range(30):
        before = log_prior(model) if smoothing else 0.0
        objective.append(-run_epoch(model, x) * len(x) + before)
    steps = [b - a for a, b in itertools.pairwise(objective)]
    assert min(steps) > -1e-3
    assert objective[-1] - objective[0] > 50


def test_batches_add_up_to_the_exact_step() -> None:
    x = patterns(300)
    whole, parts = (started(MixtureConfig(components=4), x, BINARY) for _ in range(2))
    for _ in range(3):
        run_epoch(whole, x, 300)
        run_epoch(parts, x, 37)
    torch.testing.assert_close(whole.mean, parts.mean, atol=1e-4, rtol=0)
    torch.testing.assert_close(whole.log_weight, parts.log_weight, atol=1e-4, rtol=0)


@torch.no_grad()
def test_m_step_is_the_responsible_mean() -> None:
    x = patterns(200)
    model = started(MixtureConfig(components=3, smoothing=0.0), x, BINARY)
    share = model.responsibilities(x)
    run_epoch(model, x)
    torch.testing.assert_close(model.mean, share.T @ x.flatten(1) / share.sum(0)[:, None])
    torch.testing.assert_close(model.log_weight.exp(), share.mean(0))


@torch.no_grad()
def test_bernoulli_probabilities_sum_to_one() -> None:
    model = started(MixtureConfig(components=4), patterns(100), BINARY)
    everything = torch.tensor(list(itertools.product([0.0, 1.0], repeat=9))).view(-1, 1, 3, 3)
    assert math.isclose(float(model.log_prob(everything).double().exp().sum()), 1, rel_tol=1e-4)


@torch.no_grad()
def test_gaussian_density_is_that_of_torch_distributions() -> None:
    x = patterns(300, GREY)
    model = started(MixtureConfig(components=3), x, GREY)
    run_epoch(model, x)
    d = torch.distributions
    expected = d.MixtureSameFamily(
        d.Categorical(logits=model.log_weight),
        d.Independent(d.Normal(model.mean, model.variance.sqrt()), 1),
    ).log_prob(x.flatten(1))
    torch.testing.assert_close(model.log_prob(x), expected, atol=1e-3, rtol=1e-5)


def test_responsibilities_find_the_patterns() -> None:
    x = torch.zeros(90, 1, 3, 3)
    for row in range(3):
        x[row::3, :, row] = 1
    model = started(MixtureConfig(components=3, smoothing=0.1), x, BINARY)
    for _ in range(5):
        run_epoch(model, x)
    share = model.responsibilities(x).detach()
    torch.testing.assert_close(share.sum(1), torch.ones(90))
    assert share.max(1).values.min() > 0.99
    label = share.argmax(1).view(30, 3)
    assert (label == label[0]).all()
    assert label[0].unique().numel() == 3


@pytest.mark.parametrize("data", [BINARY, GREY])
def test_dead_components_come_back(data: DataInfo) -> None:
    x = patterns(400, data)
    model = started(MixtureConfig(components=4, smoothing=0.01), x, data)
    with torch.no_grad():
        model.log_weight[2] = -1000.0
        share = model.responsibilities(x)
    assert share[:, 2].sum() < 1
    before = run_epoch(model, x)
    assert float(model.log_weight[2].detach()) > math.log(0.05)
    for _ in range(10):
        after = run_epoch(model, x)
    assert after < before
    assert model.responsibilities(x).detach().sum(0).min() > 1


@torch.no_grad()
def test_smoothing_keeps_unseen_images_possible() -> None:
    x = torch.zeros(50, 1, 3, 3)
    model = started(MixtureConfig(components=2, smoothing=1.0), x, BINARY)
    run_epoch(model, x)
    log_p = model.log_prob(torch.ones(1, 1, 3, 3))
    assert torch.isfinite(log_p).all()
    assert -9 * math.log(200 * 50) < log_p < -9 * math.log(50)


@torch.no_grad()
def test_variances_stay_above_the_floor() -> None:
    x = torch.full((40, 1, 3, 3), 0.25)
    model = started(MixtureConfig(components=2, smoothing=0.0, variance_floor=0.01), x, GREY)
    run_epoch(model, x)
    assert torch.allclose(model.variance, torch.tensor(0.01))


def test_seeds_are_spread_out() -> None:
    """Ten far-apart clusters of very different sizes get a seed each."""
    torch.manual_seed(0)
    sizes = torch.tensor([500] + [3] * 9)
    cluster = torch.arange(10).repeat_interleave(sizes)
    x = 100 * torch.eye(10)[cluster] + 0.01 * torch.randn(len(cluster), 10)
    seeds = spread_out(x, 10)
    assert seeds.argmax(1).unique().numel() == 10


def test_more_components_than_different_images() -> None:
    x = torch.zeros(6, 1, 3, 3)
    x[3:] = 1
    model = started(MixtureConfig(components=5), x, BINARY)
    for _ in range(3):
        assert math.isfinite(run_epoch(model, x))


@pytest.mark.parametrize("data", [BINARY, GREY])
@torch.no_grad()
def test_samples_have_the_models_mean(data: DataInfo) -> None:
    model = started(MixtureConfig(components=3, variance_floor=1e-4), patterns(200, data), data)
    if model.gaussian:
        model.variance.fill_(1e-4)  # so that hardly a pixel is clamped to [0, 1]
    model.log_weight.copy_(torch.tensor([0.7, 0.2, 0.1]).log())
    images = model.sample(2000, generator=ImageGenerator(3, range(2000)))
    expected = model.log_weight.exp() @ model.mean
    assert (images.flatten(1).mean(0) - expected).abs().max() < 4 * 0.5 / math.sqrt(2000)
    if data.binary:
        assert images.unique().tolist() == [0, 1]
    again = model.sample(2, generator=ImageGenerator(3, [7, 8]))
    assert torch.equal(again, images[7:9])


def test_kind_follows_the_data_or_the_option() -> None:
    assert not Mixture(MixtureConfig(components=2), BINARY).gaussian
    assert Mixture(MixtureConfig(components=2), GREY).gaussian
    with pytest.raises(UsageError, match="binary data"):
        Mixture(MixtureConfig(components=2, kind="bernoulli"), replace(BINARY, binarization="none"))
