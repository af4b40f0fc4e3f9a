"""`scenes`, the embedded colour data set: one to three digits in ink on coloured paper.

The digits of a picture are equal, each written anew by the hand of `glyphs`, and share ink, size,
thickness and slant; the class is the digit. Attributes and captions are in `scene_words`. Pictures
are drawn at the size that is wanted: lengths are fractions of the side until pixels are made, so
picture i is the same scene at every size, and sharp. Nothing is downloaded.

Ink is the union of discs of `glyphs`, with the blur s a fraction of the digit's size,

    e(x) = 2 s^2 log sum_i l_i / (s sqrt(2 pi)) exp((r_i^2 - |x - p_i|^2) / 2 s^2),

its edge is one pixel wide. Of several random places the first is taken where no two digits touch.

Picture i depends on the seed and on i alone, whatever n and the number of threads; between machines
a pixel may differ in its last bit.
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
from gencli.data.scene_colours import shades
from gencli.data.scene_papers import grounds
from gencli.data.scene_words import COUNTS, Attributes, chunk_attributes
from gencli.data.strokes import Floats

CLASSES: tuple[str, ...] = tuple("0123456789")
SPLITS = {"train": (30_000, 2601), "test": (5_000, 2602)}
"""Images and seed of each split."""

_SIZES = np.array(  # of one, two and three digits, as fractions of the side; never three large
    [
        [(0.31, 0.36), (0.44, 0.5), (0.64, 0.84)],
        [(0.29, 0.34), (0.4, 0.45), (0.54, 0.6)],
        [(0.27, 0.31), (0.37, 0.41), (np.nan, np.nan)],
    ]
)
_WEIGHTS = np.array([(0.038, 0.047), (0.06, 0.072), (0.086, 0.1)])  # pen's radius, of the size
_SLANTS = np.array([(-0.5, -0.3), (-0.06, 0.12), (0.36, 0.56)])  # dx / dy to the right
_BLUR = 0.0375  # s of the equation, of the size
_LEAST_PEN = 0.5  # radius in pixels
_MARGIN = 0.035  # free at the sides of a picture
_GAP = 0.035  # between digits
_PLACES = 96  # tried
_PIXELS = 128_000  # of the pictures drawn at once: what fits a core's cache


@dataclass(frozen=True)
class Scenes:
    """Pictures with labels and captions.

    Attributes:
        images: (N, 3, size, size) uint8, sRGB.
        labels: (N,) int64, 0 to 9.
        captions: N lines such as "two small zeros, white on a dark ground".
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    captions: tuple[str, ...]


@dataclass(frozen=True)
class _Strokes:
    """One digit in each of a thousand pictures; lengths are fractions of a picture's side.

    Attributes:
        path: (N, S, 2), about the middle of its box.
        length: (N, S), the path's length at each sample.
        pen: (N, S), its radius.
        half: (N, 2), half of the box around the ink.
        along: (N, 2), the lowest and highest x + lean * y of the ink.
    """

    path: Floats
    length: Floats
    pen: Floats
    half: Floats
    along: Floats


def scenes_split(
    split: Literal["train", "test"], size: int, told: Callable[[int], None] | None = None
) -> Scenes:
    """One split of the data set, always the same; see `render`."""
    n, seed = SPLITS[split]
    return render(n, seed=seed, size=size, told=told)


def render(n: int, *, seed: int, size: int, told: Callable[[int], None] | None = None) -> Scenes:
    """Draw `n` pictures; every thousand in a row holds a hundred of each class.

    Args:
        n: Number of pictures, at least 0.
        seed: Non-negative; the first pictures of a longer set with the same seed are the same.
        size: Pixels a side; 28 to 128 look well.
        told: Called with the number drawn, from time to time.

    Raises:
        ValueError: If `n` or `seed` is negative.
    """
    images = np.empty((n, 3, size, size), np.uint8)
    labels = np.empty(n, np.int64)
    captions: list[str] = []

    def draw(start: int) -> Attributes:
        return _draw_chunk(seed, start // CHUNK, images[start : start + CHUNK])

    starts = range(0, n, CHUNK)
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        for start, drawn in zip(starts, pool.map(draw, starts), strict=True):
            labels[start : start + CHUNK] = drawn.digit[: n - start]
            captions += drawn.captions()
            if told:
                told(min(n, start + CHUNK))
    return Scenes(images, labels, tuple(captions[:n]))


def _draw_chunk(seed: int, index: int, out: NDArray[np.uint8]) -> Attributes:
    """Draw the first of a thousand pictures into `out` (up to CHUNK, 3, size, size)."""
    what = chunk_attributes(seed, index)
    rng = np.random.default_rng((seed, index, 1))
    size = _between(rng, _SIZES[what.count, what.size])
    weight = _between(rng, _WEIGHTS[what.weight])
    slant = _between(rng, _SLANTS[what.slant])
    digits = [_write(rng, what.digit, size, weight, slant) for _ in COUNTS]
    centres = _place(rng, digits, what.count, slant)
    ink = shades(rng, what.ink)
    paper = grounds(rng, shades(rng, what.paper), what.texture, out.shape[-1])
    edge = rng.uniform(0.9, 1.2, CHUNK)
    batch = max(1, _PIXELS // out.shape[-1] ** 2)
    for start in range(0, len(out), batch):
        b = slice(start, min(start + batch, len(out)))
        cover = np.zeros((b.stop - b.start, *out.shape[-2:]))
        for k, digit in enumerate(digits):
            rows = start + np.flatnonzero(what.count[b] >= k)
            blur = _BLUR * size[rows]
            depth = _rasterise(digit, rows, centres[rows, k], blur, out.shape[-1])
            inked = np.clip(depth / edge[rows, None, None] + 0.5, 0, 1)
            cover[rows - start] = np.maximum(cover[rows - start], inked)
        below = paper(b)
        mixed = below + cover[:, None] * (ink[b, :, None, None] - below)
        out[b] = np.rint(255 * np.clip(mixed, 0, 1))
    return what


def _between(rng: Generator, ranges: NDArray[np.float64]) -> Floats:
    """(N,) uniform draws, one from each range (N, 2)."""
    low, high = ranges[:, 0], ranges[:, 1]
    drawn: Floats = rng.uniform(low, high)
    return drawn


def _write(
    rng: Generator, digit: NDArray[np.int64], size: Floats, weight: Floats, slant: Floats
) -> _Strokes:
    """A digit for each of a thousand pictures, as large, thick and slanted as is wanted."""
    forms = choose_forms(rng, digit)
    path, down = write(rng, forms)
    path, lean = deform(rng, path, forms)
    wanted = slant + 0.04 * normal(rng)[:, 0]
    path[..., 0] -= (wanted - lean)[:, None] * path[..., 1]
    radius = (weight * size)[:, None]
    pen = radius * pressure(rng, path)
    low, high = path.min(axis=1), path.max(axis=1)
    scale = (size - 2 * radius[:, 0]) / (high - low).max(axis=1)
    path = (path - ((low + high) / 2)[:, None]) * scale[:, None, None]
    half = (high - low) * scale[:, None] / 2 + radius
    step = down[:, :-1] * np.linalg.norm(np.diff(path, axis=1), axis=-1)
    length = np.zeros(path.shape[:2])
    length[:, :-1] += step / 2
    length[:, 1:] += step / 2
    along = path[..., 0] + slant[:, None] * path[..., 1]
    ends = np.stack([(along - pen).min(axis=1), (along + pen).max(axis=1)], axis=-1)
    return _Strokes(path, length, pen, half, ends)


def _place(
    rng: Generator, digits: list[_Strokes], count: NDArray[np.int64], slant: Floats
) -> Floats:
    """(N, K, 2) centres of the digits, in [0, 1].

    Two boxes are apart if they are so in x, in y or across the slant.
    """
    half = np.stack([digit.half for digit in digits], axis=1)[:, None]  # (N, 1, K, 2)
    ends = np.stack([digit.along for digit in digits], axis=1)[:, None]
    free = np.maximum(0, 1 - 2 * (half + _MARGIN))
    drawn = rng.random((CHUNK, _PLACES, len(digits), 2), dtype=np.float32).astype(np.float64)
    outward = (1 - np.cos(np.pi * drawn[:, _PLACES // 2 :])) / 2  # where anywhere leaves no room
    drawn[:, _PLACES // 2 :] = outward
    centres: Floats = 0.5 + (drawn - 0.5) * free
    across = (centres @ np.stack([np.ones_like(slant), slant], axis=-1)[:, None, :, None])[..., 0]
    low, high = across + ends[..., 0], across + ends[..., 1]
    gap = np.full((CHUNK, _PLACES), np.inf)
    for a, b in ((0, 1), (0, 2), (1, 2)):
        boxes = np.abs(centres[:, :, a] - centres[:, :, b]) - (half[:, :, a] + half[:, :, b])
        slanted = np.maximum(low[..., a] - high[..., b], low[..., b] - high[..., a])
        between = np.maximum(boxes.max(axis=-1), slanted)
        gap = np.where((count >= b)[:, None], np.minimum(gap, between), gap)
    best = np.where((gap >= _GAP).any(axis=1), (gap >= _GAP).argmax(axis=1), gap.argmax(axis=1))
    chosen: Floats = centres[np.arange(CHUNK), best]
    return chosen


def _rasterise(
    digit: _Strokes, rows: NDArray[np.int64], centre: Floats, blur: Floats, size: int
) -> Floats:
    """(n, size, size) depth in the ink of some pictures, in pixels, negative outside."""
    grid = (np.arange(size) + 0.5) / size
    path, pen = digit.path[rows] + centre[:, None], digit.pen[rows]
    pen = np.maximum(pen, _LEAST_PEN / size)
    scale = (0.5 / blur**2)[:, None]
    gauss = np.exp(-scale[..., None, None] * (path[..., None] - grid) ** 2)  # (n, S, 2, size)
    weight = digit.length[rows] / (blur[:, None] * np.sqrt(2 * np.pi)) * np.exp(scale * pen**2)
    columns = gauss[:, :, 0] * weight[..., None]
    density = np.swapaxes(gauss[:, :, 1], 1, 2) @ columns
    depth = np.log(density + 1e-12) / scale[..., None]
    radius = pen.mean(axis=1)[:, None, None]
    distance: Floats = size * (radius - np.sqrt(np.maximum(radius**2 - depth, 0)))
    return distance
