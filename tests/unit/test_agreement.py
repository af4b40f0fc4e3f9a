"""The measures of samples agree with torch-fidelity's and prdc's on the same features."""

from __future__ import annotations

import pytest
import torch
import torch_fidelity
from prdc import compute_prdc
from torch import Tensor
from torch_fidelity import metric_fid, metric_kid

from gencli.data.spec import DataInfo
from gencli.evaluation.classifier import N_FEATURES, JudgeNetwork
from gencli.evaluation.frechet import frechet_distance
from gencli.evaluation.kernel import mmd2
from gencli.evaluation.prdc import prdc
from tests.unit import quarters

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


class Images(torch.utils.data.Dataset):
    """As torch-fidelity takes them: uint8, three channels."""

    def __init__(self, images: Tensor) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, i: int) -> Tensor:
        return self.images[i]


class AsExtractor(torch_fidelity.FeatureExtractorBase):
    """An untrained judge, as torch-fidelity takes networks of others."""

    def __init__(self, name: str, features_list: list[str], **kwargs: object) -> None:
        super().__init__(name, features_list)
        torch.manual_seed(0)
        self.judge = JudgeNetwork(DataInfo(3, 12, 12, tuple("abcd"))).eval()

    @staticmethod
    def get_provided_features_list() -> tuple[str, ...]:
        return ("features",)

    @staticmethod
    def get_default_feature_layer_for_metric(metric: str) -> str:
        return "features"

    @staticmethod
    def can_be_compiled() -> bool:
        return False

    @torch.no_grad()
    def forward(self, images: Tensor) -> tuple[Tensor]:
        return (self.judge(images.float() / 255)[0],)


def test_of_a_judge_that_is_registered_with_torch_fidelity() -> None:
    torch_fidelity.register_feature_extractor("judge", AsExtractor)
    sets = [quarters.split(n, channels=3, seed=n).images for n in (200, 150)]
    theirs = torch_fidelity.calculate_metrics(
        input1=Images(sets[1]), input2=Images(sets[0]), fid=True, feature_extractor="judge",
        cuda=False, save_cpu_ram=True, verbose=False, cache=False,
    )  # fmt: skip
    look = AsExtractor("judge", ["features"])
    a, b = (look(images)[0] for images in sets)
    assert a.shape == (200, N_FEATURES)
    assert frechet_distance(a, b) == pytest.approx(
        theirs["frechet_inception_distance"], rel=RELATIVE
    )
