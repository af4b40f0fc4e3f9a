"""What is in a picture of `scenes`, and what its caption says of that.

The attributes of picture i are drawn from the seed and i alone, apart from the drawing, so that
they can be had without it: `attributes(n, seed=...)`. A caption is one of several wordings, and
may leave an attribute out; what it says is true. Middle sizes and strokes have no word.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from gencli.data.hand import CHUNK
from gencli.data.scene_colours import COLOURS, PAIRS, dark

Numbers = NDArray[np.int64]

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
COUNTS = ("", "two", "three")
SIZES = ("small", "", "large")
WEIGHTS = ("thin", "", "thick")
SLANTS = ("leaning left", "upright", "leaning right")
TEXTURES = ("plain", "shaded", "striped", "speckled")

_WORDINGS = (
    "{some} {size} {weight} {ink} {digit}, {slant}, on {paper}",
    "{some} {size} {weight} {digit}, {ink} on {paper}",
    "{some} {size} {digit}, {ink} on a {ground} ground, {slant}",
    "{ink} {digit} on {texture} {paper} paper",
    "on {texture} {paper}, {some} {size} {weight} {ink} {digit}, {slant}",
    "{some} {weight} {ink} {digit}, {slant}",
    "{texture} {paper} paper with {some} {size} {ink} {digit}",
    "{ink} on {paper}: {some} {size} {weight} {digit}, {slant}",
)
_LEFT_OUT = 8  # the ways to leave out size, weight and slant, a bit each


@dataclass(frozen=True)
class Attributes:
    """What is in N pictures, an index (N,) into the table named for each.

    Attributes:
        digit: The class, in `DIGITS`.
        count: How many of that digit there are, less one, in `COUNTS`.
        ink: Their colour, in `COLOURS`.
        paper: The colour of the ground, in `COLOURS`.
        texture: The pattern of the ground, in `TEXTURES`.
        size: In `SIZES`; three digits are never large.
        weight: The thickness of the stroke, in `WEIGHTS`.
        slant: In `SLANTS`.
        wording: Which caption it gets of those that would be true.
    """

    digit: Numbers
    count: Numbers
    ink: Numbers
    paper: Numbers
    texture: Numbers
    size: Numbers
    weight: Numbers
    slant: Numbers
    wording: Numbers

    def captions(self) -> tuple[str, ...]:
        """A line for each picture, such as "two small zeros, white on a dark ground"."""
        columns = (getattr(self, field.name).tolist() for field in fields(self))
        return tuple(caption(*row) for row in zip(*columns, strict=True))


def attributes(n: int, *, seed: int) -> Attributes:
    """The attributes of the first `n` pictures of `scenes.render(n, seed=seed)`.

    Every thousand in a row holds a hundred of each digit.
    """
    parts = [chunk_attributes(seed, index) for index in range(-(-n // CHUNK))]
    names = [field.name for field in fields(Attributes)]
    none = np.empty(0, np.int64)
    return Attributes(
        *(np.concatenate([none, *(getattr(part, name) for part in parts)])[:n] for name in names)
    )


def chunk_attributes(seed: int, index: int) -> Attributes:
    """Those of a thousand pictures, the `index`-th thousand."""
    rng = np.random.default_rng((seed, index, 0))
    count = rng.permutation(np.arange(CHUNK) % len(COUNTS))
    pair = rng.choice(PAIRS.size, CHUNK, p=PAIRS.ravel())
    return Attributes(
        digit=rng.permutation(np.arange(CHUNK) % len(DIGITS)),
        count=count,
        ink=pair // len(COLOURS),
        paper=pair % len(COLOURS),
        texture=rng.integers(len(TEXTURES), size=CHUNK),
        size=rng.integers(np.where(count == 2, len(SIZES) - 1, len(SIZES))),
        weight=rng.integers(len(WEIGHTS), size=CHUNK),
        slant=rng.integers(len(SLANTS), size=CHUNK),
        wording=rng.integers(len(_WORDINGS) * _LEFT_OUT, size=CHUNK),
    )


def tells_paper(wording: Numbers) -> NDArray[np.bool_]:
    """Whether captions (N,) of these wordings name the colour of the paper."""
    told = np.array(["{paper}" in wording for wording in _WORDINGS])
    found: NDArray[np.bool_] = told[wording // _LEFT_OUT]
    return found


def caption(
    digit: int,
    count: int,
    ink: int,
    paper: int,
    texture: int,
    size: int,
    weight: int,
    slant: int,
    wording: int,
) -> str:
    """One of the true captions of a picture."""
    which, left_out = divmod(wording, _LEFT_OUT)
    text = _WORDINGS[which].format(
        some=COUNTS[count] or "a",
        size="" if left_out & 1 else SIZES[size],
        weight="" if left_out & 2 else WEIGHTS[weight],
        slant="" if left_out & 4 else SLANTS[slant],
        digit=DIGITS[digit] if count == 0 else _plural(DIGITS[digit]),
        ink=COLOURS[ink].name,
        paper=COLOURS[paper].name,
        ground="dark" if dark(paper) else "light",
        texture=TEXTURES[texture],
    )
    text = " ".join(text.split()).replace(" ,", ",").replace(",,", ",").removesuffix(",")
    # The word after the article may be any of an attribute's.
    return text.replace("a orange", "an orange").replace("a eight", "an eight")


def _plural(name: str) -> str:
    return f"{name}es" if name.endswith("x") else f"{name}s"
