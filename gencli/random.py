"""Random numbers for sampling: one stream per image.

Image i of a seed is a function of (seed, i) alone: it is the same in a batch of 1 and of 1,000, as
in the `StackedRandomGenerator` idea of Karras et al. 2022 (arXiv:2206.00364).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

_MASK = (1 << 64) - 1


def mix_seed(*parts: int) -> int:
    """Hash integers into one 63-bit seed (splitmix64); nearby integers give unrelated seeds."""
    state = 0x9E3779B97F4A7C15
    for part in parts:
        state = (state ^ (part & _MASK)) * 0xBF58476D1CE4E5B9 & _MASK
        state = (state ^ (state >> 27)) * 0x94D049BB133111EB & _MASK
        state ^= state >> 31
    return state >> 1


class ImageGenerator:
    """A stream of random numbers for each of a set of images.

    Args:
        seed: The seed of the whole draw.
        indices: Which images of that draw; row r of every tensor drawn belongs to `indices[r]`.
        device: Where the numbers are wanted. They are drawn on the CPU, so that a seed means the
            same image on every device.
    """

    def __init__(
        self, seed: int, indices: Sequence[int], device: torch.device | str = "cpu"
    ) -> None:
        self.device = torch.device(device)
        self._streams = [torch.Generator().manual_seed(mix_seed(seed, i)) for i in indices]

    def __len__(self) -> int:
        return len(self._streams)

    def normal(self, *shape: int) -> Tensor:
        """Standard normal numbers (len(self), *shape)."""
        return self._fill(shape, lambda row, stream: row.normal_(generator=stream))

    def uniform(self, *shape: int) -> Tensor:
        """Numbers (len(self), *shape) uniform in [0, 1)."""
        return self._fill(shape, lambda row, stream: row.uniform_(generator=stream))

    def _fill(
        self, shape: tuple[int, ...], draw: Callable[[Tensor, torch.Generator], Tensor]
    ) -> Tensor:
        out = torch.empty(len(self._streams), *shape)
        for row, stream in zip(out.unbind(0), self._streams, strict=True):
            draw(row, stream)
        return out.to(self.device)
