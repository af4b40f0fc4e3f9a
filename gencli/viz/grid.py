"""Images as pictures and arrays: grids, PNG files, NumPy archives.

`images` is a tensor (N, C, H, W) in [0, 1] with one or three channels throughout; `array` is uint8
(H, W, C). What is written to a path is whole or not there.
"""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from gencli.atomic import replacing, whole_folder, writing
from gencli.errors import DivergedError

Bytes = NDArray[np.uint8]

SEPARATOR = 72
"""Grey level between images: apart from black, white and most of what is drawn on them."""

_LEGIBLE = 84
"""Pixels that a small image is scaled up towards."""

_HANDY = 256
"""Pixels that the side of a grid of few images is scaled up towards."""

_LARGEST = 2400
"""Pixels that scaling up does not take the grid's longer side beyond."""


def to_uint8(images: Tensor) -> Bytes:
    """(N, C, H, W) in [0, 1] -> uint8 (N, H, W, C), rounded to the nearest level.

    Raises:
        DivergedError: If a pixel is not finite.
    """
    if not torch.isfinite(images).all():
        raise DivergedError(
            "Some pixels of the images are not finite.",
            "The model diverged; use an earlier checkpoint (--checkpoint STEP) or train anew.",
        )
    levels = (images.detach().float().clamp(0, 1) * 255).round().to(torch.uint8)
    array: Bytes = levels.permute(0, 2, 3, 1).contiguous().cpu().numpy()
    return array


def near_square(n: int) -> int:
    """Columns for `n` images: a full rectangle up to 3:1 where there is one, or nearly a square."""
    side = math.ceil(math.sqrt(n))
    full = (c for c in range(side, n + 1) if n % c == 0 and c * c <= 3 * n)
    return next(full, side)


def make_grid(
    images: Tensor, *, columns: int | None = None, padding: int = 2, scale: int | None = None
) -> Bytes:
    """Lay images out row by row, with a neutral grey between and around them.

    Args:
        images: (N, C, H, W) in [0, 1].
        columns: Images in a row; None chooses a nearly square layout.
        padding: Pixels between and around images, not scaled.
        scale: How many pixels wide and high a pixel becomes; None makes small images large enough
            to read (28 pixels three times, 32 twice, 64 once; more where there are few) as long as
            the grid stays handy.

    Returns:
        uint8 (H', W', C).
    """
    array = to_uint8(images)
    n, height, width, channels = array.shape
    columns = min(columns or near_square(n), max(n, 1))
    rows = math.ceil(n / columns)
    if scale is None:
        longest = max(rows * height, columns * width, 1)
        side = max(_LEGIBLE, _HANDY // max(columns, rows, 1))
        scale = max(1, min(side // max(height, width, 1), _LARGEST // longest))
    tile_h, tile_w = height * scale + padding, width * scale + padding
    grid = np.full(
        (rows * tile_h + padding, columns * tile_w + padding, channels), SEPARATOR, np.uint8
    )
    for i, image in enumerate(array.repeat(scale, axis=1).repeat(scale, axis=2)):
        top, left = i // columns * tile_h + padding, i % columns * tile_w + padding
        grid[top : top + height * scale, left : left + width * scale] = image
    return grid


def to_pillow(array: Bytes) -> Image.Image:
    """uint8 (H, W, 1 or 3) -> a Pillow image."""
    return Image.fromarray(array.squeeze(2) if array.shape[2] == 1 else array)


def write_png(picture: Bytes | Tensor, target: Path | BinaryIO) -> None:
    """Write one picture: a uint8 (H, W, C) array, or images (N, C, H, W) as a grid of the defaults.

    Raises:
        GencliError: If a path cannot be written.
    """
    array = make_grid(picture) if isinstance(picture, Tensor) else picture
    buffer = io.BytesIO()
    to_pillow(array).save(buffer, "PNG")
    write_bytes(buffer, target)


def write_pngs(images: Tensor, folder: Path) -> None:
    """Write one file for each image: `00000.png`, `00001.png`, ...; the folder is made if need be.

    A folder that is new or empty gets all of them or none.

    Raises:
        GencliError: If the folder cannot be written.
    """
    arrays = to_uint8(images)
    with writing(folder):
        if folder.is_dir() and any(folder.iterdir()):
            for i, array in enumerate(arrays):
                write_png(array, folder / f"{i:05d}.png")
            return
        with whole_folder(folder) as temporary:
            for i, array in enumerate(arrays):
                to_pillow(array).save(temporary / f"{i:05d}.png")


def write_npz(images: Tensor, target: Path | BinaryIO, labels: Tensor | None = None) -> None:
    """Write `images` as uint8 (N, H, W, C), and `labels` as int64 (N,) where there are any.

    Raises:
        GencliError: If a path cannot be written.
    """
    arrays: dict[str, Any] = {"images": to_uint8(images)}
    if labels is not None:
        arrays["labels"] = labels.detach().cpu().numpy().astype(np.int64)
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    write_bytes(buffer, target)


def write_bytes(buffer: io.BytesIO, target: Path | BinaryIO) -> None:
    """Write a whole file to a path, in one go, or to a stream that need not be seekable.

    Raises:
        GencliError: If a path cannot be written.
    """
    if isinstance(target, Path):
        with replacing(target) as temporary:
            temporary.write_bytes(buffer.getbuffer())
    else:
        name = getattr(target, "name", None)
        with writing(Path(name if isinstance(name, str) else "The output")):
            target.write(buffer.getbuffer())
            target.flush()
