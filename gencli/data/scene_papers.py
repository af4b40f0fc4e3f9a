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
_SPECKLES = 64
_SPECKLE = (0.013, 0.024)  # its standard deviation, of the side


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
    angle = rng.uniform(0, 2 * np.pi, (n, 1, 1))
    cycles = rng.uniform(2.5, 5.5, (n, 1, 1))
    phase = rng.uniform(0, 1, (n, 1, 1))
    strength = rng.uniform(0.7, 1, n) * _STRENGTHS[texture]
    speckles = rng.random((n, 2, 1, _SPECKLES), dtype=np.float32).astype(np.float64) - 0.5
    blur = rng.uniform(*_SPECKLE, (n, 1, 1, _SPECKLES))
    sign = rng.choice(np.array([-1.0, 1.0]), (n, 1, _SPECKLES))
    place = (np.arange(size) + 0.5) / size - 0.5

    def ground(rows: slice) -> Floats:
        kind = texture[rows]
        pattern = np.zeros((len(kind), size, size))
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
        away = (place[:, None] - speckles[rows][which]) / blur[rows][which]
        near = np.exp(-(away**2) / 2)  # (n, 2, size, speckles)
        dots = (sign[rows][which] * near[:, 1]) @ np.swapaxes(near[:, 0], 1, 2)
        pattern[which] = np.clip(1.6 * dots, -1, 1)
        shade: Floats = colour[rows][..., None, None] + (
            strength[rows][:, None, None, None] * pattern[:, None]
        )
        return shade

    return ground
