"""Images as sequences of tokens: squares of binary pixels, or single 8-bit values, in raster order.

A token of n pixels with L levels each is a number below L^n, so a softmax over all of these is an
exact distribution of the pixels. In a sequence it stands as its number divided by the largest, in
[0, 1], as a single pixel does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from gencli.data.spec import DataInfo
from gencli.errors import UsageError

MOST_BITS = 12
"""Binary pixels that a token joins at most."""


@dataclass(frozen=True)
class Patches:
    """How images of one shape are cut into tokens.

    Attributes:
        shape: (C, H, W) of the images.
        levels: Values of a pixel. Of binary images a token joins all channels of its square; else
            each channel is a token of its own, and `side` is 1.
        side: Of the squares, in pixels; divides H and W.
    """

    shape: tuple[int, int, int]
    levels: int
    side: int

    @property
    def joined(self) -> int:
        """Channels joined in a token."""
        return self.shape[0] if self.levels == 2 else 1

    @property
    def per_token(self) -> int:
        """Pixels in a token, channels counted singly."""
        return self.joined * self.side**2

    @property
    def ways(self) -> int:
        """How many different tokens there are."""
        return int(self.levels**self.per_token)

    @property
    def grid(self) -> tuple[int, int, int]:
        """Tokens (C', H', W') of an image."""
        channels, height, width = self.shape
        return channels // self.joined, height // self.side, width // self.side

    @property
    def n_tokens(self) -> int:
        """Tokens in an image."""
        channels, height, width = self.grid
        return channels * height * width

    def sequence(self, x: Tensor) -> Tensor:
        """Images (B, C, H, W) in [0, 1] -> tokens (B, T) in [0, 1]."""
        if self.per_token == 1:
            return self._split(x).squeeze(-1)
        digits = self._split(x).round()
        places = 2.0 ** torch.arange(self.per_token, device=x.device)
        return (digits * places.to(digits)).sum(-1) / (self.ways - 1)

    def images(self, sequence: Tensor) -> Tensor:
        """The inverse of `sequence`: (B, T) -> (B, C, H, W)."""
        if self.per_token == 1:
            return self._join(sequence.unsqueeze(-1))
        return self._join(self._pixels(self.numbers(sequence)).to(sequence))

    def numbers(self, sequence: Tensor) -> Tensor:
        """Tokens in [0, 1] as the integers that they stand for."""
        return (sequence * (self.ways - 1)).round().long()

    def agreeing(self, given: Tensor, known: Tensor) -> Callable[[int], Tensor]:
        """Which tokens agree with the known pixels of their square: t -> bool (B, ways).

        Args:
            given: Binary (B, C, H, W).
            known: Bool, (H, W) or (B, 1, H, W).
        """
        contents = self._pixels(torch.arange(self.ways, device=given.device))
        pixels, fixed = self._split(given), self._split(known.bool().broadcast_to(given.shape))

        def agree(t: int) -> Tensor:
            return ((contents == pixels[:, t, None]) | ~fixed[:, t, None]).all(-1)

        return agree

    def _pixels(self, numbers: Tensor) -> Tensor:
        """The binary pixels (..., per_token) of tokens (...), by their numbers."""
        return numbers.unsqueeze(-1) >> torch.arange(self.per_token, device=numbers.device) & 1

    def _split(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, T, per_token)."""
        channels, height, width = self.grid
        x = x.reshape(-1, channels, self.joined, height, self.side, width, self.side)
        return x.permute(0, 3, 5, 1, 4, 6, 2).reshape(len(x), self.n_tokens, self.per_token)

    def _join(self, pixels: Tensor) -> Tensor:
        """(B, T, per_token) -> (B, C, H, W)."""
        channels, height, width = self.grid
        x = pixels.reshape(-1, height, width, channels, self.side, self.side, self.joined)
        return x.permute(0, 3, 6, 1, 4, 2, 5).reshape(-1, *self.shape)


def patches_for(data: DataInfo, side: int | None) -> Patches:
    """Tokens of squares of `side`, or of a side that fits.

    Raises:
        UsageError: If the images cannot be cut so, or there would be too many different tokens.
    """
    levels = 2 if data.binary else 256
    fits = data.binary and data.channels == 1 and not (data.height % 2 or data.width % 2)
    patches = Patches(data.shape, levels, (2 if fits else 1) if side is None else side)
    if patches.side > 1 and not data.binary:
        raise UsageError(
            f"--patch {side} joins binary pixels, and these have 256 levels.",
            "Leave --patch out, or make them binary by --binarize.",
        )
    if data.height % patches.side or data.width % patches.side:
        raise UsageError(
            f"--patch {side} does not divide images of {data.height}x{data.width}.",
            "Use 1, or a divisor of both.",
        )
    if patches.per_token > MOST_BITS:
        raise UsageError(
            f"--patch {side} joins {patches.per_token} pixels in a token, channels counted singly.",
            f"Join {MOST_BITS} at most: that makes one of {2**MOST_BITS} different tokens.",
        )
    return patches
