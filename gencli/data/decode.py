"""One image file of any size and mode -> the pixels that a model sees.

Decoding is Pillow's; small JPEG files, of which folders have tens of thousands, are read faster.

The rule: the first frame, turned upright as its EXIF data say; transparency on white; 16 bits to
8; then the shorter side is resized to the wanted size (bicubic, antialiased) and the middle of the
longer side kept. Large JPEGs are read at a reduced scale that leaves at least twice the wanted
size.
"""

from __future__ import annotations

import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, UnidentifiedImageError

from gencli.data.cache import Images
from gencli.data.small_jpeg import small_jpeg

FORMATS = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP", "PPM")
SUFFIXES = frozenset({
    ".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".gif", ".tif", ".tiff", ".webp",
    ".ppm", ".pgm", ".pbm", ".pnm",
})  # fmt: skip

# What Pillow's decoders raise on damaged files.
BROKEN = (
    OSError, SyntaxError, ValueError, EOFError, TypeError, LookupError, OverflowError,
    struct.error, zlib.error, MemoryError,
    Image.DecompressionBombError, Image.DecompressionBombWarning,
)  # fmt: skip

_ORIENTATION = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@contextmanager
def strict_pillow() -> Iterator[None]:
    """Around decoding: decompression bombs are errors, remarks on metadata are silent."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


def measure(file: BinaryIO) -> tuple[int, int]:
    """Width and height of an image file, from its header, before any turning.

    Raises:
        OSError: Or another of `BROKEN`, if the file is no image of the allowed formats.
    """
    with Image.open(file, formats=FORMATS) as image:
        return image.size


def decode(path: str | Path, size: int) -> Images:
    """The image as (C, size, size), uint8; one channel if its three agree everywhere.

    Raises:
        OSError: Or another of `BROKEN`, if the file is no image of the allowed formats, is
            damaged, or is a decompression bomb.
    """
    with open(path, "rb", buffering=0) as file:
        pixels = small_jpeg(file, 4 * size)  # from there on Pillow reads at a reduced scale
        if pixels is None:
            file.seek(0)
            with BufferedReader(file) as buffered:
                return _planes(_fit(_opened(buffered, (2 * size, 2 * size)), size))
    if pixels.shape[:2] != (size, size):
        flat = pixels[:, :, 0] if pixels.shape[2] == 1 else pixels
        pixels = np.asarray(_fit(Image.fromarray(flat), size))
    return _planes(pixels)


def decode_halves(path: str | Path, size: int) -> tuple[Images, Images]:
    """The left and the right half of an image, each as `decode` gives an image.

    Raises:
        OSError: Or another of `BROKEN`, as for `decode`, or if the image has no two halves.
    """
    with open(path, "rb") as file:
        image = _opened(file, (4 * size, 2 * size))
    width, height = image.size
    if width % 2 or not width:
        raise ValueError(f"its {width} columns have no halves")
    left, right = (image.crop((x, 0, x + width // 2, height)) for x in (0, width // 2))
    return _planes(_fit(left, size)), _planes(_fit(right, size))


def _opened(file: BinaryIO, least: tuple[int, int]) -> Image.Image:
    """An image upright and flat; a large JPEG at a scale with at least so many pixels."""
    with Image.open(file, formats=FORMATS) as opened:
        opened.draft(None, least)
        opened.load()
        return _flatten(_upright(opened))


def _planes(image: Image.Image | Images) -> Images:
    pixels = np.asarray(image)
    if pixels.ndim == 2:
        return pixels[None]
    planes: Images = pixels.transpose(2, 0, 1)
    if len({*pixels[0, 0].tolist()}) > 1:  # one pixel in colour is enough, and is seen at once
        return planes
    first, *others = planes
    return planes if any((first != other).any() for other in others) else planes[:1]


def why_broken(error: BaseException) -> str:
    """One of `BROKEN` in a few words."""
    if isinstance(error, (Image.DecompressionBombError, Image.DecompressionBombWarning)):
        return f"a decompression bomb: over {Image.MAX_IMAGE_PIXELS:,} pixels"
    if isinstance(error, UnidentifiedImageError):
        return "no image of a known format"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def _upright(image: Image.Image) -> Image.Image:
    try:
        turn = _TURNS.get(image.getexif().get(_ORIENTATION, 1))
    except BROKEN:
        return image  # damaged metadata of an image that is whole
    return image if turn is None else image.transpose(turn)


def _flatten(image: Image.Image) -> Image.Image:
    """Any mode -> L or RGB, 8 bits, opaque."""
    if image.mode == "F":
        raise ValueError("floating-point pixels have no declared range")
    if image.mode.startswith("I"):
        deep = np.clip(np.asarray(image), 0, 65535).astype(np.uint32)
        return Image.fromarray(((deep + 128) // 257).astype(np.uint8))
    if image.mode in ("LA", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")
    if image.mode in ("L", "RGB"):
        return image
    return image.convert("L" if image.mode == "1" else "RGB")


def _fit(image: Image.Image, size: int) -> Image.Image:
    width, height = image.size
    if width == height == size:
        return image
    # The middle square, resized: the same as resizing first, without the parts that are cut off.
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    box = (left, top, left + side, top + side)
    return image.resize((size, size), Image.Resampling.BICUBIC, box)
