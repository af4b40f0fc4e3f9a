"""What is measured, on what, from which seed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gencli.data.binarize import bernoulli
from gencli.data.conditions import NOTHING, Condition, in_turn
from gencli.data.splits import ImageData, Split
from gencli.data.store import ResidentStore
from gencli.evaluation.likelihood import mean_and_error
from gencli.evaluation.results import KEYS, Kind, Metric
from gencli.models.drawing import draw
from gencli.models.interface import GenerativeModel
from gencli.random import mix_seed
from gencli.viz.grid import to_uint8

Report = Callable[[str, int, int], None]
"""Called with (what, done, in all)."""

_BATCH = 250
_PIECE = 5_000  # training images that a judge looks at between two reports


@dataclass(frozen=True)
class Measuring:
    """A model and the split that it is measured on.

    Attributes:
        model: In evaluation mode.
        data: The data set.
        images: One of its splits.
        seed: Of all random numbers.
        batch_size: Images per forward pass; None leaves it to each measurement.
        progress: Told how far a measurement is.
        own: Options of the model's own `Measuring`.
        sampling: Options of the model's own `sample`.
    """

    model: GenerativeModel
    data: ImageData
    images: Split
    seed: int
    batch_size: int | None
    progress: Report
    own: Mapping[str, Any]
    sampling: Mapping[str, Any]

    def mean(
        self,
        key: str,
        per_image: Callable[[Tensor, Condition], Tensor],
        *,
        unit: str,
        kind: Kind,
        n: int | None,
        batch_size: int = _BATCH,
    ) -> Metric:
        """The mean of a figure over images of the split, with its standard error.

        Args:
            key: The metric's; its random numbers depend on the seed and this.
            per_image: Images (B, C, H, W) in [0, 1] and their condition -> (B,).
            unit: Of the figure.
            kind: Of the figure.
            n: How many images; None means all.
            batch_size: Images per forward pass, where the user gave none.
        """
        chosen, device = self.choose(n), self.model.device
        store = ResidentStore(chosen, self.data.info, device, self.model.conditions)
        # Every key meets the same images, dynamic binarisation included.
        drawing = torch.Generator(device).manual_seed(mix_seed(self.seed, 0))
        values: list[Tensor] = []
        with self.random(key):
            for batch in store.in_order(self.batch_size or batch_size, drawing):
                values.append(per_image(batch.images, batch.condition).double().cpu())
                self.progress(key, sum(map(len, values)), len(chosen))
        value, error = mean_and_error(torch.cat(values))
        return Metric(value, unit, kind, error, len(chosen))

    def choose(self, n: int | None) -> Split:
        """`n` images of the split at random, always the same for a seed; None means all."""
        if n is None or n >= len(self.images):
            return self.images
        generator = torch.Generator().manual_seed(mix_seed(self.seed, 1))
        rows = torch.randperm(len(self.images), generator=generator)[:n]
        return self.images.rows(rows)

    @contextmanager
    def random(self, key: str) -> Iterator[None]:
        """Seed torch's global generators for one key, and put them back."""
        device = self.model.device
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            torch.manual_seed(mix_seed(self.seed, 2, KEYS.index(key)))
            yield

    def draw(self, n: int) -> tuple[Tensor, Condition]:
        """Samples (n, C, H, W), uint8 on the CPU, as they would be written to files.

        Conditional models are asked for what the images of the split are, or for every class
        equally often.

        Raises:
            DivergedError: If a pixel is not finite.
        """
        model, parts = self.model, list[Tensor]()
        known = NOTHING
        if model.conditions:
            store = ResidentStore(self.images, self.data.info, "cpu", model.conditions)
            drawing = torch.Generator().manual_seed(mix_seed(self.seed, 0))
            known = next(store.in_order(min(n, len(store)), drawing)).condition
        condition = in_turn(self.data.info, model.conditions, n, known)
        for images in draw(
            model, n, seed=self.seed, condition=condition, batch_size=self.batch_size,
            options=self.sampling,
        ):  # fmt: skip
            parts.append(torch.from_numpy(to_uint8(images)).permute(0, 3, 1, 2))
            self.progress("samples", sum(map(len, parts)), n)
        return torch.cat(parts), condition

    def beside(self, samples: Tensor) -> tuple[Tensor, Tensor]:
        """The split's images and samples, uint8, as they are compared.

        On binary data the pixels of both are drawn, with the grey level as the probability.
        """
        real, seed = self.images.images, mix_seed(self.seed, 3)
        if self.data.info.binary:
            real, samples = ink(real, seed), ink(samples, mix_seed(seed, 1))
        return real, samples

    def training_features(
        self, look: Callable[[Tensor], tuple[Tensor, Tensor]], seed: int
    ) -> Tensor:
        """Features (N, D) of all training images, by a judge.

        Args:
            look: The judge.
            seed: Of the pixels that are drawn, on binary data.
        """
        train, parts = self.data.train, list[Tensor]()
        for start in range(0, len(train), _PIECE):
            images = train.rows(slice(start, start + _PIECE)).images
            if self.data.info.binary:
                images = ink(images, mix_seed(seed, 2, start))
            parts.append(look(images)[0])
            self.progress("training images", min(start + _PIECE, len(train)), len(train))
        return torch.cat(parts)


def ink(images: Tensor, seed: int) -> Tensor:
    """Draw the pixels of uint8 images; those that are 0 or 255 already stay as they are."""
    return bernoulli(images, torch.Generator().manual_seed(seed)).to(torch.uint8).mul_(255)
