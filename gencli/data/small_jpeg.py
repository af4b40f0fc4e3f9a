"""Small JPEG files by libjpeg-turbo alone, where Pillow would decode the same pixels.

Most of Pillow's time for a small file is spent in Python, where threads wait for each other. What
is not plain here (turned by its metadata, damaged, in four colours, large) is left to Pillow.
"""

from __future__ import annotations

from io import RawIOBase

import numpy as np
from numpy.typing import NDArray

try:
    import simplejpeg
except ImportError:  # it is no dependency on machines for which there are no wheels of it
    simplejpeg = None

_BYTES = 1 << 16  # of a file
_PIXELS = 1 << 22
_JPEG = b"\xff\xd8\xff"
_METADATA = b"\xff\xe1"  # the marker of EXIF and XMP, which may say how to turn the image
_SPACES = {"Gray": "GRAY", "YCbCr": "RGB"}


def small_jpeg(file: RawIOBase, below: int) -> NDArray[np.uint8] | None:
    """The image of a small and plain JPEG file.

    Args:
        file: From its first byte on; how far it is read is not said.
        below: What the shorter side is less than.

    Returns:
        (H, W, 1) or (H, W, 3), exactly as Pillow decodes them; None of other files.
    """
    if simplejpeg is None:
        return None
    content = file.read(_BYTES)
    if not content or len(content) == _BYTES or content[:3] != _JPEG or _METADATA in content:
        return None
    try:
        height, width, space, _ = simplejpeg.decode_jpeg_header(content)
        if space not in _SPACES or min(height, width) >= below or height * width > _PIXELS:
            return None
        pixels: NDArray[np.uint8] = simplejpeg.decode_jpeg(content, _SPACES[space])
    except ValueError:
        return None  # Pillow says what is wrong, or forgives it
    return pixels
