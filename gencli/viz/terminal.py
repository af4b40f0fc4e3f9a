"""A preview in the terminal: two pixels in a character, by an upper half-block in two colours."""

from __future__ import annotations

import math

import numpy as np
import torch.nn.functional as F
from rich.color import Color
from rich.console import Console
from rich.segment import Segment, Segments
from rich.style import Style
from torch import Tensor

from gencli.viz.grid import Bytes, make_grid

_TILE = 20
"""Pixels that an image of the preview is reduced to: enough to read a digit."""

_SMALLEST = 10
"""Pixels below which nothing can be made out."""

_SEVERAL = 12
"""Images that are shown rather small than fewer."""

_ROWS = 3
_SHADES = " ░▒▓█"


def preview(images: Tensor, console: Console, *, columns: int | None = None) -> None:
    """Show some of the images (N, C, H, W) in [0, 1], where `console` is a terminal; else nothing.

    Args:
        images: The first few are shown, as many as fit beside each other in three rows.
        console: Where to; one on stderr, since stdout carries data only.
        columns: Show all the images in a grid of so many columns instead, reduced to fit.
    """
    if not console.is_terminal or not len(images):
        return
    if columns is None:
        columns = min(len(images), max(1, (console.width - 1) // (_TILE + 1)))
        images = images[: columns * _ROWS]
    tile = max(1, min(_TILE, (console.width - 1) // columns - 1))
    factor = tile / images.shape[3]
    small = _resize(images, max(1, round(images.shape[2] * factor)), tile)
    console.print(half_blocks(make_grid(small, columns=columns, padding=1, scale=1), console))


def fitting(images: Tensor, columns: int, lines: int) -> Bytes | None:
    """A grid of as many images (N, C, H, W) as a terminal holds legibly; None if it holds none.

    Args:
        images: The first few are shown.
        columns: Characters in a line.
        lines: Lines, of two pixels each.

    Returns:
        uint8 (H', W', C), at most `columns` wide and 2 `lines` high.
    """
    ratio = images.shape[2] / images.shape[3]
    for side in range(_TILE, _SMALLEST - 1, -2):
        height = max(1, round(side * ratio))
        across, down = (columns - 1) // (side + 1), (2 * lines - 1) // (height + 1)
        if across * down >= min(_SEVERAL, len(images)):
            break
    if across < 1 or down < 1:
        return None
    small = _resize(images[: across * down], height, side)
    return make_grid(small, columns=min(across, len(small)), padding=1, scale=1)


def half_blocks(array: Bytes, console: Console) -> Segments:
    """A uint8 (H, W, C) array as ceil(H / 2) lines of W characters, in shades without colour."""
    if array.shape[0] % 2:
        array = np.concatenate([array, np.zeros_like(array[:1])])
    colour = np.broadcast_to(array, (*array.shape[:2], 3)).tolist()
    segments: list[Segment] = []
    for top, bottom in zip(colour[::2], colour[1::2], strict=True):
        if console.color_system is None:
            segments.extend(
                Segment(_shade(*above, *below)) for above, below in zip(top, bottom, strict=True)
            )
        else:
            segments.extend(
                Segment("▀", Style(color=Color.from_rgb(*above), bgcolor=Color.from_rgb(*below)))
                for above, below in zip(top, bottom, strict=True)
            )
        segments.append(Segment.line())
    return Segments(segments)


def _shade(*levels: int) -> str:
    return _SHADES[math.floor(sum(levels) / len(levels) / 256 * len(_SHADES))]


def _resize(images: Tensor, height: int, width: int) -> Tensor:
    if images.shape[2:] == (height, width):
        return images
    return F.interpolate(
        images.float(), (height, width), mode="bilinear", antialias=True, align_corners=False
    )
