"""The resident store: all images of a split in one uint8 tensor on the training device.

A batch is an index, a gather and a cast there: no worker processes, no Python per image.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from gencli.data.binarize import bernoulli
from gencli.data.spec import DataInfo
from gencli.models.interface import Batch

if TYPE_CHECKING:
    from gencli.data.load import Split


class ResidentStore:
    """Batches of a split, as floats in [0, 1] on a device.

    Args:
        split: uint8 images and their labels. On the CPU they are used where they are, not copied.
        info: Its `binarization` says whether every batch is drawn anew (`dynamic`).
        device: Where batches are wanted.
    """

    def __init__(self, split: Split, info: DataInfo, device: torch.device | str) -> None:
        self.info = info
        self.images = split.images.to(device)
        self.labels = None if split.labels is None else split.labels.to(device)
        self._dynamic = info.binarization == "dynamic"

    def __len__(self) -> int:
        return len(self.images)

    def batch(self, index: Tensor, generator: torch.Generator | None = None) -> Batch:
        """The images and labels at `index`.

        Args:
            index: (B,) int64, on the store's device.
            generator: Of dynamic binarisation, on that device; None means torch's global one.
        """
        images = self._cast(self.images.index_select(0, index), generator)
        return Batch(images, None if self.labels is None else self.labels.index_select(0, index))

    def in_order(
        self, batch_size: int, generator: torch.Generator | None = None
    ) -> Iterator[Batch]:
        """All images once, as they are stored; the last batch may be smaller."""
        for start in range(0, len(self), batch_size):
            part = slice(start, start + batch_size)
            labels = None if self.labels is None else self.labels[part]
            yield Batch(self._cast(self.images[part], generator), labels)

    def _cast(self, images: Tensor, generator: torch.Generator | None) -> Tensor:
        if self._dynamic:
            return bernoulli(images, generator).to(torch.float32)
        return images.to(torch.float32).div_(255)
