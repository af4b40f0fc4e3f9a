"""A hand that writes digits, a thousand at once: paths of `strokes` with a writer's habits.

`glyphs` and `scenes` are drawn from what it writes.
"""

from __future__ import annotations

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from gencli.data.strokes import ALLOGRAPHS, N_SAMPLES, Floats

CHUNK = 1_000
"""Digits that share a random stream, a whole number of each class."""

_N_FORMS = len(ALLOGRAPHS)
_N_POINTS = max(len(a.points) for a in ALLOGRAPHS)


def normal(rng: Generator, *shape: int) -> Floats:
    """(CHUNK, 1, *shape) standard normal draws cut off at 2: odd writers, but no scribblers."""
    drawn = rng.standard_normal((CHUNK, 1, *shape), dtype=np.float32)
    return np.clip(drawn.astype(np.float64), -2, 2)


def choose_forms(rng: Generator, labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """A form of each digit, by frequency: inverse transform in the table grouped by digit."""
    cumulative = np.cumsum([a.frequency for a in ALLOGRAPHS])
    at = labels + rng.uniform(0.0, 1.0, len(labels))
    return np.minimum(
        np.searchsorted(cumulative / cumulative[-1] * 10, at, side="right"), _N_FORMS - 1
    )


def write(rng: Generator, forms: NDArray[np.int64]) -> tuple[Floats, Floats]:
    """The pen's paths as an unsteady hand writes them.

    Returns:
        (N, S, 2) paths; (N, S) one where the pen is down up to the next sample, zero where not.
    """
    hand = np.minimum(1.7, np.exp(0.4 * normal(rng, 1)))
    jitter = 0.036 * hand * rng.standard_normal((CHUNK, _N_POINTS, 2), dtype=np.float32)
    misplace = 0.04 * hand * rng.standard_normal((CHUNK, 3, 2), dtype=np.float32)
    overshoot = 0.22 * rng.standard_normal((CHUNK, _N_POINTS, 1), dtype=np.float32)
    rounding = rng.uniform(0.0, 1.1, (CHUNK, 1, 1))
    path = np.empty((CHUNK, N_SAMPLES, 2))
    down = np.empty((CHUNK, N_SAMPLES))
    for form, shape in enumerate(ALLOGRAPHS):
        rows = np.flatnonzero(forms == form)
        points = shape.points + jitter[rows, : len(shape.points)]
        for a, b in shape.strokes:
            points[:, a] += overshoot[rows, a] * (points[:, a] - points[:, a + 1])
            points[:, b] += overshoot[rows, b] * (points[:, b] - points[:, b - 1])
        sharp, rounded = shape.sampler @ points, shape.rounded_sampler @ points
        path[rows] = sharp + rounding[rows] * (rounded - sharp)
        path[rows] += misplace[rows][:, shape.stroke]
        down[rows] = np.append(shape.stroke[1:] == shape.stroke[:-1], False)
    return path, down


def deform(rng: Generator, path: Floats, forms: NDArray[np.int64]) -> tuple[Floats, Floats]:
    """Tremor along the path, then a bend of the page, proportions, slant and rotation.

    Returns:
        (N, S, 2) paths; (N,) how far the digit leans to the right, as dx / dy.
    """
    frequency = np.arange(1, 7)
    phase = np.pi * np.linspace(0, 1, N_SAMPLES)[:, None] * frequency
    waves = np.concatenate([np.sin(phase), np.cos(phase)], axis=1)
    amplitude = np.tile(0.014 / np.sqrt(frequency), 2)[:, None]
    path = path + waves @ (amplitude * rng.standard_normal((CHUNK, 12, 2), dtype=np.float32))

    x, y = path[..., 0], path[..., 1]
    bend = np.moveaxis(0.19 * normal(rng, 5), -1, 0)
    x, y = (
        x * (1 + 1.6 * bend[0] * y + bend[1] * x) + 0.8 * bend[2] * y * y,
        y * (1 + bend[3] * y + bend[4] * x),
    )
    aspect = 1.08 * np.exp(0.2 * normal(rng))
    slant = 0.14 + 0.25 * normal(rng)
    angle = 0.11 * normal(rng)
    x = aspect * x - slant * y
    cos, sin = np.cos(angle), np.sin(angle)
    turned = np.stack([cos * x - sin * y, sin * x + cos * y], axis=-1)
    return turned, (slant + angle)[:, 0]


def pressure(rng: Generator, path: Floats) -> Floats:
    """(N, S) the pen's width along the path, about one: slow changes, light ends, a nib's angle."""
    at = np.linspace(0, 1, N_SAMPLES)
    swell = 0.1 * normal(rng) * np.cos(np.pi * at) + 0.08 * normal(rng) * np.cos(2 * np.pi * at)
    swell += 0.06 * normal(rng) * np.sin(7 * at + normal(rng))
    swell = swell + 0.06 * rng.standard_normal(
        path.shape[:2], dtype=np.float32
    )  # the paper's grain
    heading = np.gradient(path, axis=1)
    heading /= np.linalg.norm(heading, axis=-1, keepdims=True) + 1e-6
    nib = 0.1 * normal(rng) + 0.05
    taper = np.abs(0.25 * normal(rng, 2)) * np.stack([at < 0.07, at > 0.9], -1)
    width = 1 + swell + nib * (np.abs(heading[..., 1]) - 0.6) - taper.sum(axis=-1)
    pressure: Floats = np.clip(width, 0.5, 1.6)
    return pressure
