from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from gencli.config import Config
from gencli.data.spec import DataInfo
from gencli.data.splits import ImageData
from gencli.evaluation.evaluate import evaluate
from gencli.evaluation.probe import fit, predictions, principal_axes
from gencli.evaluation.results import ASKED_FOR
from gencli.models.interface import NOTHING, Condition, GenerativeModel
from gencli.random import ImageGenerator
from tests.unit import quarters


def clouds(n: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Three overlapping clouds in six dimensions of different scales."""
    generator = torch.Generator().manual_seed(seed)
    centres = 1.2 * torch.randn(3, 6, generator=torch.Generator().manual_seed(9))
    labels = torch.randint(3, (n,), generator=generator)
    x = centres[labels] + torch.randn(n, 6, generator=generator)
    return x * torch.tensor([1.0, 1, 1, 2, 3, 0.1]), labels


@pytest.mark.parametrize("penalty", [1.0, 0.01])
def test_fit_is_scikit_learns(penalty: float) -> None:
    x, labels = clouds(300)
    weight = fit(x, labels, penalty, torch.zeros(3, 7))
    other = LogisticRegression(C=1 / (300 * penalty), tol=1e-8, max_iter=1000)
    other.fit(x.numpy(), labels.numpy())
    expected = torch.from_numpy(other.coef_).float()
    torch.testing.assert_close(weight[:, :-1], expected, atol=3e-3, rtol=1e-2)
    intercept = torch.from_numpy(other.intercept_).float()
    mine = weight[:, -1] - weight[:, -1].mean()
    torch.testing.assert_close(mine, intercept - intercept.mean(), atol=3e-3, rtol=1e-2)


def test_fit_stands_where_the_gradient_is_zero() -> None:
    x, labels = clouds(200)
    weight = fit(x, labels, 0.05, torch.randn(3, 7)).requires_grad_()
    logits = x @ weight[:, :-1].T + weight[:, -1]
    loss = F.cross_entropy(logits, labels) + 0.025 * weight[:, :-1].square().sum()
    (gradient,) = torch.autograd.grad(loss, weight)
    assert float(gradient.abs().max()) < 1e-4


def test_predictions_depend_on_their_inputs_alone() -> None:
    (x, labels), (new, truth) = clouds(500), clouds(2000, seed=1)
    found = predictions(x, labels, new, 3)
    torch.manual_seed(3)
    torch.rand(7)
    assert predictions(x, labels, new, 3).equal(found)
    assert predictions(5 * x + 2, labels, 5 * new + 2, 3).eq(found).float().mean() > 0.999
    other = LogisticRegression(C=1.0).fit(x.numpy(), labels.numpy())
    assert float((found == truth).float().mean()) > other.score(new.numpy(), truth.numpy()) - 0.01


def test_principal_axes_are_scikit_learns() -> None:
    x, _ = clouds(200)
    axes = principal_axes(x, 3)
    expected = torch.from_numpy(PCA(3).fit(x.numpy()).components_).T
    torch.testing.assert_close((axes * expected).sum(0).abs(), torch.ones(3), atol=1e-4, rtol=0)
    torch.testing.assert_close(axes.T @ axes, torch.eye(3))


class Quarters(GenerativeModel):
    """Encodes an image as the brightness of its quarters, which tell its class."""

    def __init__(self, data: DataInfo) -> None:
        super().__init__(Config(), data)
        self.register_buffer("here", torch.zeros(()))

    def encode(self, x: Tensor, condition: Condition = NOTHING) -> Tensor:
        return F.avg_pool2d(x, x.shape[-1] // 2)

    def decode(self, z: Tensor, condition: Condition = NOTHING) -> Tensor:
        return F.interpolate(z, self.data.shape[1:])

    def sample_latent(self, n: int, *, generator: ImageGenerator) -> Tensor:
        return generator.uniform(1, 2, 2)


class Upscaled(Quarters):
    """Has more numbers in a code than there are pixels."""

    def encode(self, x: Tensor, condition: Condition = NOTHING) -> Tensor:
        return F.interpolate(x, scale_factor=2)


PROBES = [f"probe_accuracy{n}{of}" for n in ("_1000", "") for of in ("", "_pixels", "_pca")]


@pytest.fixture(scope="module")
def data() -> ImageData:
    return quarters.data(n_train=1100, n_test=300)


def test_probes_of_codes_pixels_and_components(data: ImageData) -> None:
    found = evaluate(Quarters(data.info), data, metrics=PROBES)
    assert list(found) == PROBES
    assert all(metric.value > 0.9 and metric.n == 300 for metric in found.values())
    units = [metric.unit for metric in found.values()]
    assert units[:3] == ["share of images, 1000 labels"] * 3
    assert all(unit.endswith("1100 labels") for unit in units[3:])
    torch.manual_seed(8)
    alone = evaluate(Quarters(data.info), data, metrics=PROBES[2:3])
    assert alone == {PROBES[2]: found[PROBES[2]]}


def test_codes_of_as_many_dimensions_have_no_components_beside_them(data: ImageData) -> None:
    found = evaluate(Upscaled(data.info), data, metrics=PROBES[:3])
    assert list(found) == PROBES[:2]


def test_the_long_ones_are_for_those_who_ask(
    data: ImageData, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gencli.evaluation.evaluate.no_judge_for", lambda *_: "none here")
    found = evaluate(Quarters(data.info), data)
    assert set(PROBES[:3]) < set(found)
    assert not ASKED_FOR & set(found)
    few = replace(data, train=data.train.rows(slice(500)))
    assert not set(PROBES) & set(evaluate(Quarters(data.info), few))


def test_labels_shuffled_are_not_learnt(data: ImageData) -> None:
    labels = data.train.labels
    assert labels is not None
    shuffled = labels[torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))]
    wrong = replace(data, train=replace(data.train, labels=shuffled))
    found = evaluate(Quarters(data.info), wrong, metrics=["probe_accuracy_1000"])
    assert found["probe_accuracy_1000"].value < 0.5
