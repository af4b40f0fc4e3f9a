"""Denoising diffusion probabilistic model: Ho et al. 2020, arXiv:2006.11239.

Images are noised, q(x_t | x_0) = N(alpha_t x_0, sigma_t^2 I), and a U-Net learns to tell the noise:

    min  E_{x_0, t, eps} || target - f(alpha_t x_0 + sigma_t eps, t) ||^2,

with target eps, or v = alpha_t eps - sigma_t x_0 (Salimans and Ho 2022, arXiv:2202.00512). With
`--conditional`, classes are given to the U-Net and withheld at random in training, so that one
network serves classifier-free guidance (Ho and Salimans 2022, arXiv:2207.12598); with `--text`,
captions are, as a vector beside the time (Nichol et al. 2021, arXiv:2112.10741, without attention
to single words); with `--variance learned`, variances are learnt beside the means (see
`variances`). Departures: v and the cosine schedule (Nichol and Dhariwal 2021, arXiv:2102.09672) are
the defaults, and so are a U-Net with few channels at the full resolution and 20 steps of
SDE-DPM-Solver++ (Lu et al. 2022, arXiv:2211.01095). The times of a batch are spread as those of
sampling are, and its x_t are noised a little more than the U-Net is told, as sampling's own errors
do (Ning et al. 2023, arXiv:2301.11706).
Images drawn are stretched by 1%, so that a blank background is blank.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from gencli.data.spec import DataInfo
from gencli.errors import UsageError
from gencli.models.diffusion import variances
from gencli.models.diffusion.base import STEPS, NoiseToImage, column, spread, to_images
from gencli.models.diffusion.configs import (
    BoundTerms,
    DDPMConfig,
    DeterministicSampling,
)
from gencli.models.diffusion.samplers import (
    SAMPLERS,
    Denoiser,
    OnStep,
    make_schedule,
    towards_noise,
    variational_bound,
)
from gencli.models.interface import NOTHING, Condition
from gencli.random import ImageGenerator


class DDPM(NoiseToImage):
    """A U-Net that denoises, run backwards from noise."""

    config: DDPMConfig
    alpha: Tensor
    sigma: Tensor
    step_table: Tensor

    def __init__(self, config: DDPMConfig, data: DataInfo) -> None:
        super().__init__(config, data, 2 if config.variance == "learned" else 1)
        self.levels = self.discrete_levels = 2 if data.binary else 256
        self.schedule = make_schedule(config.schedule, config.timesteps)
        # Looked up on the device in training; a function of the config, so not saved.
        self.register_buffer("alpha", self.schedule.alpha.float(), persistent=False)
        self.register_buffer("sigma", self.schedule.sigma.float(), persistent=False)
        if config.variance == "learned":
            table = variances.step_table(self.schedule)
            self.register_buffer("step_table", table, persistent=False)

    def errors(self, images: Tensor, told: Tensor | None, perturbation: float) -> Tensor:
        """The squared error of the prediction at a time of each image, (B,), per dimension.

        With learnt variances, their term of the bound beside it.
        """
        x_0, T = 2 * images - 1, self.config.timesteps
        u = spread(len(images), x_0.device)
        t = (T * towards_noise(u)).ceil().long().clamp(1, T)
        alpha, sigma = column(self.alpha[t]), column(self.sigma[t])
        eps = torch.randn_like(x_0)
        target = eps if self.config.prediction == "epsilon" else alpha * eps - sigma * x_0
        if perturbation:
            eps = eps + perturbation * torch.randn_like(eps)
        x_t = alpha * x_0 + sigma * eps
        predicted, share = self._split(self.predict(x_t, self._scaled(t), told))
        errors = (target - predicted).square().mean((1, 2, 3))
        if self.config.variance == "fixed":
            return errors
        estimate = self._x_0(x_t, t, predicted).detach()
        terms = variances.bound_terms(x_0, estimate, share, t, self.step_table, self.levels)
        # In bits per dimension and by 0.001 as in the paper; each t counts alike, as in the bound.
        even = (3 - 2 * u) / 2
        return errors + 0.001 * T * even * terms / (self.data.n_pixels * math.log(2))

    def _scaled(self, t: Tensor) -> Tensor:
        return t * (1000 / self.config.timesteps)

    def _split(self, out: Tensor) -> tuple[Tensor, Tensor]:
        """What the U-Net tells of the noise, and the shares v of learnt variances, if any."""
        C = self.data.channels
        return out[:, :C], (1 + out[:, C:]) / 2

    def _x_0(self, x_t: Tensor, t: Tensor, predicted: Tensor) -> Tensor:
        alpha, sigma = column(self.alpha[t]), column(self.sigma[t])
        if self.config.prediction == "epsilon":
            return ((x_t - sigma * predicted) / alpha).clamp(-1, 1)
        return (alpha * x_t - sigma * predicted).clamp(-1, 1)

    def denoiser(self, told: Tensor | None = None, guidance: float = 1.0) -> Denoiser:
        """x_0 (n, C, H, W) in [-1, 1] as the U-Net sees it, guided to what `embed` gives, if any.

        A `guidance` of 0 is without it, 1 conditional; more moves on in the same direction.
        """
        estimate = self.estimator(told, guidance)
        return lambda x_t, t: estimate(x_t, t)[0]

    def estimator(self, told: Tensor | None = None, guidance: float = 1.0) -> variances.Estimator:
        """As `denoiser`, with the shares of learnt variances, (n, 0, H, W) where there are none."""

        def estimate(x_t: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
            predicted, share = self._split(self.guided(x_t, self._scaled(t), told, guidance))
            return self._x_0(x_t, t, predicted), share

        return estimate

    def log_prob_bound(
        self, x: Tensor, condition: Condition = NOTHING, *, terms: int = BoundTerms.terms
    ) -> Tensor:
        """Unbiased draws (B,), in nats, of the variational bound on log p(x), without classes.

        `terms` of the bound's T are drawn for each image: more change the spread of the draws, not
        their mean.
        """
        x_0, levels = 2 * x - 1, self.levels
        if self.config.variance == "learned":
            estimate = self.estimator()
            return -variances.variational_bound(estimate, x_0, self.schedule, terms, levels)
        return -variational_bound(self.denoiser(), x_0, self.schedule, terms, levels)

    def decode(
        self,
        z: Tensor,
        condition: Condition = NOTHING,
        *,
        sampler: str = DeterministicSampling.sampler,
        steps: int | None = DeterministicSampling.steps,
        guidance: float = DeterministicSampling.guidance,
    ) -> Tensor:
        """x_T -> images (n, C, H, W) in [0, 1]; deterministic, unlike the default of `sample`."""
        told = self.unet.embed(condition)
        return self.solve(z, told, sampler=sampler, steps=steps, guidance=guidance)

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
        if sampler not in SAMPLERS:
            raise UsageError(f"There is no sampler {sampler}.", f"Use {', '.join(SAMPLERS)}.")
        if steps is None:
            steps = min(STEPS, self.config.timesteps)
        if not 1 <= steps <= self.config.timesteps:
            raise UsageError(
                f"This model cannot be sampled in {steps} steps.",
                f"Use 1 to {self.config.timesteps}, the noise levels that it was trained on.",
            )

        def report(step: int, total: int, x: Tensor) -> None:
            if on_step:
                on_step(step, total, to_images(x))

        times = self.schedule.times(steps)
        if self.config.variance == "learned" and generator and sampler == "ddpm":
            estimate = self.estimator(told, guidance)
            x_0 = variances.ancestral(
                estimate, noise, self.schedule, times, generator=generator, on_step=report
            )
        else:
            denoise = self.denoiser(told, guidance)
            x_0 = SAMPLERS[sampler](
                denoise, noise, self.schedule, times, generator=generator, on_step=report
            )
        return to_images(x_0)
