"""`glyphs`, the embedded data set: 28x28 handwriting-like digits, drawn here from a stroke model.

For every image a writer is drawn (form of the digit, proportions, slant, steadiness of the hand,
pen), then the pen's path, then its ink. Format and statistics follow MNIST: white on black, 20
pixels for the larger side, centred by mass, 10 classes, 60,000 and 10,000 images. Nothing is
downloaded, and nothing of any other data set is inside.

The pen's trace is a smooth union of discs. With points p_i on the path, each with a length l_i of
path and a radius r_i, the depth of a pixel x in the ink is

    e(x) = 2 s^2 log sum_i l_i / (s sqrt(2 pi)) exp((r_i^2 - |x - p_i|^2) / 2 s^2).

On a straight stroke that is r^2 - d^2 for a pixel at distance d from the path; sharp corners and
crossings fill slightly, as they do with ink. A Gaussian is a product over x and y, so a batch of
(28, S) by (S, 28) matrix products renders all images.

Image i depends on the seed and on i alone, whatever n and the number of threads; between machines
a pixel may differ in its last bit, as their libraries' exponentials do.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from gencli.data.strokes import ALLOGRAPHS, N_SAMPLES, Floats

CLASSES: tuple[str, ...] = tuple("0123456789")
SIDE = 28
SPLITS = {"train": (60_000, 1601), "test": (10_000, 1602)}
"""Images and seed of each split."""

_CHUNK = 1_000  # images that share a random stream, a whole number of each class
_BATCH = 125  # images rendered at once: what fits a core's cache
_BLUR = 0.75  # s of the equation, pixels
_N_FORMS = len(ALLOGRAPHS)
_N_POINTS = max(len(a.points) for a in ALLOGRAPHS)
_NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_WEIGHTS = ("thin", "", "bold")
_LEANS = ("leaning left", "upright", "slanted right")


@dataclass(frozen=True)
class Glyphs:
    """Images of digits with labels and captions.

    Attributes:
        images: (N, 1, 28, 28) uint8, 0 is paper and 255 is ink.
        labels: (N,) int64, 0 to 9.
        captions: N lines such as "a thin looped two, slanted right".
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    captions: tuple[str, ...]


def glyphs_split(split: Literal["train", "test"]) -> Glyphs:
    """One split of the data set: 60,000 or 10,000 images, always the same."""
    n, seed = SPLITS[split]
    return render(n, seed=seed)


def render(n: int, *, seed: int) -> Glyphs:
    """Draw `n` digits; every thousand in a row holds a hundred of each class.

    Args:
        n: Number of images, at least 0.
        seed: Non-negative; the first images of a longer set with the same seed are the same.

    Raises:
        ValueError: If `n` or `seed` is negative.
    """
    chunks = range(-(-n // _CHUNK))
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        parts = list(pool.map(lambda index: _draw_chunk(seed, index), chunks))
    images = np.empty((n, 1, SIDE, SIDE), np.uint8)
    labels = np.empty(n, np.int64)
    captions: list[str] = []
    for index, part in zip(chunks, parts, strict=True):
        here = slice(index * _CHUNK, min(n, (index + 1) * _CHUNK))
        images[here] = part.images[: here.stop - here.start]
        labels[here] = part.labels[: here.stop - here.start]
        captions += part.captions
    return Glyphs(images, labels, tuple(captions[:n]))


def _draw_chunk(seed: int, index: int) -> Glyphs:
    rng = np.random.default_rng((seed, index))
    labels = rng.permutation(np.arange(_CHUNK) % len(CLASSES))
    forms = _choose_forms(rng, labels)
    path, down = _write(rng, forms)
    path, lean = _deform(rng, path, forms)
    radius = np.clip(1.34 * np.exp(0.23 * _normal(rng)), 0.75, 2.2)
    pen = radius * _pressure(rng, path)
    path, length = _fit(rng, path, down, pen)
    edge = rng.uniform(0.9, 1.25, (_CHUNK, 1, 1)).astype(np.float32)
    ink = np.minimum(1.0, 1.1 - np.abs(0.07 * _normal(rng, 1)))
    images = np.empty((_CHUNK, 1, SIDE, SIDE), np.uint8)
    for start in range(0, _CHUNK, _BATCH):
        b = slice(start, start + _BATCH)
        cover = _rasterise(path[b], length[b], pen[b], radius[b, :, None]) / edge[b] + 0.5
        images[b, 0] = np.rint(255 * ink[b] * np.clip(cover, 0, 1))
    return Glyphs(images, labels, _describe(forms, radius[:, 0], lean))


def _normal(rng: Generator, *shape: int) -> Floats:
    """(_CHUNK, 1, *shape) standard normal draws cut off at 2: odd writers, but no scribblers."""
    return np.clip(rng.standard_normal((_CHUNK, 1, *shape), dtype=np.float32), -2, 2)


def _choose_forms(rng: Generator, labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """A form of each digit, by frequency: inverse transform in the table grouped by digit."""
    cumulative = np.cumsum([a.frequency for a in ALLOGRAPHS])
    at = labels + rng.uniform(0.0, 1.0, len(labels))
    return np.minimum(
        np.searchsorted(cumulative / cumulative[-1] * 10, at, side="right"), _N_FORMS - 1
    )


def _write(rng: Generator, forms: NDArray[np.int64]) -> tuple[Floats, Floats]:
    """The pen's paths as an unsteady hand writes them.

    Returns:
        (N, S, 2) paths; (N, S) one where the pen is down up to the next sample, zero where not.
    """
    hand = np.minimum(1.7, np.exp(0.4 * _normal(rng, 1)))
    jitter = 0.036 * hand * rng.standard_normal((_CHUNK, _N_POINTS, 2), dtype=np.float32)
    misplace = 0.04 * hand * rng.standard_normal((_CHUNK, 3, 2), dtype=np.float32)
    overshoot = 0.22 * rng.standard_normal((_CHUNK, _N_POINTS, 1), dtype=np.float32)
    rounding = rng.uniform(0.0, 1.1, (_CHUNK, 1, 1)).astype(np.float32)
    path = np.empty((_CHUNK, N_SAMPLES, 2), np.float32)
    down = np.empty((_CHUNK, N_SAMPLES), np.float32)
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


def _deform(rng: Generator, path: Floats, forms: NDArray[np.int64]) -> tuple[Floats, Floats]:
    """Tremor along the path, then a bend of the page, proportions, slant and rotation.

    Returns:
        (N, S, 2) paths; (N,) how far the digit leans to the right, as dx / dy.
    """
    frequency = np.arange(1, 7)
    phase = np.pi * np.linspace(0, 1, N_SAMPLES)[:, None] * frequency
    waves = np.concatenate([np.sin(phase), np.cos(phase)], axis=1).astype(np.float32)
    amplitude = np.tile(0.014 / np.sqrt(frequency), 2).astype(np.float32)[:, None]
    path = path + waves @ (amplitude * rng.standard_normal((_CHUNK, 12, 2), dtype=np.float32))

    x, y = path[..., 0], path[..., 1]
    bend = np.moveaxis(0.19 * _normal(rng, 5), -1, 0)
    x, y = (
        x * (1 + 1.6 * bend[0] * y + bend[1] * x) + 0.8 * bend[2] * y * y,
        y * (1 + bend[3] * y + bend[4] * x),
    )
    aspect = 1.08 * np.exp(0.2 * _normal(rng))
    slant = 0.14 + 0.25 * _normal(rng)
    angle = 0.11 * _normal(rng)
    x = aspect * x - slant * y
    cos, sin = np.cos(angle), np.sin(angle)
    turned = np.stack([cos * x - sin * y, sin * x + cos * y], axis=-1)
    return turned, (slant + angle)[:, 0]


def _fit(rng: Generator, path: Floats, down: Floats, pen: Floats) -> tuple[Floats, Floats]:
    """Scale to 20 pixels with the ink's width and move the centre of mass to the image's.

    Returns:
        (N, S, 2) paths in pixels; (N, S) the path's length at each sample, in pixels.
    """
    low, high = path.min(axis=1), path.max(axis=1)
    size = rng.uniform(19.3, 20.3, (_CHUNK, 1)).astype(np.float32)
    path = (
        path
        * ((size - 2 * pen.mean(axis=1, keepdims=True)) / (high - low).max(axis=1, keepdims=True))[
            ..., None
        ]
    )
    step = down[:, :-1] * np.linalg.norm(np.diff(path, axis=1), axis=-1)
    length = np.zeros(path.shape[:2], np.float32)
    length[:, :-1] += step / 2
    length[:, 1:] += step / 2
    ink = (length * pen)[..., None]
    centre = (ink * path).sum(axis=1, keepdims=True) / ink.sum(axis=1, keepdims=True)
    return path - centre + np.float32((SIDE - 1) / 2), length


def _pressure(rng: Generator, path: Floats) -> Floats:
    """(N, S) the pen's width along the path, about one: slow changes, light ends, a nib's angle."""
    at = np.linspace(0, 1, N_SAMPLES, dtype=np.float32)
    swell = 0.1 * _normal(rng) * np.cos(np.pi * at) + 0.08 * _normal(rng) * np.cos(2 * np.pi * at)
    swell += 0.06 * _normal(rng) * np.sin(7 * at + _normal(rng))
    swell = swell + 0.06 * rng.standard_normal(
        path.shape[:2], dtype=np.float32
    )  # the paper's grain
    heading = np.gradient(path, axis=1)
    heading /= np.linalg.norm(heading, axis=-1, keepdims=True) + 1e-6
    nib = 0.1 * _normal(rng) + 0.05
    taper = np.abs(0.25 * _normal(rng, 2)) * np.stack([at < 0.07, at > 0.9], -1)
    width = 1 + swell + nib * (np.abs(heading[..., 1]) - 0.6) - taper.sum(axis=-1)
    pressure: Floats = np.clip(width, 0.5, 1.6).astype(np.float32)
    return pressure


def _rasterise(path: Floats, length: Floats, pen: Floats, radius: Floats) -> Floats:
    """(N, 28, 28) depth in the ink as a distance in pixels, negative outside: e(x) above."""
    scale = np.float32(0.5 / _BLUR**2)
    grid = np.arange(SIDE, dtype=np.float32)
    gauss = np.exp(-scale * (path[..., None] - grid) ** 2)  # (N, S, 2, 28)
    weight = length / np.float32(_BLUR * np.sqrt(2 * np.pi)) * np.exp(scale * pen**2)
    columns = gauss[:, :, 0] * weight[..., None]
    density = np.swapaxes(gauss[:, :, 1], 1, 2) @ columns
    depth = np.log(density + np.float32(1e-12)) / scale
    distance: Floats = radius - np.sqrt(np.maximum(radius**2 - depth, 0))
    return distance


def _describe(forms: NDArray[np.int64], radius: Floats, lean: Floats) -> tuple[str, ...]:
    """A caption for each glyph, from its style alone."""
    weights = np.digitize(radius, (0.98, 1.5))
    leans = np.digitize(lean, (-0.08, 0.22))
    return tuple(map(_caption, forms.tolist(), weights.tolist(), leans.tolist()))


def _caption(form: int, weight: int, lean: int) -> str:
    shape = ALLOGRAPHS[form]
    words = [w for w in (_WEIGHTS[weight], shape.adjective, _NAMES[shape.digit]) if w]
    article = "an" if words[0] in ("open", "eight") else "a"
    return f"{article} {' '.join(words)}, {_LEANS[lean]}"
