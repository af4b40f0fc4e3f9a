"""Copies of training images are flagged, fresh images cleared."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from gencli.evaluation.copying import (
    authentic,
    copying_test,
    most_alike,
    nearest_training,
    standardised,
)
from gencli.evaluation.vendi import vendi


def features(n: int, seed: int) -> Tensor:
    """Four clumps in eight dimensions."""
    generator = torch.Generator().manual_seed(seed)
    centres = 6 * torch.randn(4, 8, generator=torch.Generator().manual_seed(99))
    which = torch.randint(4, (n,), generator=generator)
    return centres[which] + torch.randn(n, 8, generator=generator) + 20


TRAIN, FRESH, SAMPLES = features(2000, 0), features(1500, 1), features(1500, 2)
NOISE = 0.05 * torch.randn(1500, 8, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("seed", range(4))
def test_fresh_images_are_cleared(seed: int) -> None:
    found = copying_test(TRAIN, FRESH, features(1500, 10 + seed), seed=seed)
    assert found is not None
    assert abs(found.value) < 3 * found.error
    assert 3**-0.5 < found.error < 0.65  # three clusters of three sizes


@pytest.mark.parametrize("share", [0.2, 1.0])
def test_copies_are_flagged(share: float) -> None:
    n = int(share * len(SAMPLES))
    copies = torch.cat([TRAIN[:n] + NOISE[:n], SAMPLES[n:]])
    found = copying_test(TRAIN, FRESH, copies, seed=0)
    assert found is not None
    assert found.value < -5 * found.error


def test_what_is_unlike_the_data_is_above_zero() -> None:
    found = copying_test(TRAIN, FRESH, SAMPLES + 10 * NOISE, seed=0)
    assert found is not None
    assert found.value > 5 * found.error


def test_too_few_of_either() -> None:
    assert copying_test(TRAIN, FRESH[:19], SAMPLES, seed=0) is None
    assert copying_test(TRAIN, FRESH[:20], SAMPLES[:20], seed=0) is not None


def test_the_statistic_by_counting() -> None:
    q, p = torch.tensor([1.0, 4.0, 5.0, 2.0]), torch.tensor([2.0, 3.0, 0.5])
    u = sum((a > b) + 0.5 * (a == b) for a in q.tolist() for b in p.tolist())
    expected = (u - 6) / math.sqrt(4 * 3 * 8 / 12)
    assert standardised(q, p) == pytest.approx(expected)
    assert standardised(p, q) == pytest.approx(-expected)


def test_authenticity() -> None:
    assert float(authentic(TRAIN, TRAIN[:500] + NOISE[:500]).float().mean()) < 0.02
    ours, theirs = (float(authentic(TRAIN, x).float().mean()) for x in (SAMPLES, FRESH))
    assert ours == pytest.approx(theirs, abs=0.06)
    assert 0.4 < ours < 0.8
    line = torch.tensor([[0.0], [1.0], [5.0]])  # nearest others: 1, 1 and 4 away
    samples = torch.tensor([[0.4], [2.2], [3.5], [9.5]])
    assert authentic(line, samples).tolist() == [False, True, False, True]


def test_nearest_and_most_alike() -> None:
    train = torch.tensor([[0.0, 0.0], [3.0, 0.0], [0.0, 4.0]])
    samples = torch.tensor([[2.0, 0.0], [0.0, 3.5], [9.0, 9.0]])
    near = nearest_training(samples, train, k=2)
    assert near.which.tolist() == [[1, 0], [2, 0], [2, 1]]
    torch.testing.assert_close(near.apart[:2], torch.tensor([[1.0, 2.0], [0.5, 3.5]]))
    rows, which = most_alike(samples, train, n=2, k=5)
    assert rows.tolist() == [1, 0]
    assert which.tolist() == [[2, 0, 1], [1, 0, 2]]


def test_vendi() -> None:
    assert vendi(torch.ones(10, 4)) == pytest.approx(1)
    assert vendi(torch.eye(6).repeat(5, 1) * 3) == pytest.approx(6)
    two = torch.eye(2).repeat_interleave(torch.tensor([9, 1]), dim=0)
    assert vendi(two) == pytest.approx(math.exp(-0.9 * math.log(0.9) - 0.1 * math.log(0.1)))
    x = SAMPLES[:40]  # as by the kernel itself
    unit = x / x.norm(dim=1, keepdim=True)
    values = torch.linalg.eigvalsh((unit @ unit.T).double() / 40).clamp(min=1e-15)
    assert vendi(x) == pytest.approx(float((-values * values.log()).sum().exp()), rel=1e-3)
