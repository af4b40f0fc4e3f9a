"""The colours of `scenes`: which there are, which inks are seen on which papers, their jitter.

How different two colours look is their distance in Oklab (Ottosson 2020), where black and white
are 1 apart. An ink goes on a paper if the two differ enough, in lightness as well: red letters on
a green of the same lightness are hard to read.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gencli.data.strokes import Floats

_LEAST_APART = 0.3  # of named colours that go together, before jitter and texture
_LEAST_LIGHTNESS = 0.15  # of which in lightness


@dataclass(frozen=True)
class Colour:
    """A colour with a name.

    Attributes:
        name: What captions call it.
        rgb: sRGB in [0, 1], before jitter.
    """

    name: str
    rgb: tuple[float, float, float]


COLOURS = (
    Colour("red", (0.80, 0.16, 0.17)),
    Colour("orange", (0.94, 0.52, 0.14)),
    Colour("yellow", (0.96, 0.83, 0.30)),
    Colour("green", (0.27, 0.62, 0.36)),
    Colour("blue", (0.12, 0.24, 0.58)),
    Colour("purple", (0.38, 0.17, 0.53)),
    Colour("pink", (0.95, 0.66, 0.74)),
    Colour("brown", (0.38, 0.23, 0.14)),
    Colour("black", (0.10, 0.10, 0.12)),
    Colour("white", (0.95, 0.94, 0.91)),
)

_TO_CONES = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
_TO_LAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)


def oklab(rgb: NDArray[np.floating]) -> NDArray[np.float64]:
    """From sRGB (..., 3) in [0, 1] to Oklab (..., 3): lightness in [0, 1], and two of hue."""
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    lab: NDArray[np.float64] = np.cbrt(linear @ _TO_CONES.T) @ _TO_LAB.T
    return lab


_RGB = np.array([colour.rgb for colour in COLOURS])
_LAB = oklab(_RGB)


def dark(colour: int) -> bool:
    """Whether a paper of that colour is called dark."""
    return bool(_LAB[colour, 0] < 0.6)


def _pairs() -> NDArray[np.float64]:
    """Probabilities of (ink, paper): zero for what cannot be read, and no colour preferred.

    Rows and columns are scaled in turn until all sums are equal (Sinkhorn and Knopp 1967).
    """
    apart = np.linalg.norm(_LAB[:, None] - _LAB, axis=-1)
    lightness = np.abs(_LAB[:, None, 0] - _LAB[:, 0])
    pairs = ((apart >= _LEAST_APART) & (lightness >= _LEAST_LIGHTNESS)).astype(np.float64)
    for _ in range(200):
        pairs /= pairs.sum(axis=1, keepdims=True)
        pairs /= pairs.sum(axis=0, keepdims=True)
    chances: NDArray[np.float64] = pairs / pairs.sum()
    return chances


PAIRS = _pairs()


def shades(rng: np.random.Generator, colour: NDArray[np.int64]) -> Floats:
    """Colours by number (N,) -> sRGB (N, 3), each a little off in lightness and in hue."""
    n = len(colour)
    lightness = rng.uniform(-0.04, 0.04, (n, 1))
    hue = rng.uniform(-0.03, 0.03, (n, 3))
    shade: Floats = np.clip(_RGB[colour] + lightness + hue, 0.02, 0.98)
    return shade
