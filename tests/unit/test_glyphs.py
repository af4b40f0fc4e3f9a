"""The embedded digits: format, determinism, and the statistics of a hand (and of MNIST)."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys

import numpy as np
import pytest

from gencli.data.glyphs import CLASSES, SPLITS, Glyphs, glyphs_split, render
from gencli.data.strokes import ALLOGRAPHS, N_SAMPLES, spline_matrix


@pytest.fixture(scope="module")
def digits() -> Glyphs:
    return render(5_000, seed=7)


def pixels(glyphs: Glyphs) -> np.ndarray:
    """(N, 784) in [0, 1]."""
    return glyphs.images.reshape(len(glyphs.images), -1) / 255.0


def linear_accuracy(x: np.ndarray, y: np.ndarray, n_train: int) -> float:
    """Test accuracy of a ridge regression onto one-hot labels."""
    x = np.hstack([x, np.ones((len(x), 1))])
    train, targets = x[:n_train], np.eye(10)[y[:n_train]]
    weights = np.linalg.solve(train.T @ train + 3.0 * np.eye(x.shape[1]), train.T @ targets)
    return float(((x[n_train:] @ weights).argmax(1) == y[n_train:]).mean())


def test_format(digits: Glyphs) -> None:
    assert digits.images.shape == (5_000, 1, 28, 28)
    assert digits.images.dtype == np.uint8
    assert digits.labels.dtype == np.int64
    assert len(digits.captions) == 5_000
    assert "".join(CLASSES) == "0123456789"
    # Classes are balanced in every thousand, and mixed.
    assert (np.bincount(digits.labels[1_000:2_000], minlength=10) == 100).all()
    assert len(set(digits.labels[:50].tolist())) >= 8


@pytest.mark.parametrize("n", [0, 1, 1_001])
def test_any_number(n: int, digits: Glyphs) -> None:
    """A shorter set is the beginning of a longer one."""
    some = render(n, seed=7)
    assert np.array_equal(some.images, digits.images[:n])
    assert np.array_equal(some.labels, digits.labels[:n])
    assert some.captions == digits.captions[:n]


def test_negative_number_is_refused() -> None:
    with pytest.raises(ValueError, match="negative"):
        render(-1, seed=0)


def test_seed_decides(digits: Glyphs) -> None:
    other = render(1_000, seed=8)
    assert not np.array_equal(other.labels, digits.labels[:1_000])
    assert np.abs(other.images.astype(int) - digits.images[:1_000]).mean() > 20


def test_same_on_every_machine() -> None:
    """What rests on integers and comparisons is pinned exactly, pixels up to rounding."""
    glyphs = render(1_000, seed=0)
    labels = hashlib.sha256(glyphs.labels.astype("<i8").tobytes()).hexdigest()
    assert labels.startswith("9fa0548838c6da87")
    assert glyphs.captions[:2] == (
        "a curly-tailed nine, upright",
        "a thin straight-backed six, slanted right",
    )
    assert pixels(glyphs).mean() == pytest.approx(0.13733, abs=2e-5)


def test_ink_is_like_mnist(digits: Glyphs) -> None:
    """MNIST: mean 0.131, standard deviation 0.308, 19% of pixels inked, 40% of those saturated."""
    x = pixels(digits)
    assert x.mean() == pytest.approx(0.131, abs=0.01)
    assert x.std() == pytest.approx(0.308, abs=0.015)
    assert (x > 0.02).mean() == pytest.approx(0.19, abs=0.015)
    assert 0.3 < (x > 0.98).mean() / (x > 0.02).mean() < 0.5
    assert x.mean(axis=1).min() > 0.02  # no empty page
    assert x.max(axis=1).min() > 0.7  # and no faint one


def test_centred_and_within_the_box(digits: Glyphs) -> None:
    x = pixels(digits).reshape(-1, 28, 28)
    mass = x.sum(axis=(1, 2))
    at = np.arange(28) - 13.5
    down, across = (x.sum(axis=2) @ at) / mass, (x.sum(axis=1) @ at) / mass
    assert np.abs(down).mean() < 0.3
    assert np.abs(across).mean() < 0.3
    assert max(np.abs(down).max(), np.abs(across).max()) < 1.5
    inked = x > 0.25
    sides = np.maximum(inked.any(axis=2).sum(axis=1), inked.any(axis=1).sum(axis=1))
    assert 19 <= np.median(sides) <= 21
    assert sides.min() >= 14
    assert sides.max() <= 24


def test_neither_trivial_nor_noise(digits: Glyphs) -> None:
    """The same ridge regression reaches 0.81 on the first 5,000 test images of MNIST."""
    assert 0.78 < linear_accuracy(pixels(digits), digits.labels, 4_000) < 0.92


def test_classes_vary_within(digits: Glyphs) -> None:
    """Total variance within a class; MNIST has 22 for ones and 37 to 50 for the others."""
    for digit in range(10):
        variance = pixels(digits)[digits.labels == digit].var(axis=0).sum()
        assert variance > (15 if digit == 1 else 26)


def test_splits_differ() -> None:
    assert SPLITS["train"][0] == 60_000
    assert SPLITS["train"][1] != SPLITS["test"][1]
    test = glyphs_split("test")
    assert len(test.images) == 10_000
    train = render(10_000, seed=SPLITS["train"][1])  # the beginning of the training split
    both = np.concatenate([train.images, test.images]).reshape(20_000, -1)
    assert len({row.tobytes() for row in both}) == 20_000


def test_captions_follow_the_style(digits: Glyphs) -> None:
    names = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
    for label, caption in zip(digits.labels.tolist(), digits.captions, strict=True):
        assert caption.split(",")[0].endswith(f" {names[label]}")
    assert len(set(digits.captions)) > 200
    ink = pixels(digits).mean(axis=1)
    bold = np.array(["bold" in c for c in digits.captions])
    thin = np.array(["thin" in c for c in digits.captions])
    assert ink[bold].mean() > 1.5 * ink[thin].mean()
    # Slanted right: rows nearer the top have their ink further to the right.
    x = pixels(digits).reshape(-1, 28, 28)
    at = np.arange(28) - 13.5
    lean = -np.einsum("nyx,y,x->n", x, at, at) / np.einsum("nyx,y->n", x, at**2)
    right = np.array([c.endswith("slanted right") for c in digits.captions])
    left = np.array([c.endswith("leaning left") for c in digits.captions])
    ones = digits.labels == 1
    assert lean[right & ones].min() > lean[left & ones].mean()
    assert lean[right].mean() > lean[left].mean() + 0.3


def test_allographs_are_well_formed() -> None:
    assert [a.digit for a in ALLOGRAPHS] == sorted(a.digit for a in ALLOGRAPHS)
    for digit in range(10):
        forms = [a for a in ALLOGRAPHS if a.digit == digit]
        assert len(forms) >= 3
        assert sum(a.frequency for a in forms) == pytest.approx(1)
    for a in ALLOGRAPHS:
        assert a.sampler.shape == (N_SAMPLES, len(a.points))
        np.testing.assert_allclose(a.sampler.sum(axis=1), 1, atol=1e-5)
        np.testing.assert_allclose(a.rounded_sampler.sum(axis=1), 1, atol=1e-5)
        first, last = a.strokes[0][0], a.strokes[-1][1]
        np.testing.assert_allclose(
            a.sampler[[0, -1]] @ a.points, a.points[[first, last]], atol=1e-5
        )
        assert len(np.unique(a.stroke)) == len(a.strokes) == a.path.count("|") + 1


def test_spline_interpolates_and_is_natural() -> None:
    knots = np.array([0.0, 1.0, 2.5, 4.0])
    np.testing.assert_allclose(spline_matrix(knots, knots), np.eye(4), atol=1e-12)
    at = np.linspace(0, 4, 401)
    values = np.array([1.0, -2.0, 0.5, 3.0])
    curve = spline_matrix(knots, at) @ values
    curvature = np.diff(curve, 2) / 0.01**2
    assert abs(curvature[0]) < 0.15  # zero at the ends ...
    assert abs(curvature[-1]) < 0.15
    assert np.abs(np.diff(curvature)).max() < 0.3  # ... and without jumps in between
    np.testing.assert_allclose(spline_matrix(knots, at) @ (2 * knots + 1), 2 * at + 1, atol=1e-12)


_HASHES = """
import hashlib
from gencli.data import glyphs, scenes
for drawn in (glyphs.render(2_000, seed=1), scenes.render(300, seed=1, size=32)):
    print(hashlib.sha256(drawn.images.tobytes()).hexdigest()[:12])
"""


def test_the_same_pixels_by_another_processor() -> None:
    """Other exponentials and matrix products, as an older processor has them."""
    older = {"NPY_DISABLE_CPU_FEATURES": "AVX2 FMA3", "OPENBLAS_CORETYPE": "Prescott"}
    hashes = [
        subprocess.run(
            [sys.executable, "-c", _HASHES],
            env=os.environ | other,
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split()
        for other in ({}, older)
    ]
    assert hashes[0] == hashes[1] == ["29c1461a6a9b", "dc7843d2d541"]
