"""What models share that turn Gaussian noise into images: a U-Net, told or guided to a condition.

In training the condition is withheld at random, so that one network f serves classifier-free
guidance (Ho and Salimans 2022, arXiv:2207.12598) by

    f(x, t) + guidance (f(x, t, condition) - f(x, t)).
"""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from gencli.data.spec import DataInfo
from gencli.errors import UsageError
from gencli.models.diffusion.configs import GuidedConfig, GuidedSampling
from gencli.models.diffusion.samplers import OnStep
from gencli.models.diffusion.unet import unet_for
from gencli.models.interface import NOTHING, Batch, Condition, GenerativeModel, Loss, Step, Update
from gencli.models.text import with_gaps
from gencli.random import ImageGenerator

STEPS = 20
"""Steps of a sampler unless told otherwise."""

_UNKNOWN = 0.05  # the part of words that are unknown in training


class NoiseToImage(GenerativeModel):
    """A model that writes `errors` and `solve`, by what the U-Net tells of noisy images.

    Args:
        config: The model's options.
        data: What the images are.
        n_out: Planes for each channel that the U-Net tells.
    """

    bf16_sampling: ClassVar[bool] = True
    cpu_sample_batch: ClassVar[int] = 64  # what a layer gives stays in the caches

    config: GuidedConfig

    def __init__(self, config: GuidedConfig, data: DataInfo, n_out: int = 1) -> None:
        super().__init__(config, data)
        self.unet = unet_for(config, data, 1, n_out)

    def errors(self, images: Tensor, told: Tensor | None, perturbation: float) -> Tensor:
        """The training objective of each image, (B,), told what `embed` gives."""
        raise TypeError(f"{type(self).__name__} does not define errors()")

    def loss(self, batch: Batch, step: Step) -> Loss:
        """The mean error of the prediction, per dimension."""
        told = self.unet.embed(self._withheld(batch.condition, len(batch.images)))
        return Loss(self.errors(batch.images, told, self.config.perturbation).mean())

    def validation_loss(self, x: Tensor, condition: Condition = NOTHING) -> Tensor:
        """The training objective of each image, (B,), without condition and perturbation."""
        return self.errors(x, self.unet.embed(self.untold(len(x))), 0.0)

    def updates(self) -> tuple[Update, ...]:
        """One update over `loss`, with clipped gradients and averaged weights."""
        return (Update("model", self.loss, tuple(self.parameters()), clip_norm=1.0, ema=True),)

    def sample_latent(self, n: int, *, generator: ImageGenerator) -> Tensor:
        """The noise (n, C, H, W) that sampling starts from."""
        return generator.normal(*self.data.shape)

    def predict(self, x_t: Tensor, t: Tensor, told: Tensor | None) -> Tensor:
        """What the U-Net tells of x_t at times (n,) from 0 to 1000, told what `embed` gives."""
        out: Tensor = self.unet(x_t, t, told)
        return out.float()

    def guided(self, x_t: Tensor, t: Tensor, told: Tensor | None, guidance: float) -> Tensor:
        """As `predict`, guided: 0 is without condition, 1 with it; more moves on from there."""
        free = self.unet.embed(self.untold(x_t.shape[0]))
        if free is None or told is None or guidance == 0:
            return self.predict(x_t, t, free)
        if guidance == 1:
            return self.predict(x_t, t, told)
        both = torch.cat([x_t, x_t]), torch.cat([t, t]), torch.cat([free, told])
        unconditional, conditional = self.predict(*both).chunk(2)
        return torch.lerp(unconditional, conditional, guidance)

    def embed(self, condition: Condition) -> Tensor:
        """What the U-Net is told by a condition, (n, E).

        Raises:
            UsageError: If this model is told nothing.
        """
        told = self.unet.embed(condition)
        if told is None:
            raise UsageError("This model is told nothing.", "Train one with --conditional.")
        return told

    def decode_embedded(self, z: Tensor, told: Tensor, **own: Any) -> Tensor:
        """As `decode`, told vectors that `embed` gives, or others between them."""
        return self.solve(z, told, **asdict(type(self.config).Decoding.parsed(own)))

    def sample(
        self,
        n: int,
        *,
        generator: ImageGenerator,
        condition: Condition = NOTHING,
        sampler: str = GuidedSampling.sampler,
        steps: int | None = GuidedSampling.steps,
        guidance: float = GuidedSampling.guidance,
        on_step: OnStep | None = None,
    ) -> Tensor:
        """Draw `n` images (n, C, H, W) in [0, 1].

        Args:
            n: How many; `generator` holds one stream for each.
            generator: Where the noise comes from.
            condition: What to draw, for a model that is told.
            sampler: One of the model's own, which its options name.
            steps: Of the sampler; None is 20, or as many as the model has noise levels.
            guidance: 0 ignores the condition, 1 is the conditional model, more exaggerates it.
            on_step: Called after each step with its number, their count, and the images so far.

        Raises:
            UsageError: If there is no such sampler, or steps are out of range.
        """
        noise, told = self.sample_latent(n, generator=generator), self.unet.embed(condition)
        return self.solve(
            noise, told, sampler=sampler, steps=steps, guidance=guidance,
            generator=generator, on_step=on_step,
        )  # fmt: skip

    def solve(
        self,
        noise: Tensor,
        told: Tensor | None,
        *,
        sampler: str,
        steps: int | None,
        guidance: float,
        generator: ImageGenerator | None = None,
        on_step: OnStep | None = None,
    ) -> Tensor:
        """Noise -> images (n, C, H, W) in [0, 1]; what sampling and decoding share."""
        raise TypeError(f"{type(self).__name__} does not define solve()")

    def untold(self, n: int) -> Condition:
        """What `n` images are told that are told nothing: a class of none, an empty caption."""
        none = torch.full((n,), self.data.n_classes, device=self.device)
        empty = torch.zeros(n, self.data.caption_length, dtype=torch.int64, device=self.device)
        return Condition(none, empty).only(self.conditions)

    def _withheld(self, condition: Condition, n: int) -> Condition:
        """Some conditions withheld, and some words: the model learns what an unknown one is."""
        if condition.nothing:
            return condition
        kept = torch.rand(n, device=self.device) >= self.config.label_dropout
        if condition.text is not None:
            condition = replace(condition, text=with_gaps(condition.text, _UNKNOWN, 0))
        rows = torch.arange(n, device=self.device)
        return self.untold(n).followed_by(condition).rows(rows + n * kept)


def spread(n: int, device: torch.device) -> Tensor:
    """Numbers (n,) uniform in [0, 1), evenly spread by one random offset: their mean varies less.

    From torch's global generators.
    """
    return (torch.rand(1, device=device) + torch.arange(n, device=device) / n) % 1


def to_images(x: Tensor) -> Tensor:
    """Stretched by 1%: estimates of x_0 come within a level of black and white, seldom there."""
    return ((1.01 * x + 1) / 2).clamp(0, 1)


def column(values: Tensor) -> Tensor:
    """(n,) -> (n, 1, 1, 1)."""
    return values[:, None, None, None]
