"""A trained model ready to use, for notebooks and for the commands."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gencli import registry, runs
from gencli.config import fields_of, parse_value
from gencli.data.spec import DataInfo
from gencli.device import choose_device
from gencli.errors import RunError, UsageError
from gencli.models.abilities import HasEncoder, HasLabels, HasLatent
from gencli.models.interface import GenerativeModel
from gencli.random import ImageGenerator
from gencli.runs import Run
from gencli.training.checkpoint import load_model

OnStep = Callable[[int, int, Tensor], None]

SAMPLE_BATCH = 250
"""Images per forward pass unless told otherwise."""


@dataclass(frozen=True)
class LoadedModel:
    """A run's model with the weights of one of its checkpoints, in evaluation mode.

    Attributes:
        model: The network.
        run: Where it was trained.
        weights: "ema" for the moving average, "raw" for the last weights.
        step: The checkpoint's step.
    """

    model: GenerativeModel
    run: Run
    weights: str
    step: int

    @property
    def data(self) -> DataInfo:
        """What the model was trained on."""
        return self.model.data

    def sample(
        self,
        n: int = 1,
        *,
        seed: int = 0,
        labels: Tensor | int | None = None,
        batch_size: int = SAMPLE_BATCH,
        on_step: OnStep | None = None,
        **options: Any,
    ) -> Tensor:
        """Draw images (n, C, H, W) in [0, 1]; image i depends on (seed, i) alone.

        Args:
            n: How many.
            seed: Of the whole draw.
            labels: One class for all, or (n,) classes, for conditional models.
            batch_size: Images per forward pass.
            on_step: Called as `on_step(step, total, images)` by samplers that go in steps.
            **options: The model's own, such as `temperature` or `steps`.

        Raises:
            UsageError: If the model does not take an option, or takes no labels.
        """
        chunks = self.sample_batches(
            n, seed=seed, labels=labels, batch_size=batch_size, on_step=on_step, **options
        )
        return torch.cat(list(chunks))

    @torch.no_grad()
    def sample_batches(
        self,
        n: int,
        *,
        seed: int = 0,
        labels: Tensor | int | None = None,
        batch_size: int = SAMPLE_BATCH,
        on_step: OnStep | None = None,
        **options: Any,
    ) -> Iterator[Tensor]:
        """What `sample` gives, batch by batch, on the CPU."""
        options = self.given_options(**options)
        classes = self.labels_drawn(n, labels)
        if on_step is not None and self.shows_steps():
            options["on_step"] = on_step
        for first in range(0, n, batch_size):
            indices = range(first, min(first + batch_size, n))
            generator = ImageGenerator(seed, indices, self.model.device)
            part = None if classes is None else classes[first : indices.stop]
            images = self.model.sample(len(indices), generator=generator, labels=part, **options)
            yield images.float().cpu()

    def labels_drawn(self, n: int, labels: Tensor | int | None) -> Tensor | None:
        """The classes (n,) that `sample` draws; None for unconditional models.

        Raises:
            UsageError: If labels are asked of an unconditional model, or there is no such class.
        """
        n_classes = self.data.n_classes
        if not (isinstance(self.model, HasLabels) and self.model.conditional):
            if labels is not None:
                raise UsageError(
                    f"{self.run.model} was not trained with labels.",
                    "Leave out --label, or train a conditional model such as cgan.",
                )
            return None
        if labels is None:  # every class in turn
            classes = torch.arange(n) % n_classes
        else:
            classes = torch.as_tensor(labels).expand(n)
        if n and not 0 <= int(classes.min()) <= int(classes.max()) < n_classes:
            raise UsageError(
                "There is no such class.", f"The classes are numbered 0 to {n_classes - 1}."
            )
        return classes.to(self.model.device)

    def given_options(self, **options: Any) -> dict[str, Any]:
        """The sampling options that are not None.

        Raises:
            UsageError: If the model does not take one of them.
        """
        given = {name: value for name, value in options.items() if value is not None}
        allowed = self.sampling_options()
        for name in given:
            if name not in allowed:
                raise UsageError(
                    f"{self.run.model} has no sampling option --{name.replace('_', '-')}.",
                    f"It takes: {', '.join(sorted(allowed)) or 'none of its own'}.",
                )
        return given

    def shows_steps(self) -> bool:
        """Whether sampling goes in steps that can be watched."""
        return "on_step" in inspect.signature(self.model.sample).parameters

    def sampling_options(self) -> dict[str, inspect.Parameter]:
        """The keyword arguments that this model's `sample` has beyond the common ones."""
        common = {"self", "n", "generator", "labels", "on_step"}
        signature = inspect.signature(self.model.sample)
        return {name: p for name, p in signature.parameters.items() if name not in common}

    @torch.no_grad()
    def encode(self, images: Tensor) -> Tensor:
        """Images (B, C, H, W) in [0, 1] -> latents (B, ...).

        Raises:
            UsageError: If the model has no encoder.
        """
        if not isinstance(self.model, HasEncoder):
            raise UsageError(
                f"{self.run.model} has no encoder.", f"These have one: {having('encoder')}."
            )
        return self.model.encode(images.to(self.model.device)).cpu()

    @torch.no_grad()
    def decode(self, z: Tensor) -> Tensor:
        """Latents (n, ...) -> images (n, C, H, W) in [0, 1].

        Raises:
            UsageError: If the model has no latent space.
        """
        return self.latent().decode(z.to(self.model.device)).float().cpu()

    @torch.no_grad()
    def sample_latent(self, n: int, *, seed: int = 0) -> Tensor:
        """Latents (n, ...) from the prior.

        Raises:
            UsageError: If the model has no latent space.
        """
        generator = ImageGenerator(seed, range(n), self.model.device)
        return self.latent().sample_latent(n, generator=generator).cpu()

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


def having(capability: str) -> str:
    """The names of the models with a capability, for messages."""
    return ", ".join(s.name for s in registry.models().values() if capability in s.capabilities)


def build_model(model: str, config: dict[str, Any], info: dict[str, Any]) -> GenerativeModel:
    """A model with fresh weights from what run.json records.

    Raises:
        RunError: If the record does not fit this version of the model.
    """
    try:
        cls = registry.find(model).load()
        config_class = inspect.getmodule(cls).Config  # type: ignore[union-attr]
        known = {f.name: f for f in fields_of(config_class)}
        values = {name: parse_value(known[name], value) for name, value in config.items()}
        data = DataInfo(**{**info, "classes": tuple(info["classes"])})
    except (KeyError, TypeError, UsageError) as error:
        raise RunError(
            f"This run's {model} does not fit this version of gencli: {error}.", "Train again."
        ) from None
    return cls(config_class(**values), data)  # type: ignore[call-arg]


def load(
    reference: str, *, checkpoint: str = "last", ema: bool = True, device: str = "auto"
) -> LoadedModel:
    """The model of a run, ready to sample, encode and decode.

    Args:
        reference: A run's directory or name, or a model's name for its newest run.
        checkpoint: `last`, `best` (on validation), or a step's number.
        ema: Prefer averaged weights, where there are any.
        device: auto, cpu, cuda, cuda:N or mps.

    Raises:
        RunError: If there is no such run or checkpoint, or its files are damaged.
        UsageError: If the device is not there.
    """
    run = runs.find(reference)
    saved = run.checkpoint(checkpoint)
    model = build_model(run.model, run.record["config"], run.record["data"]["info"])
    weights = load_model(model, saved, ema=ema)
    model.to(choose_device(device)).eval()
    return LoadedModel(model, run, weights, saved.step)
