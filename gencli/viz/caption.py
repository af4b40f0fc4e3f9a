"""A line of text under a picture: which run, step and seed it is of."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from gencli.viz.grid import Bytes

_BACKGROUND, _INK = 24, 224
_LARGEST, _SMALLEST = 16, 9
"""Height of the letters in pixels: smaller where the picture is narrow."""


def captioned(array: Bytes, text: str) -> Bytes:
    """The picture with a text under it, in Pillow's own font, broken into lines where it must be.

    Args:
        array: uint8 (H, W, C) with one or three channels.
        text: Of one line; where it is empty the picture stays as it is.

    Returns:
        uint8 (H', W', C): a picture too narrow for a word becomes as wide as that word.
    """
    if not text:
        return array
    size = min(max(array.shape[1] // 24, _SMALLEST), _LARGEST)
    font = ImageFont.load_default(size)
    margin = size // 2
    words = text.split()
    width = max(array.shape[1], *(round(font.getlength(w)) + 2 * margin for w in words), 1)
    lines = _broken(words, font, width - 2 * margin)
    height = round(size * 1.4)
    strip = Image.new("L", (width, len(lines) * height + margin), _BACKGROUND)
    drawing = ImageDraw.Draw(strip)
    for number, line in enumerate(lines):
        drawing.text((margin, number * height + margin // 2), line, fill=_INK, font=font)
    wide = np.full((array.shape[0], width, array.shape[2]), _BACKGROUND, np.uint8)
    left = (width - array.shape[1]) // 2
    wide[:, left : left + array.shape[1]] = array
    text_rows = np.repeat(np.asarray(strip)[:, :, None], array.shape[2], axis=2)
    return np.concatenate([wide, text_rows])


def _broken(
    words: list[str], font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int
) -> list[str]:
    lines: list[str] = []
    for word in words:
        if lines and font.getlength(f"{lines[-1]} {word}") <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines
