"""Flow matching on straight paths: Lipman et al. 2022, arXiv:2210.02747.

Also known as rectified flow (Liu et al. 2022, arXiv:2209.03003). Noise and images are joined by
straight lines, x_t = (1 - t) x_0 + t eps, and a U-Net learns the mean velocity at each point,

    min  E_{x_0, t, eps} || (eps - x_0) - f(x_t, t) ||^2,

so that dx/dt = f(x, t), solved from noise at t = 1 down to t = 0, draws an image. Times are uniform
or logit-normal (Esser et al. 2024, arXiv:2403.03206). With `--prediction edm` the U-Net's input and
output have unit variance for images of deviation 1/2, as in Karras et al. 2022 (arXiv:2206.00364),
whose preconditioning is written here for straight paths: with d^2 = (1 - t)^2 / 4 + t^2,

    f(x, t) = (t - (1 - t) / 4) x / d^2 - F(x / d, t) / 2d,

and the error is that of F: a U-Net that tells 0 is right for Gaussian pixels of that deviation.
x_0 is estimated as x_t - t f(x_t, t), so the samplers of `ddpm` serve straight paths too, its
`ddim` being Euler's method here. Images are encoded by the same equation from t = 0 up to 1.

Departures: the network, guidance, spread times, input perturbation and the stretch by 1% are those
of `ddpm`; the minimal noise sigma_min of Lipman et al. is 0; fresh noise in each step (`sde-dpm++`)
is the default of `sample`, since it makes up for errors of the network.
"""

from __future__ import annotations

from functools import partial
from typing import ClassVar

import torch
from torch import Tensor

from gencli.errors import UsageError
from gencli.models.diffusion.base import STEPS, NoiseToImage, column, spread, to_images
from gencli.models.diffusion.configs import DeterministicFlow, FlowMatchingConfig
from gencli.models.diffusion.ode import SOLVERS, integrate
from gencli.models.diffusion.samplers import (
    OnStep,
    Sampler,
    Schedule,
    dpm_multistep,
    sde_dpm_multistep,
)
from gencli.models.interface import NOTHING, Condition
from gencli.random import ImageGenerator

_MULTISTEP: dict[str, Sampler] = {"dpm++": dpm_multistep, "sde-dpm++": sde_dpm_multistep}
_VARIANCE = 0.25  # of pixels in [-1, 1], for the preconditioning


class FlowMatching(NoiseToImage):
    """A U-Net that tells velocities, followed from noise to images and back."""

    codes_are_images: ClassVar[bool] = True

    config: FlowMatchingConfig

    def errors(self, images: Tensor, told: Tensor | None, perturbation: float) -> Tensor:
        """The squared error of the velocity at a time of each image, (B,), per dimension."""
        x_0 = 2 * images - 1
        t = spread(len(images), x_0.device)
        if self.config.times == "logit-normal":
            t = torch.special.ndtri(t).sigmoid()
        eps = torch.randn_like(x_0)
        target, share = eps - x_0, column(t)
        if perturbation:
            eps = eps + perturbation * torch.randn_like(eps)
        x_t = (1 - share) * x_0 + share * eps
        error = target - self.velocity(x_t, t, told)
        _, c_out, _ = self._preconditioning(share)
        return (error / c_out).square().mean((1, 2, 3))

    def velocity(
        self, x_t: Tensor, t: Tensor, told: Tensor | None = None, guidance: float = 1.0
    ) -> Tensor:
        """f(x_t, t) at times (n,) in [0, 1], guided to what `embed` gives, if any."""
        c_skip, c_out, c_in = self._preconditioning(column(t))
        return c_skip * x_t + c_out * self.guided(c_in * x_t, 1000 * t, told, guidance)

    def _preconditioning(self, t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """c_skip, c_out and c_in, so that f(x, t) = c_skip x + c_out F(c_in x, t)."""
        if self.config.prediction == "velocity":
            return torch.zeros_like(t), torch.ones_like(t), torch.ones_like(t)
        d = ((1 - t).square() * _VARIANCE + t.square()).sqrt()
        return (t - (1 - t) * _VARIANCE) / d.square(), -(_VARIANCE**0.5) / d, 1 / d

    def decode(
        self,
        z: Tensor,
        condition: Condition = NOTHING,
        *,
        sampler: str = DeterministicFlow.sampler,
        steps: int | None = DeterministicFlow.steps,
        guidance: float = DeterministicFlow.guidance,
    ) -> Tensor:
        """Noise -> images (n, C, H, W) in [0, 1]; deterministic, unlike the default of `sample`."""
        told = self.unet.embed(condition)
        return self.solve(z, told, sampler=sampler, steps=steps, guidance=guidance)

    def encode(self, x: Tensor, condition: Condition = NOTHING) -> Tensor:
        """Images -> the noise (n, C, H, W) of which `decode` makes them: the ODE backwards."""
        times, told = [i / STEPS for i in range(STEPS + 1)], self.unet.embed(condition)
        velocity = partial(self._velocity_at, told=told, guidance=1.0)
        return integrate(velocity, 2 * x - 1, times, solver=DeterministicFlow.sampler)

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
        if sampler not in (*SOLVERS, *_MULTISTEP):
            names = ", ".join((*SOLVERS, *_MULTISTEP))
            raise UsageError(f"There is no sampler {sampler}.", f"Use {names}.")
        steps = STEPS if steps is None else steps
        if steps < 1:
            raise UsageError("A flow cannot be followed in no steps.", "Use --steps 1 or more.")

        def report(step: int, total: int, x: Tensor) -> None:
            if on_step:
                on_step(step, total, to_images(x))

        times = [i / steps for i in range(steps, -1, -1)]
        velocity = partial(self._velocity_at, told=told, guidance=guidance)
        if sampler in SOLVERS:
            return to_images(integrate(velocity, noise, times, solver=sampler, on_step=report))
        schedule = Schedule(tuple((1 - t, t) for t in reversed(times)))

        def denoise(x_t: Tensor, i: Tensor) -> Tensor:
            t = i / steps
            return (x_t - column(t) * self.velocity(x_t, t, told, guidance)).clamp(-1, 1)

        x_0 = _MULTISTEP[sampler](
            denoise, noise, schedule, range(steps, -1, -1), generator=generator, on_step=report
        )
        return to_images(x_0)

    def _velocity_at(self, x: Tensor, t: float, told: Tensor | None, guidance: float) -> Tensor:
        return self.velocity(x, x.new_full((x.shape[0],), t), told, guidance)
