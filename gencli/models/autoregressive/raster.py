"""Images as sequences of pixels: row by row, and within a pixel channel by channel."""

from __future__ import annotations

from torch import Tensor


def to_raster(x: Tensor) -> Tensor:
    """(B, C, H, W) -> (B, H * W * C), the channels of a pixel side by side."""
    return x.permute(0, 2, 3, 1).flatten(1)


def from_raster(sequence: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """(B, H * W * C) -> (B, C, H, W), for `shape` (C, H, W): the inverse of `to_raster`."""
    channels, height, width = shape
    return sequence.reshape(-1, height, width, channels).permute(0, 3, 1, 2).contiguous()
