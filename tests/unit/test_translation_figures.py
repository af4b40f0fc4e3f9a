"""Figures of translations: against scikit-image, and of a model that gives known images."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torch import Tensor, nn

from gencli.config import Config
from gencli.data.conditions import NOTHING, Condition, source_of
from gencli.data.source_images import derive
from gencli.data.splits import ImageData
from gencli.evaluation.absent import reasons
from gencli.evaluation.evaluate import evaluate
from gencli.evaluation.judge import Judge, JudgeFacts
from gencli.evaluation.similarity import mean_difference, psnr, ssim
from gencli.evaluation.translation import KEYS
from gencli.kinds import ConditionKind, SourceKind
from gencli.models.interface import GenerativeModel
from gencli.random import ImageGenerator
from tests.unit import quarters


def two(channels: int, side: int) -> tuple[Tensor, Tensor]:
    """Three images and the same with noise, which is more in each."""
    generator = torch.Generator().manual_seed(channels)
    a = torch.rand(3, channels, side // 2, side // 2, generator=generator)
    a = F.interpolate(a, (side, side), mode="bilinear")
    noise = torch.randn(a.shape, generator=generator)
    return a, (a + torch.tensor([0.02, 0.1, 0.4]).view(3, 1, 1, 1) * noise).clamp(0, 1)


@pytest.mark.parametrize(("channels", "side"), [(1, 11), (1, 28), (3, 32)])
def test_figures_are_those_of_scikit_image(channels: int, side: int) -> None:
    a, b = two(channels, side)
    similarity, noise = ssim(a, b), psnr(a, b)
    for i, (x, y) in enumerate(zip(a.double().numpy(), b.double().numpy(), strict=True)):
        expected = structural_similarity(
            x, y, data_range=1.0, channel_axis=0, gaussian_weights=True, sigma=1.5,
            use_sample_covariance=False,
        )  # fmt: skip
        assert float(similarity[i]) == pytest.approx(expected, abs=1e-9)
        assert float(noise[i]) == pytest.approx(peak_signal_noise_ratio(x, y, data_range=1.0))
        assert float(mean_difference(a, b)[i]) == pytest.approx(np.abs(x - y).mean(), rel=1e-5)


def test_equal_images_are_as_near_as_rounding() -> None:
    a, _ = two(1, 12)
    assert torch.allclose(ssim(a, a), torch.ones(3).double())
    assert psnr(a, a).tolist() == pytest.approx([58.9] * 3, abs=0.03)


class _FromSource(Config):
    def conditions(self) -> tuple[ConditionKind, ...]:
        return ("source",)


class Copy(GenerativeModel):
    """Gives the source itself, with noise that depends on the image's stream."""

    def __init__(self, data: ImageData, noise: float) -> None:
        super().__init__(_FromSource(), data.info)
        self.noise = nn.Parameter(torch.tensor(noise))

    def sample(
        self, n: int, *, generator: ImageGenerator, condition: Condition = NOTHING
    ) -> Tensor:
        noise = self.noise * generator.normal(*self.data.shape)
        return (source_of(condition).expand(n, *self.data.shape) + noise).clamp(0, 1)


def colourful(kind: SourceKind) -> ImageData:
    data = quarters.data(channels=3, n_test=40)
    return replace(data, info=replace(data.info, source=kind))


@pytest.mark.parametrize("kind", ["grey", "small", "half"])
def test_a_model_that_copies_is_as_good_as_its_source(kind: Any) -> None:
    data = colourful(kind)
    model = Copy(data, 0.0)
    found = evaluate(model, data, metrics=KEYS)
    assert found.keys() == KEYS
    true = data.test.images.float() / 255
    source = derive(true, kind)
    assert source is not None
    expected = mean_difference(source.expand_as(true), true)
    assert found["l1"].value == pytest.approx(float(expected.mean()), abs=1 / 255)
    error = float(expected.std() / 40**0.5)
    assert found["l1"].standard_error == pytest.approx(error, rel=0.05)
    assert {m.kind for k, m in found.items() if not k.endswith("_source")} == {"estimate"}
    if kind != "small":
        for key in ("l1", "psnr", "ssim"):
            assert found[key].value == pytest.approx(found[f"{key}_source"].value, rel=0.02)
            assert found[f"{key}_source"].kind == "exact"


def test_noise_is_that_of_the_seed_and_the_image_whatever_the_batch() -> None:
    data = colourful("grey")
    model = Copy(data, 0.1)
    asked: dict[str, Any] = {"metrics": ["l1", "ssim"]}
    values = [
        [metric.value for metric in evaluate(model, data, **asked, **more).values()]
        for more in ({}, {"batch_size": 7}, {"seed": 1})
    ]
    assert values[0] == pytest.approx(values[1], abs=1e-12)
    assert values[0] != pytest.approx(values[2], abs=1e-6)
    assert evaluate(model, data, n=10, metrics=["l1"])["l1"].n == 10


class _Brightest(nn.Module):
    """Tells the class of `quarters` by the quarter that is brightest."""

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        quarter = F.adaptive_avg_pool2d(images.mean(1), 2).flatten(1)
        return quarter, 1000 * quarter


def test_label_agreement_is_with_the_class_of_the_true_image() -> None:
    data = colourful("grey")
    judge = Judge(_Brightest(), JudgeFacts("", 1.0, 40, 500), "quarters")  # type: ignore[arg-type]
    asked: dict[str, Any] = {"metrics": ["label_agreement"], "judge": judge, "n_samples": 100}
    assert evaluate(Copy(data, 0.0), data, **asked)["label_agreement"].value == 1.0
    assert evaluate(Copy(data, 9.0), data, **asked)["label_agreement"].value < 0.7


def test_what_is_not_there_has_its_reason() -> None:
    data = quarters.data(size=8)
    data = replace(data, info=replace(data.info, source="edges"))
    model = Copy(data, 0.0)
    found = evaluate(model, data, metrics=KEYS)
    assert found.keys() == {"l1", "psnr"}
    told = reasons(model, data, 200, found, sorted(KEYS))
    assert told["the images are smaller than the window of 11 pixels"] == ["ssim"]
    assert told["the source is not the image without something"] == [
        "l1_source", "psnr_source", "ssim_source",
    ]  # fmt: skip
