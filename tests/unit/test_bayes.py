"""Classes by Bayes' rule, against sums written out."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace

import pytest
import torch
from torch import Tensor

from gencli.config import ClassConditional
from gencli.data.spec import DataInfo
from gencli.data.splits import ImageData, Split
from gencli.evaluation.bayes import class_scores, classify, log_prior, marginal
from gencli.evaluation.evaluate import KEYS, evaluate
from gencli.evaluation.scoring import scoring_of
from gencli.models.interface import NOTHING, Condition, GenerativeModel

INFO = DataInfo(1, 2, 3, ("a", "b", "c"), "static")
INK = torch.tensor(
    [[0.9, 0.2, 0.2, 0.8, 0.3, 0.4], [0.2, 0.8, 0.3, 0.4, 0.7, 0.4], [0.3, 0.3, 0.6, 0.4, 0.3, 0.8]]
)
EVERYTHING = torch.tensor(list(itertools.product((0.0, 1.0), repeat=6))).view(-1, 1, 2, 3)


def split(n: int, shares: tuple[float, ...], seed: int) -> Split:
    stream = torch.Generator().manual_seed(seed)
    labels = torch.multinomial(torch.tensor(shares), n, replacement=True, generator=stream)
    images = torch.bernoulli(INK[labels], generator=stream).view(-1, 1, 2, 3) * 255
    return Split(images.to(torch.uint8), labels)


def data(n: int = 1500) -> ImageData:
    shares = (0.7, 0.2, 0.1)
    train, val, test = (split(m, shares, seed) for seed, m in enumerate((400, 50, n)))
    return ImageData("coins", INFO, train, val, test, "coins")


@dataclass(frozen=True)
class Told(ClassConditional):
    conditional: bool = True


class Coins(GenerativeModel):
    """Independent pixels, by class."""

    def __init__(self, config: ClassConditional | None = None) -> None:
        super().__init__(config or Told(), INFO)
        self.register_buffer("ink", INK)

    def _exact(self, x: Tensor, labels: Tensor) -> Tensor:
        p = INK[labels]
        return (x.flatten(1) * p.log() + (1 - x.flatten(1)) * (-p).log1p()).sum(1)


class Exact(Coins):
    def log_prob(self, x: Tensor, condition: Condition = NOTHING) -> Tensor:
        assert condition.labels is not None
        return self._exact(x, condition.labels)


class Noisy(Coins):
    """Importance weights of one draw whose noise would hide the class."""

    def log_weights(self, x: Tensor, k: int, condition: Condition = NOTHING) -> Tensor:
        assert condition.labels is not None
        return self._exact(x, condition.labels) + 1000 * torch.randn(k, len(x))


class Blind(Coins):
    """Conditional by its name, but its bound is without classes."""

    def log_prob_bound(self, x: Tensor, condition: Condition = NOTHING) -> Tensor:
        return torch.randn(len(x))


def by_hand(part: Split, train: Split) -> Tensor:
    """Whether the rule finds each image's class, in plain products of probabilities."""
    assert part.labels is not None
    assert train.labels is not None
    right = []
    for image, label in zip(part.images, part.labels.tolist(), strict=True):
        joint = []
        for y in range(3):
            p = float((train.labels == y).double().mean())
            for value, ink in zip(image.flatten().tolist(), INK[y].double().tolist(), strict=True):
                p *= ink if value else 1 - ink
            joint.append(p)
        right.append(joint.index(max(joint)) == label)
    return torch.tensor(right)


def test_the_share_is_that_of_the_rule_written_out() -> None:
    coins = data()
    found = evaluate(Exact(), coins, metrics=["bayes_accuracy"])["bayes_accuracy"]
    right = by_hand(coins.test, coins.train).double()
    assert found.value == pytest.approx(float(right.mean()), abs=1e-12)
    assert found.standard_error == pytest.approx(float(right.std()) / math.sqrt(1500))
    assert (found.kind, found.n) == ("exact", 1500)
    assert found.unit == "share of images, by exact log p"
    uniform = replace(coins, train=split(300, (1.0, 1.0, 1.0), 5))
    assert evaluate(Exact(), uniform, metrics=["bayes_accuracy"])["bayes_accuracy"] != found


def test_noise_that_all_classes_share_does_not_hide_them() -> None:
    coins = data()
    found = evaluate(Noisy(), coins, metrics=["bayes_accuracy"], k=1, n=400)["bayes_accuracy"]
    exact = evaluate(Exact(), coins, metrics=["bayes_accuracy"], n=400)["bayes_accuracy"]
    assert found.value == exact.value
    assert (found.kind, found.n) == ("estimate", 400)
    assert found.unit == "share of images, by log p estimated by 1 importance samples"
    default = evaluate(Noisy(), coins, metrics=["bayes_accuracy"], k=1)["bayes_accuracy"]
    assert default.n == 1000


def test_it_is_measured_only_where_there_can_be_one_and_when_asked_for() -> None:
    coins = data(15)  # too few for a judge
    assert set(evaluate(Exact(), coins)) == {"nll"}
    both = evaluate(Exact(), coins, metrics=["bayes_accuracy", "nll"])
    assert list(both) == ["nll", "bayes_accuracy"]
    assert both["nll"] == evaluate(Exact(), coins)["nll"]
    assert evaluate(Blind(), coins, metrics=["bayes_accuracy"]) == {}
    plain = Exact(ClassConditional())
    assert evaluate(plain, coins, metrics=["bayes_accuracy"]) == {}
    assert KEYS.index("bayes_accuracy") > KEYS.index("judge_accuracy")


def test_numbers_come_from_the_seed_alone() -> None:
    coins = data(300)
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = evaluate(Noisy(), coins, metrics=["bayes_accuracy"], k=3, batch_size=7)
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(3)
    assert first == evaluate(Noisy(), coins, metrics=["bayes_accuracy"], k=3, batch_size=7)


def test_the_marginal_is_a_distribution_and_a_class_that_is_not_there_is_never_found() -> None:
    prior = log_prior(torch.tensor([0, 0, 2, 0]), 3)
    assert prior.exp().tolist() == [0.75, 0, 0.25]
    scoring = scoring_of(Exact(), 1, {})
    assert scoring is not None
    scores = class_scores(scoring, EVERYTHING, NOTHING, 3)
    assert float(marginal(scores, prior).exp().sum()) == pytest.approx(1, abs=1e-6)
    assert classify(scores, prior).unique().tolist() == [0, 2]
