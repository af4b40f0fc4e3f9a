"""The papers of `scenes`: plain, shaded, striped or speckled, at any size.

A paper is its colour, lighter and darker by a little where a pattern says so. The pattern is a
function of the place on the page, hence the same at every size.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from gencli.data.scene_words import TEXTURES
from gencli.data.strokes import Floats

_STRENGTHS = np.array([0.0, 0.1, 0.055, 0.09])  # of each texture: sRGB up and down, at most
_CELLS = 18  # a side, that may hold a speckle
_SPECKLE = 0.36  # its standard deviation, cells


def grounds(
    rng: Generator, colour: Floats, texture: NDArray[np.int64], size: int
) -> Callable[[slice], Floats]:
    """Papers for some pictures.

    Args:
        rng: What draws the patterns; as many numbers whatever the size.
        colour: (N, 3) sRGB.
        texture: (N,) numbers in `TEXTURES`.
        size: Pixels a side.

    Returns:
        Rows -> (n, 3, size, size) sRGB, perhaps a little outside of [0, 1].
    """
    n = len(colour)
    angle = rng.uniform(0, 2 * np.pi, (n, 1, 1)).astype(np.float32)
    cycles = rng.uniform(2.5, 5.5, (n, 1, 1)).astype(np.float32)
    phase = rng.uniform(0, 1, (n, 1, 1)).astype(np.float32)
    strength = (rng.uniform(0.7, 1, n) * _STRENGTHS[texture]).astype(np.float32)
    speckles = rng.random((n, _CELLS, _CELLS), dtype=np.float32)
    place = ((np.arange(size) + 0.5) / size - 0.5).astype(np.float32)
    cell = (np.arange(_CELLS) + 0.5) / _CELLS - 0.5
    near = np.exp(-(((place[:, None] - cell) * _CELLS / _SPECKLE) ** 2) / 2).astype(np.float32)

    def ground(rows: slice) -> Floats:
        kind = texture[rows]
        pattern = np.zeros((len(kind), size, size), np.float32)
        at = angle[rows], cycles[rows], phase[rows]
        which = kind == TEXTURES.index("shaded")
        turn = at[0][which]
        across = np.cos(turn) * place + np.sin(turn) * place[:, None]
        pattern[which] = 2 * across / (np.abs(np.cos(turn)) + np.abs(np.sin(turn)))
        which = kind == TEXTURES.index("striped")
        turn = at[0][which]
        across = np.cos(turn) * place + np.sin(turn) * place[:, None]
        waves = np.sin(2 * np.pi * (at[1][which] * across + at[2][which]))
        pattern[which] = np.tanh(2.5 * waves)
        which = kind == TEXTURES.index("speckled")
        dots = np.where(speckles[rows][which] > 0.9, 1.0, 0.0).astype(np.float32)
        dots -= np.where(speckles[rows][which] < 0.1, 1.0, 0.0).astype(np.float32)
        pattern[which] = np.clip(1.4 * (near @ dots @ near.T), -1, 1)
        shade: Floats = colour[rows][..., None, None] + (
            strength[rows][:, None, None, None] * pattern[:, None]
        )
        return shade

    return ground
