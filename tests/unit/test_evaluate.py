from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from gencli.config import Config, Options, option
from gencli.data.spec import DataInfo
from gencli.data.splits import ImageData, Split
from gencli.errors import DataError, DivergedError, UsageError
from gencli.evaluation.evaluate import KEYS, evaluate
from gencli.evaluation.judge import Judge, judge_for
from gencli.evaluation.results import Metric
from gencli.kinds import Binarization, ConditionKind
from gencli.models.abilities import LogPartition
from gencli.models.boltzmann.configs import Annealing
from gencli.models.interface import NOTHING, Condition, GenerativeModel
from gencli.random import ImageGenerator
from tests.unit import quarters

SAMPLE_METRICS = {
    "fd_judge", "kid_judge", "precision", "recall", "density", "coverage", "confident",
    "smallest_class", "judge_accuracy", "vendi", "vendi_real",
}  # fmt: skip
TINY = DataInfo(1, 2, 3)


def tiny(n: int = 64, binarization: Binarization = "none", seed: int = 0) -> ImageData:
    """Unlabelled images of 2x3 pixels; with `static`, each is 0 or 255."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (n, 1, 2, 3), generator=generator)
    if binarization == "static":
        images = (images > 100) * 255
    images = images.to(torch.uint8)
    info = replace(TINY, binarization=binarization)
    part = Split(images, None)
    return ImageData("tiny", info, part, Split(images[:5], None), part, "tiny")


class Stub(GenerativeModel):
    def __init__(self, data: DataInfo, config: Config | None = None) -> None:
        super().__init__(config or Config(), data)
        self.register_buffer("here", torch.zeros(()))


class Coins(Stub):
    """Independent pixels, each 1 with probability 0.3, or a uniform byte."""

    def __init__(self, data: DataInfo, levels: int) -> None:
        super().__init__(data)
        self.discrete_levels = levels

    def log_prob(self, x: Tensor, condition: Condition = NOTHING) -> Tensor:
        assert not self.training
        assert not torch.is_grad_enabled()
        if self.discrete_levels == 256:
            return torch.full((len(x),), -x[0].numel() * math.log(256))
        return (x * math.log(0.3) + (1 - x) * math.log(0.7)).sum((1, 2, 3))


class Noisy(Stub):
    """Log-normal importance weights with a mean of exp(-5)."""

    def log_weights(self, x: Tensor, k: int, condition: Condition = NOTHING) -> Tensor:
        return torch.randn(k, len(x)) - 5.5


class Loose(Stub):
    """A bound, and no weights."""

    def log_prob_bound(self, x: Tensor, condition: Condition = NOTHING) -> Tensor:
        return torch.full((len(x),), -7.0)


class Enumerated(Stub):
    """Six binary pixels with energy -v.b; its partition function is exact."""

    b = torch.tensor([0.5, -1.0, 2.0, 0.0, 1.0, -0.3])

    def energy(self, x: Tensor) -> Tensor:
        return -(x.flatten(1) @ self.b)

    def log_partition(self, *, chains: int = 2, temperatures: int = 2) -> LogPartition:
        self.asked = (chains, temperatures, float(torch.rand(())))
        states = torch.tensor(list(itertools.product([0.0, 1.0], repeat=6)))
        return LogPartition(float((states @ self.b).logsumexp(0)), 0.25)


class Halving(Stub):
    """Encodes by halving and decodes as it is: every pixel loses half its value."""

    def encode(self, x: Tensor, condition: Condition = NOTHING) -> Tensor:
        return x / 2

    def decode(self, z: Tensor, condition: Condition = NOTHING) -> Tensor:
        return z

    def sample_latent(self, n: int, *, generator: ImageGenerator) -> Tensor:
        return generator.uniform(*self.data.shape)


@dataclass(frozen=True)
class Level(Options):
    level: float = option(100 / 255, "Brightness of the quarter.")


@dataclass(frozen=True)
class CopycatConfig(Config):
    Sampling = Level
    told: bool = option(False, "Draw the class that is asked for.")

    def conditions(self) -> tuple[ConditionKind, ...]:
        return ("labels",) if self.told else ()


@dataclass(frozen=True)
class AnnealedConfig(Config):
    Measuring = Annealing


class Copycat(Stub):
    """Draws images like those of `quarters`, of the class asked for where `conditional`."""

    def __init__(self, data: DataInfo, *, conditional: bool = False, fade: float = 1.0) -> None:
        super().__init__(data, CopycatConfig(told=conditional))
        self.fade = fade

    def sample(
        self,
        n: int,
        *,
        generator: ImageGenerator,
        condition: Condition = NOTHING,
        level: float = Level.level,
    ) -> Tensor:
        labels = condition.labels
        assert (labels is not None) == bool(self.conditions)
        noise = generator.uniform(*self.data.shape) * 120 / 255
        if labels is None:
            labels = (generator.uniform(1)[:, 0] * 4).long()
        half = self.data.height // 2
        for image, label in zip(noise, labels.tolist(), strict=True):
            row, column = divmod(label, 2)
            image[:, row * half :, column * half :][:, :half, :half] += level * self.fade
        return noise


@pytest.fixture(scope="module")
def judged() -> Iterator[tuple[ImageData, Judge]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gencli.evaluation.judge.write", lambda path, judge: None)
        patch.setattr("gencli.evaluation.judge._read", lambda *_: None)
        data = quarters.data(n_test=400)
        yield data, judge_for(data, images_seen=15_000)


def test_exact_likelihood_of_binary_images() -> None:
    data = tiny(binarization="static")
    found = evaluate(Coins(data.info, 2), data)
    ones = data.test.images.flatten(1).double().div(255).sum(1)
    each = -(ones * math.log(0.3) + (6 - ones) * math.log(0.7))
    assert set(found) == {"nll"}
    nll = found["nll"]
    assert nll.value == pytest.approx(float(each.mean()), rel=1e-6)
    assert nll.standard_error == pytest.approx(float(each.std()) / 8, rel=1e-6)
    assert (nll.unit, nll.kind, nll.n) == ("nats per image", "exact", 64)


def test_bits_per_dimension_of_bytes_only() -> None:
    found = evaluate(Coins(TINY, 256), tiny())
    assert found["bits_per_dim"].value == pytest.approx(8, rel=1e-6)
    assert found["bits_per_dim"].kind == "exact"
    soft = evaluate(Coins(TINY, 2), tiny())
    assert set(soft) == {"nll"}
    assert soft["nll"].unit == "nats per image (cross-entropy)"
    assert set(evaluate(Coins(TINY, 256), tiny(), metrics=["bits_per_dim"])) == {"bits_per_dim"}


def test_bound_and_importance_sampled_estimate() -> None:
    data = tiny(2500)
    found = evaluate(Noisy(TINY), data, k=500)
    bound, estimate = found["nll_bound"], found["nll_estimate"]
    assert set(found) == {"nll_bound", "nll_estimate"}
    assert bound.value == pytest.approx(5.5, abs=0.08)  # E[log w] = -5 - 1/2
    assert bound.standard_error == pytest.approx(1 / 50, rel=0.1)
    assert estimate.value == pytest.approx(5, abs=0.01)
    assert (bound.kind, bound.n) == ("bound", 2500)
    assert (estimate.kind, estimate.n) == ("estimate", 1000)
    assert bound.unit == "nats per image (density)"
    assert evaluate(Noisy(TINY), data, n=2000, metrics=["nll_estimate"])["nll_estimate"].n == 2000


def test_a_bound_without_weights_gives_no_estimate() -> None:
    found = evaluate(Loose(TINY), tiny())
    assert set(found) == {"nll_bound"}
    assert found["nll_bound"].value == 7


def test_energy_and_its_normaliser() -> None:
    data = tiny(binarization="static")
    model = Enumerated(data.info, AnnealedConfig())
    found = evaluate(model, data, own={"chains": 7, "temperatures": 11})
    x = data.test.images.flatten(1).float() / 255
    exact = -(x @ model.b - F.softplus(model.b).sum())
    assert found["nll_estimate"].value == pytest.approx(float(exact.mean()), rel=1e-5)
    error = math.hypot(float(exact.std()) / 8, 0.25)
    assert found["nll_estimate"].standard_error == pytest.approx(error, rel=1e-5)
    assert found["nll_estimate"].unit == "nats per image"
    assert model.asked[:2] == (7, 11)


def test_reconstruction() -> None:
    data = tiny()
    found = evaluate(Halving(TINY), data)
    expected = float((data.test.images.double() / 510).square().mean())
    assert set(found) == {"reconstruction"}
    assert found["reconstruction"].value == pytest.approx(expected, rel=1e-6)


def test_numbers_come_from_the_seed_alone() -> None:
    data = tiny(200, "dynamic")
    torch.manual_seed(1)
    before = torch.get_rng_state()
    model = Noisy(data.info).train()
    alone = evaluate(model, data, metrics=["nll_estimate"], k=20)
    assert torch.equal(torch.get_rng_state(), before)
    assert model.training
    torch.rand(3)
    assert evaluate(model, data, k=20)["nll_estimate"] == alone["nll_estimate"]
    assert evaluate(model, data, k=20, seed=1)["nll_estimate"] != alone["nll_estimate"]


def test_a_part_of_the_split() -> None:
    data = tiny(200, "static")
    model = Coins(data.info, 2)
    part = evaluate(model, data, n=50)["nll"]
    assert part.n == 50
    assert part == evaluate(model, data, n=50, batch_size=7)["nll"]
    assert part.value != evaluate(model, data, n=50, seed=3)["nll"].value
    assert evaluate(model, data, n=500)["nll"] == evaluate(model, data)["nll"]
    assert evaluate(model, data, split="val")["nll"].n == 5


def test_good_samples(judged: tuple[ImageData, Judge]) -> None:
    data, judge = judged
    found = evaluate(Copycat(data.info), data, n_samples=1000, judge=judge)
    assert set(found) == SAMPLE_METRICS
    assert list(found) == [key for key in KEYS if key in SAMPLE_METRICS]
    assert found["judge_accuracy"].value > 0.97
    assert found["confident"].value > 0.9
    assert found["smallest_class"].value == pytest.approx(0.25, abs=0.05)
    assert found["coverage"].value > 0.9
    assert found["density"].value == pytest.approx(1, abs=0.2)
    assert found["fd_judge"].n == 1000
    assert abs(found["kid_judge"].value) < 4 * found["kid_judge"].standard_error


def test_copies_are_found_when_asked_for(judged: tuple[ImageData, Judge]) -> None:
    data, judge = judged
    keys = ["ct", "authenticity", "authenticity_real"]
    found = evaluate(Copycat(data.info), data, n_samples=400, judge=judge, metrics=keys)
    assert list(found) == keys
    assert all(metric.standard_error is not None for metric in found.values())
    half = replace(data, train=data.train.rows(slice(1)))
    assert evaluate(Copycat(data.info), half, n_samples=50, judge=judge, metrics=keys) == {}


def test_faded_samples_are_worse(judged: tuple[ImageData, Judge]) -> None:
    data, judge = judged
    good, bad = (
        evaluate(Copycat(data.info, fade=fade), data, n_samples=400, judge=judge)
        for fade in (1.0, 0.2)
    )
    for key, larger in {
        "fd_judge": bad,
        "kid_judge": bad,
        "coverage": good,
        "recall": good,
    }.items():
        smaller = good if larger is bad else bad
        assert larger[key].value > smaller[key].value
    assert bad["kid_judge"].value > 5 * bad["kid_judge"].standard_error
    assert bad["confident"].value < good["confident"].value


def test_conditional_models_are_asked_for_every_class(judged: tuple[ImageData, Judge]) -> None:
    data, judge = judged
    model = Copycat(data.info, conditional=True)
    found = evaluate(model, data, n_samples=200, judge=judge, metrics=["label_agreement"])
    assert found["label_agreement"].value > 0.95
    assert set(found) == {"label_agreement"}


def test_sampling_options_and_batches(judged: tuple[ImageData, Judge]) -> None:
    data, judge = judged
    keys = ["confident", "smallest_class"]
    options: dict[str, Any] = {"judge": judge, "metrics": keys, "n_samples": 100}
    plain = evaluate(Copycat(data.info), data, **options)
    assert plain == evaluate(Copycat(data.info), data, **options, batch_size=7)
    faint = evaluate(Copycat(data.info), data, **options, sampling={"level": 0.0})
    assert faint["confident"].value < plain["confident"].value


class Grey(Stub):
    """Every pixel of every image is a grey of 0.5."""

    def sample(
        self, n: int, *, generator: ImageGenerator, condition: Condition = NOTHING
    ) -> Tensor:
        return torch.full((n, *self.data.shape), 0.5)


def test_grey_samples_are_drawn_on_binary_data(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = quarters.data(binarization="dynamic", n_test=40)
    judge = judge_for(data, images_seen=1000)
    seen: list[Tensor] = []
    monkeypatch.setattr(
        "gencli.evaluation.quality.sample_quality",
        lambda judge, real, samples, **options: seen.extend((real, samples)) or {},
    )
    evaluate(Grey(data.info), data, n_samples=40, judge=judge)
    for images, mean in zip(seen, (data.test.images.double().mean(), 127.5), strict=True):
        assert set(images.unique().tolist()) == {0, 255}
        assert float(images.double().mean()) == pytest.approx(float(mean), rel=0.03)


def test_judge_is_trained_on_first_use(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judge_for, "__kwdefaults__", {"images_seen": 1000, "progress": None})
    data, said = quarters.data(n_test=40), []
    found = evaluate(
        Copycat(data.info), data, n_samples=40, metrics=["judge_accuracy"],
        progress=lambda *done: said.append(done),
    )  # fmt: skip
    assert set(found) == {"judge_accuracy"}
    assert said == [("judge", step, 4) for step in (1, 2, 3, 4)]


class Broken(Stub):
    def sample(
        self, n: int, *, generator: ImageGenerator, condition: Condition = NOTHING
    ) -> Tensor:
        return torch.full((n, *self.data.shape), float("nan"))


def test_samples_that_are_not_finite(judged: tuple[ImageData, Judge]) -> None:
    data, judge = judged
    with pytest.raises(DivergedError):
        evaluate(Broken(data.info), data, n_samples=20, judge=judge)


def test_no_labels_means_no_sample_quality() -> None:
    data = quarters.data(labelled=False)
    assert evaluate(Copycat(data.info), data) == {}


def test_requests_that_do_not_fit(judged: tuple[ImageData, Judge]) -> None:
    data, judge = judged
    with pytest.raises(UsageError, match="no metric called beauty"):
        evaluate(Coins(TINY, 2), tiny(), metrics=["beauty"])
    with pytest.raises(UsageError, match="shape"):
        evaluate(Coins(TINY, 2), data)
    with pytest.raises(UsageError, match="--chains"):
        evaluate(Noisy(TINY), tiny(), own={"chains": 3})
    with pytest.raises(UsageError, match="too few"):
        evaluate(Copycat(data.info), data, n_samples=3, judge=judge)
    empty = replace(tiny(), val=Split(torch.zeros(0, 1, 2, 3, dtype=torch.uint8), None))
    with pytest.raises(DataError, match="no val images"):
        evaluate(Coins(TINY, 2), empty, split="val")


def test_metric_as_json() -> None:
    assert Metric(1.5, "nats per image", "bound", None, 3).to_json() == {
        "value": 1.5, "unit": "nats per image", "kind": "bound", "standard_error": None, "n": 3,
    }  # fmt: skip
