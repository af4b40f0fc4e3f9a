"""What is measured, on what, from which seed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gencli.data.binarize import bernoulli
from gencli.data.load import ImageData, Split
from gencli.data.store import ResidentStore
from gencli.evaluation.likelihood import mean_and_error
from gencli.evaluation.results import KEYS, Kind, Metric
from gencli.models.interface import GenerativeModel
from gencli.random import ImageGenerator, mix_seed
from gencli.viz.grid import to_uint8

Progress = Callable[[str, int, int], None]
"""Called with (what, done, in all)."""

_BATCH = 250


@dataclass(frozen=True)
class Subject:
    """A model and the split that it is measured on.

    Attributes:
        model: In evaluation mode.
        data: The data set.
        images: One of its splits.
        seed: Of all random numbers.
        batch_size: Images per forward pass; None leaves it to each measurement.
        progress: Told how far a measurement is.
    """

    model: GenerativeModel
    data: ImageData
    images: Split
    seed: int
    batch_size: int | None
    progress: Progress

    def mean(
        self,
        key: str,
        per_image: Callable[[Tensor], Tensor],
        *,
        unit: str,
        kind: Kind,
        n: int | None,
        batch_size: int = _BATCH,
    ) -> Metric:
        """The mean of a figure over images of the split, with its standard error.

        Args:
            key: The metric's; its random numbers depend on the seed and this.
            per_image: Images (B, C, H, W) in [0, 1] -> (B,).
            unit: Of the figure.
            kind: Of the figure.
            n: How many images; None means all.
            batch_size: Images per forward pass, where the user gave none.
        """
        chosen, device = self.choose(n), self.model.device
        store = ResidentStore(chosen, self.data.info, device)
        # Every key meets the same images, dynamic binarisation included.
        drawing = torch.Generator(device).manual_seed(mix_seed(self.seed, 0))
        values: list[Tensor] = []
        with self.random(key):
            for batch in store.in_order(self.batch_size or batch_size, drawing):
                values.append(per_image(batch.images).double().cpu())
                self.progress(key, sum(map(len, values)), len(chosen))
        value, error = mean_and_error(torch.cat(values))
        return Metric(value, unit, kind, error, len(chosen))

    def choose(self, n: int | None) -> Split:
        """`n` images of the split at random, always the same for a seed; None means all."""
        if n is None or n >= len(self.images):
            return self.images
        generator = torch.Generator().manual_seed(mix_seed(self.seed, 1))
        rows = torch.randperm(len(self.images), generator=generator)[:n]
        return Split(self.images.images[rows], None)

    @contextmanager
    def random(self, key: str) -> Iterator[None]:
        """Seed torch's global generators for one key, and put them back."""
        device = self.model.device
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            torch.manual_seed(mix_seed(self.seed, 2, KEYS.index(key)))
            yield

    def draw(self, n: int, labels: Tensor | None, sampling: Mapping[str, Any]) -> Tensor:
        """Samples (n, C, H, W), uint8 on the CPU, as they would be written to files.

        Args:
            n: How many.
            labels: Classes (n,) to ask for.
            sampling: The model's own options of `sample`.

        Raises:
            DivergedError: If a pixel is not finite.
        """
        model, size, parts = self.model, self.batch_size or _BATCH, list[Tensor]()
        for first in range(0, n, size):
            rows = range(first, min(first + size, n))
            generator = ImageGenerator(self.seed, rows, model.device)
            asked = None if labels is None else labels[first : rows.stop]
            images = model.sample(len(rows), generator=generator, labels=asked, **sampling)
            parts.append(torch.from_numpy(to_uint8(images)).permute(0, 3, 1, 2))
            self.progress("samples", rows.stop, n)
        return torch.cat(parts)


def ink(images: Tensor, seed: int) -> Tensor:
    """Draw the pixels of uint8 images; those that are 0 or 255 already stay as they are."""
    return bernoulli(images, torch.Generator().manual_seed(seed)).to(torch.uint8).mul_(255)
