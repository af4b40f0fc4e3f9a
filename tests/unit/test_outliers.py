"""Telling images apart: the areas against pairs counted, the scores against their definitions."""

from __future__ import annotations

import io
import itertools
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor

from gencli.config import ClassConditional, Config
from gencli.data import others
from gencli.data.spec import DataInfo
from gencli.data.splits import ImageData, Split
from gencli.errors import UsageError
from gencli.evaluation.measuring import Measuring
from gencli.evaluation.outliers import auroc, compressed_bits, outlier_scores, tell_apart
from gencli.evaluation.results import OUTLIERS
from gencli.kinds import Binarization
from gencli.models.drawing import evaluating
from gencli.models.interface import NOTHING, Condition, GenerativeModel
from gencli.viz.histogram import Panel, histograms, ticks


@pytest.mark.parametrize("levels", [4, 1000])
def test_the_area_is_the_share_of_pairs(levels: int) -> None:
    stream = torch.Generator().manual_seed(0)
    inliers = torch.randint(levels, (40,), generator=stream).double()
    outliers = torch.randint(levels, (30,), generator=stream).double() + levels // 4
    pairs = [(o > i) + (o == i) / 2 for o, i in itertools.product(outliers, inliers)]
    area, error = auroc(inliers, outliers)
    assert area == pytest.approx(float(sum(pairs)) / len(pairs), abs=1e-12)
    assert error is not None
    resampled = []
    for _ in range(2000):
        mine, theirs = (
            v[torch.randint(len(v), (len(v),), generator=stream)] for v in (inliers, outliers)
        )
        resampled.append(auroc(mine, theirs)[0])
    assert error == pytest.approx(float(torch.tensor(resampled).std()), rel=0.15)


def test_areas_at_the_ends() -> None:
    low, high = torch.arange(5.0), torch.arange(5.0) + 10
    assert auroc(low, high) == (1.0, 0.0)
    assert auroc(high, low)[0] == 0
    assert auroc(low, low)[0] == 0.5
    assert auroc(low, torch.tensor([2.0])) == (0.5, None)


def test_scores_are_those_of_the_papers() -> None:
    log_p, bits = torch.tensor([-10.0, -30.0]), torch.tensor([8.0, 16.0])
    found = outlier_scores(log_p, bits, -25.0)
    assert found["auroc_likelihood"].tolist() == [10, 30]
    torch.testing.assert_close(
        found["auroc_complexity"], torch.tensor([10 / math.log(2) - 8, 30 / math.log(2) - 16])
    )
    assert found["auroc_typicality"].tolist() == [15, 5]


@pytest.mark.parametrize("channels", [1, 3])
def test_sizes_are_those_of_files_that_lose_nothing(channels: int) -> None:
    stream = torch.Generator().manual_seed(0)
    plain, busy = torch.zeros(channels, 16, 16), torch.rand(channels, 16, 16, generator=stream)
    simple, complicated = compressed_bits(torch.stack([plain, busy]), binary=False).tolist()
    assert simple < 0.5 * complicated
    assert complicated > 8 * busy.numel()  # noise cannot be packed
    coins = (torch.rand(1, 1, 16, 16, generator=stream) < 0.5).float()
    as_bits = float(compressed_bits(coins, binary=True))
    assert 256 < as_bits < float(compressed_bits(coins, binary=False))
    file = io.BytesIO()
    Image.fromarray(coins[0, 0].bool().numpy()).save(file, "PNG", optimize=True)
    assert as_bits == 8 * len(file.getvalue())


INFO = DataInfo(1, 6, 6, ("a", "b"), "dynamic")


def strokes(n: int, seed: int) -> Split:
    """A dark row or column by class, on white."""
    stream = torch.Generator().manual_seed(seed)
    labels = torch.randint(2, (n,), generator=stream)
    images = torch.full((n, 1, 6, 6), 10, dtype=torch.uint8)
    where = torch.randint(6, (n,), generator=stream)
    for image, label, i in zip(images, labels, where, strict=True):
        (image[0] if label else image[0].t())[i] = 240
    return Split(images, labels)


def data(binarization: Binarization = "dynamic", channels: int = 1) -> ImageData:
    info = replace(INFO, binarization=binarization, channels=channels)
    train, val, test = (strokes(300, seed) for seed in range(3))
    parts = [
        Split(part.images.expand(-1, channels, -1, -1), part.labels) for part in (train, val, test)
    ]
    return ImageData("strokes", info, *parts, "strokes")


class Strokes(GenerativeModel):
    """The distribution that `strokes` are of, summed over the place of the stroke."""

    def __init__(self, config: Config) -> None:
        super().__init__(config, INFO)
        self.register_buffer("here", torch.zeros(()))

    def _of_class(self, x: Tensor, label: int) -> Tensor:
        terms = []
        for i in range(6):
            ink = torch.full((6, 6), 10 / 255)
            (ink if label else ink.t())[i] = 240 / 255
            terms.append((x * ink.log() + (1 - x) * (-ink).log1p()).sum((1, 2, 3)) - math.log(6))
        return torch.stack(terms).logsumexp(0)


class Plain(Strokes):
    def log_prob(self, x: Tensor, condition: Condition = NOTHING) -> Tensor:
        assert condition.labels is None
        both = [self._of_class(x, label) for label in range(2)]
        return torch.stack(both).logsumexp(0) - math.log(2)


class Told(Strokes):
    def log_prob(self, x: Tensor, condition: Condition = NOTHING) -> Tensor:
        assert condition.labels is not None
        both = torch.stack([self._of_class(x, label) for label in range(2)])
        return both.gather(0, condition.labels[None])[0]


def measuring(model: GenerativeModel, images: ImageData | None = None, seed: int = 0) -> Measuring:
    images = images or data()
    return Measuring(model, images, images.test, seed, None, lambda *_: None, {}, {})


def told_apart(model: GenerativeModel, name: str, **options: int) -> dict[str, float]:
    named, images = others.other_images(name, data())
    with evaluating(model):
        found = tell_apart(measuring(model), images, named, n=options.get("n"), k=1)
    assert list(found.metrics) == list(OUTLIERS)
    for key, metric in found.metrics.items():
        ours, theirs = found.scores[key]
        assert (metric.value, metric.standard_error) == auroc(ours, theirs)
        assert metric.kind == "exact"
        assert metric.unit == f"AUROC against {name}, by exact log p"
        assert metric.n == len(ours) + len(theirs)
    return {key: metric.value for key, metric in found.metrics.items()}


def test_noise_is_told_from_strokes_and_strokes_are_not_told_from_strokes() -> None:
    noise = told_apart(Plain(Config()), "noise")
    assert noise["auroc_likelihood"] > 0.99
    assert min(noise.values()) > 0.9
    shuffled = told_apart(Plain(Config()), "shuffled")
    assert shuffled["auroc_likelihood"] > 0.9
    with evaluating(model := Plain(Config())):
        same = tell_apart(measuring(model), strokes(1000, 7).images, "more", n=None, k=1)
    for metric in same.metrics.values():
        assert metric.standard_error is not None
        assert abs(metric.value - 0.5) < 4 * metric.standard_error


class Coins(Strokes):
    """Every pixel is ink with probability 0.3."""

    def log_prob(self, x: Tensor, condition: Condition = NOTHING) -> Tensor:
        return (x * math.log(0.3) + (1 - x) * math.log(0.7)).sum((1, 2, 3))


def test_a_blank_page_is_too_likely() -> None:
    grey = torch.full((300, 1, 6, 6), round(0.3 * 255), dtype=torch.uint8)
    part = Split(grey, None)
    images = ImageData("coins", replace(INFO, classes=()), part, part, part, "coins")
    with evaluating(model := Coins(Config())):
        name, blank = others.other_images("blank", images)
        found = tell_apart(measuring(model, images), blank, name, n=None, k=1).metrics
    assert found["auroc_likelihood"].value == 0
    assert found["auroc_complexity"].value > 0.9
    assert found["auroc_typicality"].value > 0.9


def test_a_conditional_model_is_asked_for_the_sum_over_its_classes() -> None:
    plain, told = (
        told_apart(model, "noise", n=100)
        for model in (Plain(Config()), Told(ClassConditional(conditional=True)))
    )
    # the classes' shares among the training labels are not quite a half each
    assert plain == pytest.approx(told, abs=0.01)


class Mute(Strokes):
    """No likelihood of any kind."""


def test_models_that_cannot_say_how_likely_an_image_is() -> None:
    with pytest.raises(UsageError, match="no likelihood"):
        tell_apart(measuring(Mute(Config())), strokes(20, 3).images, "more", n=None, k=1)


@pytest.mark.parametrize("binarization", ["none", "static", "threshold", "dynamic"])
def test_made_images_are_of_the_models_form(binarization: Binarization) -> None:
    own = data(binarization)
    for name in ("noise", "shuffled"):
        named, images = others.other_images(name, own)
        assert named == name
        assert images.shape == own.test.images.shape
        assert images.dtype == torch.uint8
        assert torch.equal(images, others.other_images(name, own)[1])
        if binarization in ("static", "threshold"):
            assert set(images.unique().tolist()) <= {0, 255}
    mixed = others.shuffled(own.test.images)
    assert torch.equal(mixed.sort(0).values, own.test.images.sort(0).values)
    assert not torch.equal(mixed, own.test.images)


def test_a_folder_is_read_whole_at_the_models_shape(
    home: Path, tmp_path: Path, image_folder: Path
) -> None:
    n = len(list(image_folder.glob("*/*.png")))
    for channels, binarization in ((1, "threshold"), (3, "none")):
        name, images = others.other_images(str(image_folder), data(binarization, channels))  # type: ignore[arg-type]
        assert name == str(image_folder.resolve())
        assert images.shape == (n, channels, 6, 6)
        assert (images.unique().numel() == 2) == (binarization == "threshold")
    grey = torch.tensor([10, 20, 60], dtype=torch.uint8).view(1, 3, 1, 1)
    assert others.in_colours(grey, INFO).flatten().tolist() == [30]


def test_what_cannot_be_of_the_models_shape() -> None:
    wide = replace(data(), info=replace(INFO, width=9))
    with pytest.raises(UsageError, match="shape"):
        others.other_images("shuffled", wide)


def test_histograms_show_both_groups() -> None:
    stream = torch.Generator().manual_seed(0)
    groups = (
        ("left", torch.randn(500, generator=stream)),
        ("right", torch.randn(300, generator=stream) + 9),
    )
    array = histograms([Panel("one", groups), Panel("two", groups)])
    assert array.shape[2] == 3
    assert (array[: len(array) // 2, :, :] != array[len(array) // 2 :, :, :]).any()
    plot = torch.tensor(array[60:180].astype(float)).sum(0)
    blue = plot[:, 2] - plot[:, 0]
    half = len(blue) // 2
    assert float(blue[:half].sum()) > 1000
    assert float(blue[half:].sum()) < -1000
    constant = torch.full((3,), 2.0)
    assert (
        histograms([Panel("flat", (("a", constant), ("b", constant)))]).shape == array[:210].shape
    )


@pytest.mark.parametrize(("low", "high"), [(0, 1), (-3.7, 912), (1e-3, 1.4e-3), (100, 101)])
def test_ticks_are_round_and_few(low: float, high: float) -> None:
    found = ticks(low, high)
    assert 3 <= len(found) <= 9
    assert all(low - 1e-9 <= tick <= high + 1e-9 for tick in found)
    step = found[1] - found[0]
    assert f"{step:.3e}"[0] in "125"
