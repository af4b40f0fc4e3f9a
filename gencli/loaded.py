"""A trained model ready to use, for notebooks and for the commands."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from gencli import arguments
from gencli.arguments import whole
from gencli.data.conditions import Condition, checked, in_turn
from gencli.data.spec import DataInfo
from gencli.errors import UsageError
from gencli.memory import see_that_they_fit
from gencli.models.abilities import (
    Abilities,
    HasEmbedding,
    HasEncoder,
    HasLatent,
    HasLogProb,
    abilities_of,
    having,
)
from gencli.models.drawing import OnStep, draw
from gencli.models.interface import GenerativeModel
from gencli.models.latent.paths import path
from gencli.processes import ALONE, Processes
from gencli.random import ImageGenerator
from gencli.runs import Run

if TYPE_CHECKING:
    from gencli.evaluation.results import Metric


@dataclass(frozen=True, repr=False)
class LoadedModel:
    """A run's model with the weights of one of its checkpoints, in evaluation mode.

    Attributes:
        model: The network.
        run: Where it was trained.
        weights: "ema" for the moving average, "raw" for the last weights.
        step: The checkpoint's step.
        processes: Those that have it, and draw together.
    """

    model: GenerativeModel
    run: Run
    weights: str
    step: int
    processes: Processes = ALONE

    @property
    def data(self) -> DataInfo:
        """What the model was trained on."""
        return self.model.data

    def sample(
        self,
        n: int = 1,
        *,
        seed: int = 0,
        condition: Condition | None = None,
        batch_size: int | None = None,
        on_step: OnStep | None = None,
        **options: Any,
    ) -> Tensor:
        """Draw images (n, C, H, W) in [0, 1]; image i depends on (seed, i) and its condition alone.

        Args:
            n: How many.
            seed: Of the whole draw.
            condition: What to draw, of the kinds that the model takes; None asks for nothing in
                particular, each class in turn.
            batch_size: Images per forward pass.
            on_step: Called as `on_step(step, total, images)` by samplers that go in steps.
            **options: The model's own, such as `temperature` or `steps`.

        Raises:
            UsageError: If a number is none, or the model does not take an option or the condition.
        """
        self.see_that_they_fit(whole(n, "n"))
        batches = self.sample_batches(
            n, seed=seed, condition=condition, batch_size=batch_size, on_step=on_step, **options
        )
        return torch.cat(list(batches))

    def sample_batches(
        self,
        n: int,
        *,
        seed: int = 0,
        first: int = 0,
        condition: Condition | None = None,
        batch_size: int | None = None,
        on_step: OnStep | None = None,
        **options: Any,
    ) -> Iterator[Tensor]:
        """What `sample` gives, batch by batch, on the CPU; from image `first` of the seed on."""
        n, seed, first = whole(n, "n"), whole(seed, "seed", 0), whole(first, "first", 0)
        size = None if batch_size is None else whole(batch_size, "batch_size")
        own, told = self.sampling(options), self.told(n, condition)
        return draw(
            self.model, n, seed=seed, first=first, condition=told,
            batch_size=size, options=own, on_step=on_step, processes=self.processes,
        )  # fmt: skip

    def see_that_they_fit(self, n: int) -> None:
        """See that `n` images fit in memory.

        Raises:
            UsageError: If they do not.
        """
        n_bytes = 4 * n * self.data.n_pixels
        see_that_they_fit(n_bytes, f"{n:,} images", "Draw fewer at once, with several --seed.")

    def sampling(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """The model's sampling options, with these values.

        Raises:
            UsageError: If there is no such option, or a value does not fit.
        """
        return dataclasses.asdict(self.model.config.sampling().parsed(given))

    def told(self, n: int, condition: Condition | None = None) -> Condition:
        """What `n` images are drawn by: the condition, or nothing in particular.

        Raises:
            UsageError: If it is none for this model.
        """
        kinds = self.model.conditions
        if condition is None:
            return in_turn(self.data, kinds, n)
        checked(condition, self.data, kinds, n)
        return condition

    @property
    def abilities(self) -> Abilities:
        """What the model can do."""
        return abilities_of(self.model)

    @torch.no_grad()
    def encode(self, images: Tensor, condition: Condition | None = None) -> Tensor:
        """Images (B, C, H, W) in [0, 1] -> latents (B, ...).

        Raises:
            UsageError: If the model has no encoder, or these are no images of its data.
        """
        if not isinstance(self.model, HasEncoder):
            raise UsageError(
                f"{self.run.model} has no encoder.", f"These have one: {having('encoder')}."
            )
        x = arguments.images(images, self.data, self.model.device)
        return self.model.encode(x, self.told(len(x), condition).to(x.device)).cpu()

    @torch.no_grad()
    def decode(self, z: Tensor, condition: Condition | None = None, **options: Any) -> Tensor:
        """Latents (n, ...) -> images (n, C, H, W) in [0, 1].

        Args:
            z: As `sample_latent` and `encode` give them.
            condition: As for `sample`.
            **options: The model's own options of decoding.

        Raises:
            UsageError: If the model has no latent space, these are no latents of it, or it does not
                take an option.
        """
        z = self._latents(z)
        self.see_that_they_fit(len(z))
        told = self.told(len(z), condition).to(z.device)
        own = dataclasses.asdict(type(self.model.config).Decoding.parsed(options))
        return self.latent().decode(z, told, **own).float().cpu()

    @torch.no_grad()
    def decode_between(
        self, z: Tensor, start: Condition, end: Condition, points: int, **options: Any
    ) -> Tensor:
        """Latents (n, ...) -> images (n, points, C, H, W) on the way from a condition to another.

        The latent stays the same; what the model is told goes on a straight line, both ends
        included, between the vectors that it makes of the two conditions.

        Args:
            z: As `sample_latent` and `encode` give them.
            start: Of `n` images.
            end: Likewise.
            points: At least 2.
            **options: The model's own options of decoding.

        Raises:
            UsageError: If the model has no latent space or knows no vectors of conditions.
        """
        model, z = self.model, self._latents(z)
        if not isinstance(model, HasEmbedding):
            raise UsageError(
                f"{self.run.model} cannot go from one condition to another.",
                f"These can: {having('embedding')}.",
            )
        own = dataclasses.asdict(type(self.model.config).Decoding.parsed(options))
        first, last = (self.told(len(z), of).to(self.model.device) for of in (start, end))
        way = path(model.embed(first), model.embed(last), points, "linear")
        images = [model.decode_embedded(z.to(way), told, **own) for told in way.unbind(1)]
        return torch.stack(images, 1).float().cpu()

    @torch.no_grad()
    def log_prob(self, images: Tensor, condition: Condition | None = None) -> Tensor:
        """Exact log-probabilities (B,) of images (B, C, H, W) in [0, 1], in nats.

        Raises:
            UsageError: If the model has no exact likelihood, or these are no images of its data.
        """
        if not isinstance(self.model, HasLogProb):
            raise UsageError(
                f"{self.run.model} has no exact likelihood.",
                f"These have one: {having('log_prob')}.",
            )
        x = arguments.images(images, self.data, self.model.device, exactly_binary=True)
        return self.model.log_prob(x, self.told(len(x), condition).to(x.device)).cpu()

    def interpolate(
        self, points: int = 10, *, seed: int = 0, condition: Condition | None = None, **options: Any
    ) -> Tensor:
        """Images (points, C, H, W) along the path between two latents of a seed.

        Args:
            points: On the path, its ends included; at least 2.
            seed: Of the two latents.
            condition: Of all `points` images.
            **options: The model's own options of decoding.

        Raises:
            UsageError: If the model has no latent space.
        """
        z, points = self.sample_latent(2, seed=seed), whole(points, "points", 2)
        if condition is None:  # the same for the whole way
            condition = self.told(1).rows(torch.zeros(points, dtype=torch.int64))
        return self.decode(path(z[:1], z[1:], points)[0], condition, **options)

    def evaluate(
        self,
        *,
        split: Literal["test", "val"] = "test",
        metrics: Collection[str] | None = None,
        **options: Any,
    ) -> dict[str, Metric]:
        """Measure the model on the data that it was trained on.

        Args:
            split: Report on `test`, select on `val`.
            metrics: Only these; None means all that the model can have.
            **options: Of `gencli.evaluation.evaluate.evaluate`: `n`, `k`, `n_samples`, `seed`,
                `batch_size`, and `own` and `sampling` for the model's own.

        Raises:
            DataError: If the data cannot be had, or have changed since the training.
        """
        from gencli.data.load import load as load_images
        from gencli.evaluation.evaluate import evaluate
        from gencli.training.session import recorded

        data = load_images(recorded(self.run)[1])
        self.run.see_that_it_saw(data.name, data.fingerprint)
        return evaluate(self.model, data, split=split, metrics=metrics, **options)

    def __repr__(self) -> str:
        """Such as `<vae vae-glyphs-0001, step 1720, ema weights, on cpu>`."""
        name = f"{self.run.model} {self.run.name}"
        return f"<{name}, step {self.step}, {self.weights} weights, on {self.model.device}>"

    @torch.no_grad()
    def sample_latent(self, n: int, *, seed: int = 0) -> Tensor:
        """Latents (n, ...) from the prior.

        Raises:
            UsageError: If the model has no latent space.
        """
        n, seed = whole(n, "n"), whole(seed, "seed", 0)
        generator = ImageGenerator(seed, range(n), self.model.device)
        return self.latent().sample_latent(n, generator=generator).cpu()

    def _latents(self, z: Tensor) -> Tensor:
        """Latents that were given, on the model's device."""
        return arguments.latents(z, self.sample_latent(1).shape[1:], self.model.device)

    def latent(self) -> HasLatent:
        """The model as one with a latent space.

        Raises:
            UsageError: If it has none.
        """
        if not isinstance(self.model, HasLatent):
            raise UsageError(
                f"{self.run.model} has no latent space.", f"These have one: {having('latent')}."
            )
        return self.model
