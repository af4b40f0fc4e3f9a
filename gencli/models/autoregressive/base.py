"""Models that draw one pixel after another, each given those before it."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from gencli.data.spec import DataInfo
from gencli.errors import UsageError
from gencli.models.autoregressive.ancestral import Conditional, ancestral
from gencli.models.autoregressive.configs import PixelCNNConfig, PixelRNNConfig, PixelSampling
from gencli.models.autoregressive.raster import to_raster
from gencli.models.base_rates import base_rates
from gencli.models.interface import (
    NOTHING,
    Batch,
    Condition,
    GenerativeModel,
    Loss,
    Optimizer,
    Stage,
    Step,
    Update,
)
from gencli.models.likelihoods import Likelihood, likelihood_for, log_prob_sum
from gencli.random import ImageGenerator


class AutoregressiveModel(GenerativeModel):
    """A model that writes `cached_conditional`, and draws and completes images by it."""

    likelihood: Likelihood

    def output_bias(self) -> Tensor | None:
        """The bias of each pixel's distribution, (D * P,) in raster order, if there is one."""
        return None

    def stages(self) -> tuple[Stage, ...]:
        """One; on binary data it starts from the base rates where there are biases for them."""
        begin = self.data.binary and self.output_bias() is not None
        return (Stage("train", self.updates(), start=self.start if begin else None),)

    @torch.no_grad()
    def start(self, data: Iterable[Batch]) -> None:
        """Set the biases to the base rates, so that no weight is spent on the edge's blackness."""
        bias = self.output_bias()
        if bias is None:
            return
        rates, _ = base_rates(to_raster(batch.images) for batch in data)
        bias.copy_(rates.logit())

    def cached_conditional(self, n: int, condition: Condition = NOTHING) -> Conditional:
        """Conditionals for drawing `n` images, without what the whole network repeats."""
        raise TypeError(f"{type(self).__name__} does not define cached_conditional()")

    def sample(
        self,
        n: int,
        *,
        generator: ImageGenerator,
        condition: Condition = NOTHING,
        temperature: float = PixelSampling.temperature,
    ) -> Tensor:
        """Draw `n` images (n, C, H, W), pixel by pixel."""
        return self.draw(n, generator, temperature, condition)

    def complete(
        self,
        x: Tensor,
        known_mask: Tensor,
        *,
        generator: ImageGenerator,
        condition: Condition = NOTHING,
        temperature: float = PixelSampling.temperature,
    ) -> Tensor:
        """Draw the unknown pixels of `x`, each given the known and drawn ones before it.

        Args:
            x: (n, C, H, W).
            known_mask: Bool, (H, W) or (n, 1, H, W).
            generator: Holds a stream for each image.
            condition: What is known beside.
            temperature: Below 1 prefers likely pixels, above 1 evens them out.
        """
        return self.draw(len(x), generator, temperature, condition, x, known_mask)

    def draw(
        self,
        n: int,
        generator: ImageGenerator,
        temperature: float,
        condition: Condition = NOTHING,
        given: Tensor | None = None,
        known: Tensor | None = None,
    ) -> Tensor:
        """Images (n, C, H, W); what `sample` and `complete` share."""
        uniforms = generator.uniform(self.data.n_pixels).to(next(self.parameters()))
        return ancestral(
            self.cached_conditional(n, condition), self.likelihood, uniforms, self.data.shape,
            temperature=temperature, given=given, known=known,
        )  # fmt: skip


class PixelNetwork(AutoregressiveModel):
    """A model whose network tells every pixel's distribution in one pass: `parameters_of`.

    Attributes:
        bias: (D, P), of each pixel's distribution.

    Raises:
        UsageError: If the features cannot be shared out to the colours.
    """

    bias: Tensor

    config: PixelCNNConfig | PixelRNNConfig

    def __init__(self, config: PixelCNNConfig | PixelRNNConfig, data: DataInfo) -> None:
        super().__init__(config, data)
        if config.channels % (2 * data.channels):
            raise UsageError(
                f"--channels {config.channels} cannot be shared out to the colours of the images.",
                f"Choose a multiple of {2 * data.channels}.",
            )
        self.likelihood = likelihood_for(data, config.likelihood, config.components, "softmax")
        self.discrete_levels = self.likelihood.levels

    def parameters_of(self, pixels: Tensor, condition: Condition = NOTHING) -> Tensor:
        """Each pixel's distribution given those before it: raster (B, D) -> (B, D, P)."""
        raise TypeError(f"{type(self).__name__} does not define parameters_of()")

    def log_prob(self, x: Tensor, condition: Condition = NOTHING) -> Tensor:
        """Exact log p(x), nats per image: (B, C, H, W) -> (B,)."""
        pixels = to_raster(x)
        return log_prob_sum(self.likelihood, self.parameters_of(pixels, condition), pixels)

    def loss(self, batch: Batch, step: Step) -> Loss:
        """-log p(x)."""
        return Loss(-self.log_prob(batch.images, batch.condition).mean())

    def updates(self) -> tuple[Update, ...]:
        """One, by Adam with weight decay."""
        optimizer = Optimizer("adamw", weight_decay=self.config.weight_decay)
        return (Update("model", self.loss, tuple(self.parameters()), optimizer, ema=True),)

    def output_bias(self) -> Tensor:
        """The bias of all pixels."""
        return self.bias.view(-1)
