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

Image i depends on the seed and on i alone, whatever n, the number of threads and the machine: all
is computed in double precision, so that what the exponentials and matrix products of two processors
differ by is far below what the rounding to a pixel's 256 levels can show.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from gencli.data.hand import CHUNK, choose_forms, deform, normal, pressure, write
from gencli.data.strokes import ALLOGRAPHS, Floats

CLASSES: tuple[str, ...] = tuple("0123456789")
SIDE = 28
SPLITS = {"train": (60_000, 1601), "test": (10_000, 1602)}
"""Images and seed of each split."""

_BATCH = 125  # images rendered at once: what fits a core's cache
_BLUR = 0.75  # s of the equation, pixels
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


def glyphs_split(
    split: Literal["train", "test"], told: Callable[[int], None] | None = None
) -> Glyphs:
    """One split of the data set: 60,000 or 10,000 images, always the same."""
    n, seed = SPLITS[split]
    return render(n, seed=seed, told=told)


def render(n: int, *, seed: int, told: Callable[[int], None] | None = None) -> Glyphs:
    """Draw `n` digits; every thousand in a row holds a hundred of each class.

    Args:
        n: Number of images, at least 0.
        seed: Non-negative; the first images of a longer set with the same seed are the same.
        told: Called with the number drawn, from time to time.

    Raises:
        ValueError: If `n` or `seed` is negative.
    """
    images = np.empty((n, 1, SIDE, SIDE), np.uint8)
    labels = np.empty(n, np.int64)
    captions: list[str] = []
    chunks = range(-(-n // CHUNK))
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        parts = pool.map(lambda index: _draw_chunk(seed, index), chunks)
        for index, part in zip(chunks, parts, strict=True):
            here = slice(index * CHUNK, min(n, (index + 1) * CHUNK))
            images[here] = part.images[: here.stop - here.start]
            labels[here] = part.labels[: here.stop - here.start]
            captions += part.captions
            if told:
                told(here.stop)
    return Glyphs(images, labels, tuple(captions[:n]))


def _draw_chunk(seed: int, index: int) -> Glyphs:
    rng = np.random.default_rng((seed, index))
    labels = rng.permutation(np.arange(CHUNK) % len(CLASSES))
    forms = choose_forms(rng, labels)
    path, down = write(rng, forms)
    path, lean = deform(rng, path, forms)
    radius = np.clip(1.34 * np.exp(0.23 * normal(rng)), 0.75, 2.2)
    pen = radius * pressure(rng, path)
    path, length = _fit(rng, path, down, pen)
    edge = rng.uniform(0.9, 1.25, (CHUNK, 1, 1))
    ink = np.minimum(1.0, 1.1 - np.abs(0.07 * normal(rng, 1)))
    images = np.empty((CHUNK, 1, SIDE, SIDE), np.uint8)
    for start in range(0, CHUNK, _BATCH):
        b = slice(start, start + _BATCH)
        cover = _rasterise(path[b], length[b], pen[b], radius[b, :, None]) / edge[b] + 0.5
        images[b, 0] = np.rint(255 * ink[b] * np.clip(cover, 0, 1))
    return Glyphs(images, labels, _describe(forms, radius[:, 0], lean))


def _fit(rng: Generator, path: Floats, down: Floats, pen: Floats) -> tuple[Floats, Floats]:
    """Scale to 20 pixels with the ink's width and move the centre of mass to the image's.

    Returns:
        (N, S, 2) paths in pixels; (N, S) the path's length at each sample, in pixels.
    """
    low, high = path.min(axis=1), path.max(axis=1)
    size = rng.uniform(19.3, 20.3, (CHUNK, 1))
    path = (
        path
        * ((size - 2 * pen.mean(axis=1, keepdims=True)) / (high - low).max(axis=1, keepdims=True))[
            ..., None
        ]
    )
    step = down[:, :-1] * np.linalg.norm(np.diff(path, axis=1), axis=-1)
    length = np.zeros(path.shape[:2])
    length[:, :-1] += step / 2
    length[:, 1:] += step / 2
    ink = (length * pen)[..., None]
    centre = (ink * path).sum(axis=1, keepdims=True) / ink.sum(axis=1, keepdims=True)
    return path - centre + (SIDE - 1) / 2, length


def _rasterise(path: Floats, length: Floats, pen: Floats, radius: Floats) -> Floats:
    """(N, 28, 28) depth in the ink as a distance in pixels, negative outside: e(x) above."""
    scale = 0.5 / _BLUR**2
    grid = np.arange(SIDE)
    gauss = np.exp(-scale * (path[..., None] - grid) ** 2)  # (N, S, 2, 28)
    weight = length / (_BLUR * np.sqrt(2 * np.pi)) * np.exp(scale * pen**2)
    columns = gauss[:, :, 0] * weight[..., None]
    density = np.swapaxes(gauss[:, :, 1], 1, 2) @ columns
    depth = np.log(density + 1e-12) / scale
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
