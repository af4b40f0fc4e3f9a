"""What is measured, on what, from which seed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gencli.data.binarize import bernoulli
from gencli.data.conditions import NOTHING, Batch, Condition, in_turn
from gencli.data.splits import ImageData, Split
from gencli.data.store import ResidentStore
from gencli.evaluation.likelihood import mean_and_error
from gencli.evaluation.results import KEYS, Kind, Metric
from gencli.kinds import Progress
from gencli.models.drawing import draw
from gencli.models.interface import GenerativeModel
from gencli.processes import ALONE, Processes
from gencli.random import mix_seed
from gencli.viz.grid import to_uint8

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
        processes: Measure whole batches each; all of them find the same.
    """

    model: GenerativeModel
    data: ImageData
    images: Split
    seed: int
    batch_size: int | None
    progress: Progress
    own: Mapping[str, Any]
    sampling: Mapping[str, Any]
    processes: Processes = ALONE

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
        values = self.over(
            key, store.in_order(self.batch_size or batch_size, drawing), len(chosen),
            lambda batch, _: per_image(batch.images, batch.condition),
        )  # fmt: skip
        value, error = mean_and_error(values)
        return Metric(value, unit, kind, error, len(chosen))

    def over(
        self,
        key: str,
        batches: Iterable[Batch],
        n: int,
        figure: Callable[[Batch, int], Tensor],
        *shape: int,
        what: str | None = None,
    ) -> Tensor:
        """Figures of images, batch by batch, each with its own random numbers; (n, *shape) float64.

        Args:
            key: The metric's; a batch's random numbers depend on the seed, this and its number.
            batches: In order; several processes deal them out.
            n: Images of all batches.
            figure: A batch (B images) and the number of its first image -> (B, *shape).
            *shape: Of the figures of an image.
            what: Told of the progress; None is the key.
        """
        values, at = torch.zeros(n, *shape, dtype=torch.float64), 0
        for number, batch in enumerate(batches):
            end = at + len(batch.images)
            if number % self.processes.world == self.processes.rank:
                with self.random(key, number):
                    values[at:end] = figure(batch, at).double().cpu()
                self.progress(what or key, end, n)
            at = end
        self.processes.add([values])  # the others' are zero here
        return values

    def choose(self, n: int | None) -> Split:
        """`n` images of the split at random, always the same for a seed; None means all."""
        if n is None or n >= len(self.images):
            return self.images
        generator = torch.Generator().manual_seed(mix_seed(self.seed, 1))
        rows = torch.randperm(len(self.images), generator=generator)[:n]
        return self.images.rows(rows)

    @contextmanager
    def random(self, key: str, number: int = 0) -> Iterator[None]:
        """Seed torch's global generators for a batch of one key, and put them back."""
        device = self.model.device
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            of_batch = (number,) if number else ()
            torch.manual_seed(mix_seed(self.seed, 2, KEYS.index(key), *of_batch))
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
            options=self.sampling, processes=self.processes,
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

    def by_the_first(self, find: Callable[[], dict[str, Metric]]) -> dict[str, Metric]:
        """Figures that the first process finds and the others are told."""
        told = self.processes.told(lambda: {key: m.to_json() for key, m in find().items()})
        return {key: Metric(**fields) for key, fields in told.items()}

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
