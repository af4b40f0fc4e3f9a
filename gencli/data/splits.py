"""What a data set is once it is loaded: three splits of images, and what is known of them."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from gencli.data.spec import DataInfo
from gencli.memory import is_large


@dataclass(frozen=True)
class Split:
    """Images of one split.

    Attributes:
        stored: (M, C, H, W) uint8 on the CPU, or mapped from a file.
        labels: (N,) int64, or None where there are none.
        text: Captions as tokens (N, L) int64, or None where there are none.
        chosen: Which of `stored` the split has, (N,) int64; None for all in their order.
        channels: Of `stored` that are the images'; those after them are of given source images.
            None where all are the images'.
    """

    stored: Tensor
    labels: Tensor | None
    text: Tensor | None = None
    chosen: Tensor | None = None
    channels: int | None = None

    def __len__(self) -> int:
        return len(self.stored if self.chosen is None else self.chosen)

    @property
    def images(self) -> Tensor:
        """(N, C, H, W) uint8; in memory where only some are chosen."""
        return self.whole[:, : self.channels]

    @property
    def whole(self) -> Tensor:
        """The images with their given source images, (N, C + C', H, W), likewise."""
        return self.stored if self.chosen is None else self.stored[self.chosen]

    @property
    def is_large(self) -> bool:
        """Whether the images are left on disk."""
        return is_large(self.stored.numel())

    def rows(self, which: Tensor | slice) -> Split:
        """Some of the images, in memory."""
        labels, text = (None if t is None else t[which] for t in (self.labels, self.text))
        where = which if self.chosen is None else self.chosen[which]
        return Split(self.stored[where], labels, text, channels=self.channels)

    def only(self, which: Tensor) -> Split:
        """The images (n,) `which`; on disk where these are."""
        if not self.is_large:
            return self.rows(which)
        labels, text = (None if t is None else t[which] for t in (self.labels, self.text))
        where = which if self.chosen is None else self.chosen[which]
        return Split(self.stored, labels, text, where, self.channels)


@dataclass(frozen=True)
class ImageData:
    """A data set, ready for training and evaluation.

    Attributes:
        name: Its name, or the full path of its folder: what loads it again from anywhere.
        info: What models see of it.
        train: What is trained on.
        val: Held out of training for choices; perhaps empty.
        test: For the final reading alone, in the source's order.
        fingerprint: A hash of all images, labels and a folder's captions before holding out, and
            after resizing and static binarisation.
        notes: What the user should be told.
        bad: Files that could not be read and were left out, each with the reason.
    """

    name: str
    info: DataInfo
    train: Split
    val: Split
    test: Split
    fingerprint: str
    notes: tuple[str, ...] = ()
    bad: tuple[str, ...] = ()
