from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
import torch
from scipy.optimize import linear_sum_assignment
from sklearn.cluster import KMeans
from sklearn.metrics import normalized_mutual_info_score
from torch import Tensor

from gencli.config import Config
from gencli.data.spec import DataInfo
from gencli.data.splits import ImageData
from gencli.evaluation.clustering import (
    assignment,
    contingency,
    majority,
    matched,
    normalized_mutual_information,
)
from gencli.evaluation.evaluate import evaluate
from gencli.models.interface import NOTHING, Condition, GenerativeModel
from gencli.models.k_means import k_means, nearest
from gencli.models.mixture.configs import MixtureConfig
from gencli.models.mixture.mixture import Mixture
from gencli.random import ImageGenerator
from tests.unit import quarters


def columns(n: int, n_clusters: int, n_classes: int, seed: int) -> tuple[Tensor, Tensor]:
    """Clusters that follow the classes half the time."""
    torch.manual_seed(seed)
    labels = torch.randint(n_classes, (n,))
    clusters = torch.where(
        torch.rand(n) < 0.5, labels % n_clusters, torch.randint(n_clusters, (n,))
    )
    return clusters, labels


@pytest.mark.parametrize(("n_clusters", "n_classes"), [(10, 10), (3, 10), (50, 4), (1, 3), (2, 1)])
def test_mutual_information_is_scikit_learns(n_clusters: int, n_classes: int) -> None:
    clusters, labels = columns(500, n_clusters, n_classes, seed=n_clusters)
    found = normalized_mutual_information(contingency(clusters, labels, n_clusters, n_classes))
    expected = normalized_mutual_info_score(labels.numpy(), clusters.numpy())
    assert found == pytest.approx(expected, abs=1e-9)


def test_mutual_information_of_equal_and_of_constant_columns() -> None:
    labels = torch.arange(12) % 4
    assert normalized_mutual_information(contingency(3 - labels, labels, 4, 4)) == pytest.approx(1)
    assert normalized_mutual_information(contingency(labels * 0, labels * 0, 1, 1)) == 1


@pytest.mark.parametrize(("n", "m"), [(1, 1), (2, 2), (4, 4), (3, 6), (10, 10), (20, 31)])
def test_assignment_is_exact(n: int, m: int) -> None:
    for seed in range(5):
        cost = torch.randn(n, m, generator=torch.Generator().manual_seed(seed))
        if seed == 4:
            cost = cost.round()  # with ties
        rows = assignment(cost)
        assert rows.unique().numel() == n
        total = float(cost[torch.arange(n), rows].sum())
        _, best = linear_sum_assignment(cost.numpy())
        assert total == pytest.approx(
            float(cost[torch.arange(n), torch.from_numpy(best)].sum()), abs=1e-5
        )
        if m <= 6:
            everyone = itertools.permutations(range(m), n)
            assert total == pytest.approx(
                min(sum(float(cost[i, p[i]]) for i in range(n)) for p in everyone), abs=1e-5
            )


def test_clusters_get_classes() -> None:
    counts = torch.tensor([[5, 4, 0], [6, 0, 0], [0, 0, 1]])
    assert matched(counts).tolist() == [1, 0, 2]  # 4 + 6 + 1; greedily it would be 5 + 0 + 1
    assert majority(counts).tolist() == [0, 0, 2]
    assert majority(torch.tensor([[0, 0], [1, 3]])).tolist() == [1, 1]


def test_k_means_reaches_scikit_learns_inertia() -> None:
    torch.manual_seed(0)
    x = torch.randn(8, 5)[torch.randint(8, (600,))] * 3 + torch.randn(600, 5)
    found = k_means(x, 8)
    expected = KMeans(8, n_init=10, random_state=0).fit(x.numpy())
    assert found.inertia == pytest.approx(expected.inertia_, rel=0.01)
    mine = nearest(x, found.centres)
    assert mine.equal(torch.cdist(x, found.centres).argmin(1))
    means = torch.stack([x[mine == i].mean(0) for i in range(8)])
    torch.testing.assert_close(found.centres, means, atol=1e-4, rtol=1e-4)


class Stub(GenerativeModel):
    def __init__(self, data: DataInfo) -> None:
        super().__init__(Config(), data)
        self.register_buffer("here", torch.zeros(()))


class Quarter(Stub):
    """Assigns an image to its brightest quarter, which is its class, or to one of two within it."""

    def __init__(self, data: DataInfo, parts: int = 1) -> None:
        super().__init__(data)
        self.parts = parts

    def assign(self, x: Tensor, condition: Condition = NOTHING) -> Tensor:
        half = x.shape[-1] // 2
        means = [q.mean((1, 2, 3)) for rows in x.split(half, 2) for q in rows.split(half, 3)]
        part = (x[:, 0, 0, 0] * 1000).long() % self.parts
        return torch.stack(means, 1).argmax(1) * self.parts + part


class Blurred(Stub):
    """Encodes an image as the brightness of its quarters."""

    def encode(self, x: Tensor, condition: Condition = NOTHING) -> Tensor:
        return torch.nn.functional.avg_pool2d(x, x.shape[-1] // 2)

    def decode(self, z: Tensor, condition: Condition = NOTHING) -> Tensor:
        return torch.nn.functional.interpolate(z, self.data.shape[1:])

    def sample_latent(self, n: int, *, generator: ImageGenerator) -> Tensor:
        return generator.uniform(1, 2, 2)


KEYS = ["clustering_accuracy", "nmi"]


@pytest.fixture(scope="module")
def data() -> ImageData:
    return quarters.data(n_test=200)


def test_clusters_that_are_the_classes(data: ImageData) -> None:
    found = evaluate(Quarter(data.info), data, metrics=KEYS)
    assert list(found) == KEYS
    assert found["clustering_accuracy"].value == 1
    assert found["nmi"].value == pytest.approx(1)
    assert found["clustering_accuracy"].unit == "share of images; 4 clusters matched one to one"
    assert found["clustering_accuracy"].n == 200


def test_more_clusters_than_classes_are_named_in_training(data: ImageData) -> None:
    found = evaluate(Quarter(data.info, parts=3), data, metrics=KEYS)
    assert found["clustering_accuracy"].value == 1
    assert found["clustering_accuracy"].unit.endswith("clusters by majority in training")
    assert found["nmi"].value < 0.9
    labels = data.train.labels
    assert labels is not None
    swapped = replace(data, train=replace(data.train, labels=(labels + 1) % 4))
    assert (
        evaluate(Quarter(data.info, parts=3), swapped, metrics=KEYS)["clustering_accuracy"].value
        == 0
    )


def test_codes_are_clustered_by_k_means(data: ImageData) -> None:
    model = Blurred(data.info)
    found = evaluate(model, data, metrics=KEYS)
    assert found["clustering_accuracy"].value > 0.95
    assert found["nmi"].value > 0.85
    torch.manual_seed(5)  # the seed of the evaluation decides, and that alone
    again = evaluate(model, data, metrics=[*KEYS, "reconstruction"])
    assert {key: again[key] for key in KEYS} == found


def test_mixtures_are_asked_for_their_components(data: ImageData) -> None:
    torch.manual_seed(0)
    model = Mixture(MixtureConfig(components=4), data.info)
    x = data.test.images.float() / 255
    assert model.assign(x).equal(model.responsibilities(x).argmax(1))
    assert set(evaluate(model, data, metrics=KEYS)) == set(KEYS)


def test_no_labels_no_figure(data: ImageData) -> None:
    bare = quarters.data(labelled=False)
    assert evaluate(Quarter(bare.info), bare, metrics=KEYS) == {}
    told = Quarter(data.info)
    told.conditions = ("labels",)  # its codes may say what it was told
    assert evaluate(told, data, metrics=KEYS) == {}
