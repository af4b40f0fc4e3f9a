from __future__ import annotations

import pytest
import torch

from gencli.evaluation import prdc as module
from gencli.evaluation.prdc import PRDC, neighbour_radii, prdc


def normal(n: int, d: int, seed: int) -> torch.Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed))


def by_hand(real: torch.Tensor, samples: torch.Tensor, k: int) -> PRDC:
    def radius(points: torch.Tensor, i: int) -> float:
        others = [float((points[i] - p).norm()) for j, p in enumerate(points) if j != i]
        return sorted(others)[k - 1]

    real_radii = [radius(real, i) for i in range(len(real))]
    sample_radii = [radius(samples, j) for j in range(len(samples))]
    apart = [[float((r - s).norm()) for s in samples] for r in real]
    rows, columns = range(len(real)), range(len(samples))
    inside = [[apart[i][j] <= real_radii[i] for j in columns] for i in rows]
    return PRDC(
        precision=sum(any(inside[i][j] for i in rows) for j in columns) / len(samples),
        recall=sum(any(apart[i][j] <= sample_radii[j] for j in columns) for i in rows) / len(real),
        density=sum(map(sum, inside)) / (k * len(samples)),
        coverage=sum(map(any, inside)) / len(real),
    )


@pytest.mark.parametrize("k", [1, 3, 5])
@pytest.mark.parametrize("chunk", [7, 1000])
def test_against_loops(k: int, chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_CHUNK", chunk)
    real, samples = normal(40, 3, 0) + 50, 1.5 * normal(33, 3, 1) + 50.7
    assert prdc(real, samples, k) == pytest.approx(by_hand(real, samples, k))


def test_points_on_a_line() -> None:
    real = torch.tensor([[0.0], [1.0], [3.0], [7.0]])
    assert neighbour_radii(real, 1).tolist() == pytest.approx([1, 1, 2, 4])
    assert neighbour_radii(real, 2).tolist() == pytest.approx([3, 2, 3, 6])
    # Balls [-1, 1], [0, 2], [1, 5], [3, 11]; those of the samples: [0.3, 0.7], [0.1, 0.5] and
    # [0.5, 19.7], which hold all real points but 0.
    samples = torch.tensor([[0.5], [0.3], [10.1]])
    assert tuple(prdc(real, samples, 1)) == pytest.approx((1.0, 0.75, 5 / 3, 0.75))


def test_fresh_draws_have_density_one_and_the_expected_coverage() -> None:
    found = prdc(normal(3000, 4, 0), normal(3000, 4, 1), k=5)
    assert found.density == pytest.approx(1, abs=0.05)
    assert found.coverage == pytest.approx(1 - 2**-5, abs=0.015)


def test_a_collapsed_and_a_far_set() -> None:
    real = normal(500, 4, 0)
    collapsed = prdc(real, 0.01 * normal(500, 4, 1))
    assert collapsed.precision == 1
    assert collapsed.recall < 0.05
    assert collapsed.coverage < 0.3
    assert prdc(real, normal(500, 4, 1) + 100) == PRDC(0, 0, 0, 0)


def test_too_few_points() -> None:
    with pytest.raises(ValueError, match="at least 6"):
        prdc(normal(5, 2, 0), normal(50, 2, 1))
