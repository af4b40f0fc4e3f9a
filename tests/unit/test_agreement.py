"""The measures of samples agree with torch-fidelity's and prdc's on the same features."""

from __future__ import annotations

import pytest
import torch
from prdc import compute_prdc
from torch import Tensor
from torch_fidelity import metric_fid, metric_kid

from gencli.evaluation.frechet import frechet_distance
from gencli.evaluation.kernel import mmd2
from gencli.evaluation.prdc import prdc

RELATIVE = 1e-4


def features(n: int, seed: int, scale: float = 1.0, shift: float = 0.0) -> Tensor:
    """As a judge's: not negative, correlated, and of one dimension that is always 0."""
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(24, 24, generator=torch.Generator().manual_seed(9))
    x = (torch.randn(n, 24, generator=generator) @ mixing * scale + shift).clamp(min=0)
    x[:, 5] = 0
    return x


PAIRS = [
    (features(500, 0), features(400, 1)),
    (features(500, 0), features(500, 2, scale=1.3, shift=0.5)),
    (features(300, 3, shift=5), features(300, 4, scale=0.3)),
]


@pytest.mark.parametrize(("real", "samples"), PAIRS)
def test_frechet_distance(real: Tensor, samples: Tensor) -> None:
    ours, theirs = (metric_fid.fid_features_to_statistics(x) for x in (real, samples))
    expected = metric_fid.fid_statistics_to_metric(ours, theirs, verbose=False)
    assert frechet_distance(real, samples) == pytest.approx(
        expected["frechet_inception_distance"], rel=RELATIVE
    )


@pytest.mark.parametrize(("real", "samples"), PAIRS)
def test_kernel_distance(real: Tensor, samples: Tensor) -> None:
    n = min(len(real), len(samples))
    real, samples = real[:n].double(), samples[:n].double()
    expected = metric_kid.kid_features_to_metric(
        real, samples, kid_subsets=1, kid_subset_size=n, verbose=False
    )
    assert mmd2(real, samples) == pytest.approx(
        expected["kernel_inception_distance_mean"], rel=RELATIVE
    )


@pytest.mark.parametrize("k", [3, 5])
@pytest.mark.parametrize(("real", "samples"), PAIRS)
def test_precision_recall_density_coverage(real: Tensor, samples: Tensor, k: int) -> None:
    expected = compute_prdc(real.numpy(), samples.numpy(), k)
    assert prdc(real, samples, k)._asdict() == pytest.approx(expected, rel=RELATIVE, abs=1e-9)
