"""Batches of a split: an index, a gather and a cast, no worker processes, no Python per image.

A resident store has all images in one uint8 tensor on the training device. Where a split is too
large for the memory, a mapped store leaves them in their file, and a thread gathers the batch that
comes next while the device computes. Both give the same batches to the last bit.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
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
    from gencli.data.splits import Split


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
        self._n = len(split)
        self._keep(split, torch.device(device))
        self._known = Condition(split.labels, split.text).only(kinds).to(device)
        self._source = info.source if "source" in kinds else "none"
        self._dynamic = info.binarization == "dynamic"
        self._channels = split.channels

    def __len__(self) -> int:
        return self._n

    def _keep(self, split: Split, device: torch.device) -> None:
        self.images = split.whole.to(device)

    def _at(self, index: Tensor) -> Tensor:
        return self.images.index_select(0, index)

    def _part(self, part: slice) -> Tensor:
        return self.images[part]

    def expect(self, index: Tensor) -> None:
        """Say which batch comes after the next one, for a store that can begin with it."""

    def batch(self, index: Tensor, generator: torch.Generator | None = None) -> Batch:
        """The images at `index`, and what is known of them.

        Args:
            index: (B,) int64, on the store's device.
            generator: Of dynamic binarisation, on that device; None means torch's global one.
        """
        known = self._known.map(lambda t: t.index_select(0, index))
        return self._batch(self._at(index), known, generator)

    def in_order(
        self, batch_size: int, generator: torch.Generator | None = None
    ) -> Iterator[Batch]:
        """All images once, as they are stored; the last batch may be smaller."""
        for start in range(0, len(self), batch_size):
            part = slice(start, start + batch_size)
            yield self._batch(self._part(part), self._known.rows(part), generator)

    def _batch(self, whole: Tensor, known: Condition, generator: torch.Generator | None) -> Batch:
        images = whole[:, : self._channels]
        if self._dynamic:
            pixels = bernoulli(images, generator).to(torch.float32)
        else:
            pixels = images.to(torch.float32).div_(255)
        if self._source == "given":
            source = whole[:, self._channels :].to(torch.float32).div_(255)
            known = replace(known, source=source)
        elif self._source != "none":
            known = replace(known, source=derive(pixels, self._source))
        return Batch(pixels, known)


class MappedStore(ResidentStore):
    """The same batches of images that stay in their file."""

    def _keep(self, split: Split, device: torch.device) -> None:
        self._split, self._device = split, device
        self._thread = ThreadPoolExecutor(1, "gather")
        self._expected: tuple[Tensor, Future[Tensor]] | None = None

    def _gathered(self, index: Tensor) -> Tensor:
        chosen = self._split.chosen
        return self._split.stored[index if chosen is None else chosen[index]]

    def _at(self, index: Tensor) -> Tensor:
        index = index.cpu()
        expected, self._expected = self._expected, None
        if expected is not None and torch.equal(expected[0], index):
            return expected[1].result().to(self._device)
        return self._gathered(index).to(self._device)

    def _part(self, part: slice) -> Tensor:
        return self._gathered(torch.arange(self._n)[part]).to(self._device)

    def expect(self, index: Tensor) -> None:
        """Let the thread gather these images; `batch` of the same index takes them."""
        index = index.cpu()
        self._expected = index, self._thread.submit(self._gathered, index)


def store_of(
    split: Split,
    info: DataInfo,
    device: torch.device | str,
    kinds: Collection[ConditionKind] = (),
) -> ResidentStore:
    """The store that suits a split's size; the arguments are those of `ResidentStore`."""
    return (MappedStore if split.is_large else ResidentStore)(split, info, device, kinds)
