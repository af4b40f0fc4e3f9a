"""Source images derived from images: the other half of a pair, for models that translate.

All are pure functions (B, C, H, W) -> (B, C', H, W) in [0, 1], on any device.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from gencli.kinds import Source

INCOMPLETE: tuple[Source, ...] = ("grey", "half", "small", "mask")
"""Kinds of sources that are the image without something."""

_HIDDEN = 0.5
"""Grey level of what is not shown."""


def derive(images: Tensor, kind: Source) -> Tensor | None:
    """The source images of a kind; None for `none`, and for `given`, which are none of the image's.

    `edges` is the outline in black on white, `grey` the image without colours, `half` its left
    half, `small` the image at half its size enlarged again, `mask` the image without its middle.
    """
    if kind in ("none", "given"):
        return None
    height, width = images.shape[2:]
    if kind == "grey":
        return images.mean(1, keepdim=True)
    if kind == "edges":
        return _edges(images.mean(1, keepdim=True))
    if kind == "small":
        small = F.avg_pool2d(images, 2, ceil_mode=True)
        return F.interpolate(small, scale_factor=2.0, mode="nearest")[..., :height, :width]
    shown = torch.ones(height, width, dtype=torch.bool, device=images.device)
    if kind == "half":
        shown[:, width // 2 :] = False
    else:
        shown[height // 4 : height - height // 4, width // 4 : width - width // 4] = False
    return torch.where(shown, images, _HIDDEN)


def _edges(grey: Tensor) -> Tensor:
    """One minus the length of Sobel's gradient, at most 1."""
    across = grey.new_tensor([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]])
    kernels = torch.stack([across, across.T]).unsqueeze(1)
    padded = F.pad(grey, (1, 1, 1, 1), mode="replicate")
    gradient: Tensor = F.conv2d(padded, kernels)
    return 1 - gradient.square().sum(1, keepdim=True).sqrt().clamp(max=1)


def as_image(source: Tensor, kind: Source) -> Tensor:
    """Source images (B, C', H, W) as one would show them in place of the images.

    Small ones are enlarged by bicubic interpolation, the others are as they are.
    """
    if kind != "small":
        return source
    height, width = source.shape[2:]
    larger = F.interpolate(source[..., ::2, ::2], scale_factor=2.0, mode="bicubic")
    return larger[..., :height, :width].clamp(0, 1)
