"""Histograms of two groups of values, one above the other, as one picture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from gencli.viz.grid import Bytes

_WIDTH, _HEIGHT = 720, 210
"""Pixels of a panel."""

_LEFT, _RIGHT, _TOP, _BOTTOM = 16, 16, 48, 26
"""Pixels around its plot."""

_BINS = 80
_COLOURS = ((38, 92, 166), (214, 106, 22))
_INK = (40, 40, 40)
_TAIL = 0.002
"""Share of the values at either end that the picture may leave out."""


@dataclass(frozen=True)
class Panel:
    """One plot.

    Attributes:
        title: Above it.
        groups: Names and values (N,) of the two groups.
    """

    title: str
    groups: tuple[tuple[str, Tensor], tuple[str, Tensor]]


def histograms(panels: Sequence[Panel]) -> Bytes:
    """Panels below one another, uint8 (H, W, 3); each group's bars are shares of that group."""
    sheet = Image.new("RGB", (_WIDTH, _HEIGHT * len(panels)), "white")
    for number, panel in enumerate(panels):
        sheet.paste(_drawn(panel), (0, number * _HEIGHT))
    array: Bytes = np.asarray(sheet)
    return array


def _drawn(panel: Panel) -> Image.Image:
    values = [group.double().cpu() for _, group in panel.groups]
    low, high = _range(values)
    counts = [torch.histc(v.clamp(low, high), _BINS, low, high) / len(v) for v in values]
    highest = max(float(count.max()) for count in counts)
    picture = Image.new("RGB", (_WIDTH, _HEIGHT), "white")
    for count, colour in zip(counts, _COLOURS, strict=True):
        bars = Image.new("RGB", picture.size, "white")
        _bars(ImageDraw.Draw(bars), count / highest, colour)
        picture = Image.fromarray(np.minimum(np.asarray(picture), np.asarray(bars)))
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(13)
    draw.text((_LEFT, 6), panel.title, fill=_INK, font=font)
    x = _LEFT
    for (name, _), colour in zip(panel.groups, _COLOURS, strict=True):
        draw.rectangle((x, 29, x + 10, 39), fill=_paler(colour), outline=colour)
        draw.text((x + 16, 26), name, fill=_INK, font=font)
        x += 16 + round(font.getlength(name)) + 24
    bottom = _HEIGHT - _BOTTOM
    draw.line((_LEFT, bottom, _WIDTH - _RIGHT, bottom), fill=_INK)
    for tick in ticks(low, high):
        x = _LEFT + round((tick - low) / (high - low) * (_WIDTH - _LEFT - _RIGHT))
        draw.line((x, bottom, x, bottom + 4), fill=_INK)
        text = f"{tick:g}"
        draw.text((x - font.getlength(text) / 2, bottom + 6), text, fill=_INK, font=font)
    return picture


def _bars(draw: ImageDraw.ImageDraw, heights: Tensor, colour: tuple[int, int, int]) -> None:
    """Bars of heights (bins,) in [0, 1] with an outline around all of them."""
    bottom, room = _HEIGHT - _BOTTOM, _HEIGHT - _BOTTOM - _TOP
    step = (_WIDTH - _LEFT - _RIGHT) / len(heights)
    corners = [(float(_LEFT), float(bottom))]
    for i, height in enumerate(heights.tolist()):
        y = bottom - room * height
        corners += [(_LEFT + i * step, y), (_LEFT + (i + 1) * step, y)]
    corners.append((_WIDTH - float(_RIGHT), float(bottom)))
    draw.polygon(corners, fill=_paler(colour), outline=colour)


def _paler(colour: tuple[int, int, int]) -> tuple[int, int, int]:
    r, g, b = (255 - (255 - part) * 45 // 100 for part in colour)
    return r, g, b


def _range(values: Sequence[Tensor]) -> tuple[float, float]:
    """What is shown: all but the outermost values of either group, with some width."""
    ends = torch.tensor([_TAIL, 1 - _TAIL], dtype=torch.float64)
    low, high = torch.stack([v.quantile(ends) for v in values]).unbind(1)
    least, most = float(low.min()), float(high.max())
    return (least, most) if most > least else (least - 0.5, most + 0.5)


def ticks(low: float, high: float, most: int = 8) -> list[float]:
    """At most so many round numbers in [low, high], evenly spaced by 1, 2 or 5 tenfolds."""
    step = 10.0 ** math.floor(math.log10((high - low) / most))
    while (high - low) / step > most:
        step *= 2.5 if f"{step:e}"[0] == "2" else 2
    first = math.ceil(low / step)
    return [number * step for number in range(first, math.floor(high / step) + 1)]
