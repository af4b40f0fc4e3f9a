"""Diffusion on discrete pixels, D3PM: Austin et al. 2021, arXiv:2107.03006.

Pixels keep to their levels and are noised by a Markov kernel: `uniform` draws some anew, `gaussian`
moves them to levels nearby, `absorbing` masks them for good, which makes masked diffusion. A U-Net
tells of each pixel's x_0 in the light of all of x_t, and is trained by the variational bound,

    min  E_q [ KL(q(x_T | x_0) || p(x_T)) + sum_t KL(q(x_{t-1} | x_t, x_0) || p(x_{t-1} | x_t)) ],

where the term of t = 1 is -log p(x_0 | x_1); with `--auxiliary` lambda, each term gains lambda
times the cross-entropy of x_0. On two levels, `uniform` is the binomial diffusion of
Sohl-Dickstein et al. 2015 (arXiv:1503.03585).

A masked pixel can be asked for in the light of any others, so that any part of an image is
completed by drawing it: with `absorbing` from p(unknown | known), up to the network's error. The
other kernels are shown the known pixels noised, which is right in the limit of a perfect network
that were also told of them, and only near it otherwise.

Departures: the U-Net is that of `ddpm`, with a logit for each level, and reads levels as numbers;
p(x_0 | x_t) is the posterior of those weights and the pixel's own noise; the Gaussian kernel is a
heat kernel (see `kernels`); masked terms are drawn by how many pixels are masked (see `masking`).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gencli.data.spec import DataInfo
from gencli.errors import UsageError
from gencli.models.diffusion import chain, masking
from gencli.models.diffusion.base import spread
from gencli.models.diffusion.configs import (
    BinomialDiffusionConfig,
    D3PMConfig,
    DiscreteSampling,
    DiscreteTerms,
)
from gencli.models.diffusion.kernels import GaussianKernel, UniformKernel
from gencli.models.diffusion.samplers import OnStep
from gencli.models.diffusion.unet import unet_for
from gencli.models.interface import (
    NOTHING,
    Batch,
    Condition,
    GenerativeModel,
    Loss,
    Step,
    Update,
)
from gencli.random import ImageGenerator

STEPS = 100
"""Steps of the chain, unless told otherwise."""


class D3PM(GenerativeModel):
    """A chain of discrete states, and a U-Net that runs it backwards."""

    cpu_sample_batch = 64  # what a layer gives stays in the caches

    config: D3PMConfig | BinomialDiffusionConfig
    weights: Tensor

    def __init__(self, config: D3PMConfig | BinomialDiffusionConfig, data: DataInfo) -> None:
        super().__init__(config, data)
        self.levels = self.discrete_levels = 2 if data.binary else 256
        self.masks = config.kernel == "absorbing"
        self.unet = unet_for(
            config, data, 2 if self.masks else 1, 1 if data.binary else self.levels
        )
        if self.masks:  # a function of the config, as the kernels are, so not saved
            weights = masking.count_weights(data.n_pixels, config.timesteps)
            self.register_buffer("weights", weights, persistent=False)
        else:
            kind = UniformKernel if config.kernel == "uniform" else GaussianKernel
            self.kernel = kind(self.levels, config.timesteps)

    def compilable(self) -> tuple[nn.Module, ...]:
        """The U-Net."""
        return (self.unet,)

    def updates(self) -> tuple[Update, ...]:
        """One update over `loss`, with clipped gradients and averaged weights."""
        return (Update("model", self.loss, tuple(self.parameters()), clip_norm=1.0, ema=True),)

    def loss(self, batch: Batch, step: Step) -> Loss:
        """One term of the bound for each image, scaled to all, in nats per dimension."""
        x_0 = self._states(batch.images)
        u = spread(len(x_0), x_0.device)
        predict = self.predictor(batch.condition)
        bound, cross_entropy = (self._masked if self.masks else self._noised)(predict, x_0, u)
        auxiliary = self.config.auxiliary * self.config.timesteps * cross_entropy
        return Loss((bound + auxiliary).mean() / self.data.n_pixels, nats=bound.mean().detach())

    def _masked(self, predict: chain.Predict, x_0: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
        """The bound and the cross-entropy of x_0, (B,) each, in nats, by one x_t for each image."""
        counts = masking.draw_counts(self.weights, u)
        x_t = masking.masked(x_0, counts, self.levels)
        log_p = predict(x_t, torch.zeros_like(counts))
        nats = masking.hidden_nats(log_p, x_0, x_t, self.levels)
        return self.weights.sum() * nats / counts, nats

    def _noised(self, predict: chain.Predict, x_0: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
        T = self.config.timesteps
        t = 1 + (u * T).long().clamp(max=T - 1)
        x_t = chain.noised(self.kernel, x_0, t)
        log_p = predict(x_t, t)
        bound = T * chain.divergence(self.kernel, log_p, x_0, x_t, t)
        own = self.kernel.row(x_t, self.kernel.cumulative[t])  # what x_t itself says of x_0
        nats = -chain.log_normalised(log_p.exp() * own).gather(1, x_0[:, None])
        return bound + chain.prior_divergence(self.kernel, x_0), nats.flatten(1).sum(1)

    def log_prob_bound(
        self, x: Tensor, condition: Condition = NOTHING, *, terms: int = DiscreteTerms.terms
    ) -> Tensor:
        """Unbiased draws (B,), in nats, of the variational bound on log p(x).

        `terms` of it are drawn for each image: more change the spread of the draws, not their mean.
        """
        predict, x_0 = self.predictor(condition), self._states(x)
        if self.masks:
            return -masking.variational_bound(predict, x_0, self.weights, self.levels, terms)
        return -chain.variational_bound(self.kernel, predict, x_0, terms)

    def validation_loss(self, x: Tensor, condition: Condition = NOTHING) -> Tensor:
        """The bound on -log p(x), (B,) nats, by one of its terms."""
        return -self.log_prob_bound(x, condition, terms=1)

    def sample(
        self,
        n: int,
        *,
        generator: ImageGenerator,
        condition: Condition = NOTHING,
        steps: int | None = DiscreteSampling.steps,
        temperature: float = DiscreteSampling.temperature,
        on_step: OnStep | None = None,
    ) -> Tensor:
        """Draw `n` images (n, C, H, W) of levels in [0, 1].

        Args:
            n: How many; `generator` holds one stream for each.
            generator: Where every random number comes from.
            condition: Classes to draw, for a model trained with `--conditional`.
            steps: Of the chain, at most T, each at most one evaluation of the U-Net; None is 100,
                or T if that is less.
            temperature: Of p(x_0 | x_t): below 1 prefers likely pixels, above 1 evens them out.
            on_step: Called after each step with its number, their count, and the images so far,
                where masked pixels are grey.

        Raises:
            UsageError: If the steps are out of range.
        """
        x_0 = torch.full((n, *self.data.shape), self.levels, device=self.device)
        return self._draw(
            x_0, torch.zeros_like(x_0, dtype=torch.bool), condition, generator, steps, temperature,
            on_step,
        )  # fmt: skip

    def complete(
        self,
        x: Tensor,
        known_mask: Tensor,
        *,
        generator: ImageGenerator,
        condition: Condition = NOTHING,
        steps: int | None = DiscreteSampling.steps,
        temperature: float = DiscreteSampling.temperature,
    ) -> Tensor:
        """Draw the unknown pixels of `x` (n, C, H, W), wherever they are, given the known ones.

        Args:
            x: Images in [0, 1].
            known_mask: Bool, (H, W) or (n, 1, H, W).
            generator: Holds a stream for each image.
            condition: What is known beside.
            steps: As for `sample`.
            temperature: As for `sample`.
        """
        known = known_mask.bool().broadcast_to(x.shape)
        drawn = self._draw(self._states(x), known, condition, generator, steps, temperature, None)
        return torch.where(known, x, drawn)

    def _draw(
        self,
        x_0: Tensor,
        known: Tensor,
        condition: Condition,
        generator: ImageGenerator,
        steps: int | None,
        temperature: float,
        on_step: OnStep | None,
    ) -> Tensor:
        T = self.config.timesteps
        steps = min(STEPS, T) if steps is None else steps
        if not 1 <= steps <= T:
            raise UsageError(
                f"This model cannot be sampled in {steps} steps.",
                f"Use 1 to {T}, the steps of the chain that it was trained on.",
            )

        def report(step: int, total: int, x: Tensor) -> None:
            if on_step:
                on_step(step, total, self._images(x))

        predict = self.predictor(condition, temperature)
        if self.masks:
            x = x_0.masked_fill(~known, self.levels)
            x = masking.unmask(predict, x, self.levels, steps, generator=generator, on_step=report)
        else:
            times = [round(T * i / steps) for i in range(steps, -1, -1)]
            x = chain.run_chain(
                self.kernel, predict, x_0, known, times, generator=generator, on_step=report
            )
        return self._images(x)

    def predictor(self, condition: Condition = NOTHING, temperature: float = 1.0) -> chain.Predict:
        """The U-Net as log-weights (n, K, C, H, W) of each pixel's level, in nats."""

        def predict(x_t: Tensor, t: Tensor) -> Tensor:
            times = t * (1000 / self.config.timesteps)
            told = self.unet.embed(condition)
            logits: Tensor = self.unet(self._planes(x_t), times, told).float() / temperature
            if self.data.binary:
                return F.logsigmoid(torch.stack([-logits, logits], 1))
            return logits.view(len(x_t), self.levels, *self.data.shape).log_softmax(1)

        return predict

    def _planes(self, x_t: Tensor) -> Tensor:
        """States as numbers in [-1, 1], 0 where masked, and where there are masks those beside."""
        values = x_t * (2 / (self.levels - 1)) - 1
        if not self.masks:
            return values
        hidden = x_t == self.levels
        return torch.cat([values.masked_fill(hidden, 0), hidden.to(values.dtype)], 1)

    def _states(self, images: Tensor) -> Tensor:
        return (images * (self.levels - 1)).round().long()

    def _images(self, x: Tensor) -> Tensor:
        images = x / (self.levels - 1)
        return images.masked_fill(x == self.levels, 0.5) if self.masks else images
