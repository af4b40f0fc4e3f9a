"""Feature likelihood divergence: memorised samples are flagged by the gap, fresh ones are not."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from gencli.evaluation.absent import reasons
from gencli.evaluation.fld import FLD, Density, feature_likelihood, fit
from gencli.evaluation.quality import sample_quality
from tests.unit import quarters
from tests.unit.test_guard import Looking


def features(n: int, seed: int) -> Tensor:
    """Four clumps in sixteen dimensions, and one that is always 0."""
    generator = torch.Generator().manual_seed(seed)
    centres = 3 * torch.randn(4, 16, generator=torch.Generator().manual_seed(99))
    x = centres[torch.randint(4, (n,), generator=generator)]
    return torch.cat([x + torch.randn(n, 16, generator=generator), torch.zeros(n, 1)], dim=1)


TRAIN, REAL, FRESH = features(1_500, 0), features(600, 1), features(600, 2)
NOISE = features(600, 3) - features(600, 3).mean(0)


def measured(samples: Tensor, train: Tensor = TRAIN) -> FLD:
    found = feature_likelihood(train, REAL, samples, seed=0)
    assert found is not None
    return found


def below(found: FLD) -> float:
    """How far the gap is below that of real images, in standard errors of the difference."""
    return (found.gap_real[0] - found.gap[0]) / math.hypot(found.gap[1], found.gap_real[1])


@pytest.mark.parametrize("seed", range(2))
def test_fresh_samples_are_cleared(seed: int) -> None:
    found = measured(features(600, 10 + seed))
    assert abs(found.value[0]) < 3 * found.value[1]
    assert below(found) < 3
    assert found.n == 600


@pytest.mark.parametrize("share", [0.5, 1.0])
def test_memorised_samples_are_flagged(share: float) -> None:
    n = int(share * 600)
    found = measured(torch.cat([TRAIN[:n] + 0.01 * NOISE[:n], FRESH[n:]]))
    assert below(found) > 3
    assert found.value[0] > measured(FRESH).value[0] + 3 * found.value[1]  # copies say less


def test_a_hundred_images_by_heart() -> None:
    few = TRAIN[:100]
    copies = few[torch.randint(100, (600,), generator=torch.Generator().manual_seed(4))]
    found = measured(copies + 0.01 * NOISE, few)
    assert below(found) > 3
    assert below(measured(FRESH, few)) < 2


def test_poor_or_like_samples_are_worse() -> None:
    fresh, (error, *_) = measured(FRESH).value[0], (measured(FRESH).value[1],)
    blurred = measured(FRESH + 0.3 * NOISE)
    one_clump = measured(REAL[REAL[:, 0] > REAL[:, 0].median()].repeat(2, 1))
    for found in (blurred, one_clump):
        assert found.value[0] > fresh + 5 * error
        assert below(found) < 3


def test_the_variance_of_one_gaussian() -> None:
    x = TRAIN[:500, :16] / 10
    density = fit(x.mean(0, keepdim=True), x)
    expected = (x - x.mean(0)).square().mean()
    assert float(density.log_variance.exp()) == pytest.approx(float(expected), rel=1e-4)
    assert float(density.log_variances.exp()) == pytest.approx(float(expected), rel=0.01)


def test_each_step_of_em_is_upwards() -> None:
    import gencli.evaluation.fld as module

    x, centres = TRAIN[:500, :16], FRESH[:40, :16]
    reached = []
    for steps in (0, 1, 2, 5, 20):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, "_STEPS", steps)
            reached.append(float(fit(centres, x)(x).mean()))
    assert reached == sorted(reached)
    assert reached[-1] > reached[0] + 0.01


def test_the_density_by_torch() -> None:
    x, centres = TRAIN[:7, :16], FRESH[:3, :16]
    log_variances = torch.tensor([0.1, 1.0, -0.5])
    parts = torch.distributions.Normal(centres[:, None], (log_variances / 2).exp()[:, None, None])
    ours = parts.log_prob(x).sum(2).logsumexp(0) - math.log(3)
    density = Density(centres, log_variances, x.mean(0), torch.tensor(0.3))
    around = torch.distributions.Normal(x.mean(0), math.exp(0.15)).log_prob(x).sum(1)
    torch.testing.assert_close(density(x), torch.logaddexp(ours, around))


def test_too_few_of_a_kind() -> None:
    assert feature_likelihood(TRAIN[:9], REAL, FRESH, seed=0) is None
    assert feature_likelihood(TRAIN, REAL[:19], FRESH, seed=0) is None
    assert feature_likelihood(TRAIN, REAL, FRESH[:19], seed=0) is None
    found = feature_likelihood(TRAIN[:10], REAL[:20], FRESH[:20], seed=0)
    assert found is not None
    assert found.n == 20
    assert all(map(math.isfinite, (*found.value, *found.gap)))


def test_as_a_metric_and_why_it_is_not_there() -> None:
    images, train = quarters.split(100).images, torch.randn(100, 64)
    keys = ["fld", "fld_gap", "fld_gap_real"]
    found = sample_quality(Looking(), images, images, wanted=keys, train=train)
    assert list(found) == keys
    assert all(metric.standard_error is not None for metric in found.values())
    assert sample_quality(Looking(), images, images, wanted=keys, train=train[:9]) == {}
    (reason,) = reasons(None, quarters.data(n_train=9), 200, (), keys)
    assert reason == "it takes 20 samples and real images and 10 training images"
