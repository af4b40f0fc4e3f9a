"""What a data set is, without its pixels; no torch, since the command line reads this."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Binarization = Literal["none", "static", "dynamic", "threshold"]


@dataclass(frozen=True)
class DataInfo:
    """What a model must know of its data, saved with every run.

    Attributes:
        channels: 1 for grey, 3 for colour.
        height: Pixels.
        width: Pixels.
        classes: Names of the classes, in the order of the labels; empty where there are no labels.
        binarization: How grey values became zeros and ones. `none` keeps them; `static` fixes one
            draw of the pixels for good; `dynamic` draws anew for every batch, with the grey value
            as the probability; `threshold` cuts at one half.
    """

    channels: int
    height: int
    width: int
    classes: tuple[str, ...] = ()
    binarization: Binarization = "none"

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        return self.channels, self.height, self.width

    @property
    def n_pixels(self) -> int:
        """Dimensions of one image, C * H * W."""
        return self.channels * self.height * self.width

    @property
    def n_classes(self) -> int:
        """How many classes; 0 where there are no labels."""
        return len(self.classes)

    @property
    def binary(self) -> bool:
        """Whether every pixel is 0 or 1."""
        return self.binarization != "none"
