"""What a data set is, without its pixels; no torch, since the command line reads this."""

from __future__ import annotations

from dataclasses import dataclass

from gencli.kinds import Binarization, ConditionKind, Source


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
        vocabulary: Words of the captions, from the token 2 on; empty where there are no captions.
        caption_length: Tokens of a caption.
        source: How each image's source image is derived from it, or that it is given.
        given_channels: Of source images that are given.
    """

    channels: int
    height: int
    width: int
    classes: tuple[str, ...] = ()
    binarization: Binarization = "none"
    vocabulary: tuple[str, ...] = ()
    caption_length: int = 0
    source: Source = "none"
    given_channels: int = 0

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

    @property
    def n_tokens(self) -> int:
        """Different tokens of captions: nothing, an unknown word, and the vocabulary."""
        return 2 + len(self.vocabulary)

    @property
    def source_shape(self) -> tuple[int, int, int]:
        """(C', H', W') of source images."""
        if self.source == "given":
            return self.given_channels, self.height, self.width
        channels = 1 if self.source in ("edges", "grey") else self.channels
        return channels, self.height, self.width

    def has(self, kind: ConditionKind) -> bool:
        """Whether the data come with classes, captions or source images."""
        there = {"labels": self.classes, "text": self.vocabulary, "source": self.source != "none"}
        return bool(there[kind])

    def meaning(self, kind: ConditionKind) -> tuple[object, ...]:
        """What two data sets must share for a condition of one to mean something to the other.

        Classes go by their number alone: those of `mnist` and `kmnist` have different names.
        """
        if kind == "labels":
            return (self.n_classes,)
        if kind == "text":
            return (self.vocabulary, self.caption_length)
        return (self.source, self.source_shape)
