"""The resident store: all images of a split in one uint8 tensor on the training device.

A batch is an index, a gather and a cast there: no worker processes, no Python per image.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from gencli.data.binarize import bernoulli
from gencli.data.conditions import Batch, Condition
from gencli.data.source_images import derive
from gencli.data.spec import DataInfo
from gencli.kinds import ConditionKind

if TYPE_CHECKING:
    from gencli.data.load import Split


class ResidentStore:
    """Batches of a split, as floats in [0, 1] on a device.

    Args:
        split: uint8 images, and what is known of them. On the CPU they are used where they are, not
            copied.
        info: Its `binarization` says whether every batch is drawn anew (`dynamic`).
        device: Where batches are wanted.
        kinds: The conditions that batches carry: those that the model takes.
    """

    def __init__(
        self,
        split: Split,
        info: DataInfo,
        device: torch.device | str,
        kinds: Collection[ConditionKind] = (),
    ) -> None:
        self.info = info
        self.images = split.images.to(device)
        self._known = Condition(split.labels, split.text).only(kinds).to(device)
        self._source = info.source if "source" in kinds else "none"
        self._dynamic = info.binarization == "dynamic"

    def __len__(self) -> int:
        return len(self.images)

    def batch(self, index: Tensor, generator: torch.Generator | None = None) -> Batch:
        """The images at `index`, and what is known of them.

        Args:
            index: (B,) int64, on the store's device.
            generator: Of dynamic binarisation, on that device; None means torch's global one.
        """
        known = self._known.map(lambda t: t.index_select(0, index))
        return self._batch(self.images.index_select(0, index), known, generator)

    def in_order(
        self, batch_size: int, generator: torch.Generator | None = None
    ) -> Iterator[Batch]:
        """All images once, as they are stored; the last batch may be smaller."""
        for start in range(0, len(self), batch_size):
            part = slice(start, start + batch_size)
            yield self._batch(self.images[part], self._known.rows(part), generator)

    def _batch(self, images: Tensor, known: Condition, generator: torch.Generator | None) -> Batch:
        if self._dynamic:
            pixels = bernoulli(images, generator).to(torch.float32)
        else:
            pixels = images.to(torch.float32).div_(255)
        if self._source != "none":
            known = replace(known, source=derive(pixels, self._source))
        return Batch(pixels, known)
