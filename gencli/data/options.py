"""What the user can say about the data. No torch here: --help shows this."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from gencli.config import Options, option
from gencli.kinds import Binarization


@dataclass(frozen=True)
class DataOptions(Options):
    """Which data, and what is made of them."""

    data: str = option("glyphs", "A data set's name, or a folder of images.")
    image_size: int | None = option(
        None, "Resize to this many pixels a side (`scenes` is drawn at them).", min=4, max=1024
    )
    binarize: Binarization | None = option(None, "How grey values become zeros and ones.")
    val: int | None = option(
        None,
        "Images held out for validation: 5000 or the data's own unless given; 0 is none.",
        min=0,
    )
    source: str = option(
        "none",
        "Source images, for models that translate: edges, grey, half, small or mask derives one "
        "from each image; or a folder of images of the same names.",
    )
    pairs: Literal["none", "side-by-side", "side-by-side-swapped"] = option(
        "none", "Each file holds two images: left the source and right the true one, or swapped."
    )
    skip_bad: bool = option(False, "Leave out images that cannot be read, and count them.")
