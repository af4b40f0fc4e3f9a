"""Animated GIFs."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image

from gencli.viz.grid import Bytes, to_pillow, write_bytes

_PALETTE_PIXELS = 1 << 20
"""Pixels over which the common palette of a colour animation is chosen."""


def write_gif(frames: Sequence[Bytes] | Bytes, target: Path | BinaryIO, *, fps: float = 12) -> None:
    """Write an animation that loops for ever.

    Grey frames keep every level exactly. Colour frames share one palette of 256 colours, chosen
    over all of them, so that still parts do not flicker.

    Args:
        frames: At least one uint8 array (H, W, C), all of one shape; `make_grid` gives them.
        target: A path, or a stream that need not be seekable.
        fps: Frames per second, as near as the format's hundredths of a second allow; viewers slow
            down what is above 50.

    Raises:
        GencliError: If a path cannot be written.
    """
    pictures = [to_pillow(frame) for frame in frames]
    if pictures[0].mode != "L":
        palette = _common_palette(frames)
        pictures = [
            picture.quantize(palette=palette, dither=Image.Dither.NONE) for picture in pictures
        ]
    buffer = io.BytesIO()
    pictures[0].save(
        buffer,
        "GIF",
        save_all=True,
        append_images=pictures[1:],
        duration=max(2, round(100 / fps)) * 10,
        loop=0,
        optimize=False,
    )
    write_bytes(buffer, target)


def _common_palette(frames: Sequence[Bytes] | Bytes) -> Image.Image:
    pixels = np.concatenate([np.reshape(frame, (1, -1, 3)) for frame in frames], axis=1)
    step = max(1, pixels.shape[1] // _PALETTE_PIXELS)
    sample = Image.fromarray(np.ascontiguousarray(pixels[:, ::step]))
    return sample.quantize(256, method=Image.Quantize.MEDIANCUT)
