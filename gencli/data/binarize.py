"""Grey pixels into zeros and ones.

A stored pixel p in 0..255 is one with probability p / 255, exactly: that is the chance that r < p
for a whole number r drawn evenly from 0..254.
"""

from __future__ import annotations

import torch
from torch import Tensor

from gencli.random import mix_seed

_SEED = 20110411  # of the one static draw that there is
_CHUNK = 1_000  # images that share a random stream


def bernoulli(images: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Draw each pixel: uint8 of any shape -> bool of that shape.

    Args:
        images: Grey values.
        generator: On the images' device; None means torch's global one.
    """
    r = torch.empty_like(images).random_(0, 255, generator=generator)
    return r < images


def threshold(images: Tensor) -> Tensor:
    """uint8 of any shape -> 0 where a pixel is at most 127, else 255."""
    return (images > 127).to(torch.uint8).mul_(255)


def static(images: Tensor, split: int) -> Tensor:
    """The one fixed draw of a split: uint8 (N, ...) -> 0 or 255, always the same.

    Args:
        images: Grey values, on the CPU.
        split: The split's number; splits are drawn independently.
    """
    out = torch.empty_like(images)
    for i, (chunk, drawn) in enumerate(
        zip(torch.split(images, _CHUNK), torch.split(out, _CHUNK), strict=True)
    ):
        generator = torch.Generator().manual_seed(mix_seed(_SEED, split, i))
        drawn.copy_(bernoulli(chunk, generator)).mul_(255)
    return out
