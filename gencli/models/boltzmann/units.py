"""Harmonium: a layer of visible and a layer of hidden units, coupled (Smolensky 1986).

    E(v, h) = e(v, b) - x.(h - l),    x = c + u W,    u = (v - m) / sigma

for hidden units h in {0, 1} and visible units that are binary, e(v, b) = -b.v with sigma = 1, or
Gaussian, e(v, b) = |u - b|^2 / 2 with m the mean image and one learnt sigma. The offsets l = 1/2,
and m of binary units, centre the units (Montavon and Mueller 2012; Melchior et al. 2016,
arXiv:1311.1354): they change the direction of the gradient, not what the model can be; without them
it is the textbook's energy. All tensors are flat: v is (B, n_visible), h is (B, n_hidden).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gencli.models.boltzmann.ais import Annealed, ais
from gencli.models.boltzmann.gibbs import bernoulli, gibbs, uniform_like
from gencli.models.softplus import sum_softplus


class _KnownLinear(torch.autograd.Function):
    """c + u W, known already: only its gradients cost anything."""

    @staticmethod
    def forward(ctx: Any, u: Tensor, weight: Tensor, c: Tensor, x: Tensor) -> Tensor:
        kind = u.device.type
        autocast = torch.is_autocast_enabled(kind)
        ctx.dtype = torch.get_autocast_dtype(kind) if autocast else weight.dtype
        ctx.save_for_backward(u, weight)
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, Tensor, Tensor, None]:
        u, weight = ctx.saved_tensors
        low = g.to(ctx.dtype)
        grad_u = (low @ weight.to(ctx.dtype).T).to(u.dtype) if ctx.needs_input_grad[0] else None
        return grad_u, (u.to(ctx.dtype).T @ low).to(weight.dtype), g.sum(0), None


class Harmonium(nn.Module):
    """The energy of a restricted Boltzmann machine, its two conditionals and its normaliser.

    Args:
        n_visible: Visible units.
        n_hidden: Hidden units.
        gaussian: Whether the visible units are Gaussian.
        centered: Whether there are offsets.
    """

    base: Tensor
    m: Tensor

    def __init__(
        self, n_visible: int, n_hidden: int, gaussian: bool = False, centered: bool = True
    ) -> None:
        super().__init__()
        self.n_visible, self.n_hidden, self.gaussian = n_visible, n_hidden, gaussian
        self.centered, self.l = centered, 0.5 if centered else 0.0
        self.weight = nn.Parameter(0.01 * torch.randn(n_visible, n_hidden))
        self.b = nn.Parameter(torch.zeros(n_visible))
        self.c = nn.Parameter(torch.zeros(n_hidden))
        if gaussian:
            self.scale = nn.Parameter(torch.zeros(()))
        # The b of the best model without couplings: where chains and annealing begin.
        self.register_buffer("base", torch.zeros(n_visible))
        self.register_buffer("m", torch.zeros(n_visible))

    @torch.no_grad()
    def begin(self, mean: Tensor, variance: Tensor) -> None:
        """Start at the mean (n_visible,), between 0 and 1, and the variance of the data's units."""
        if self.gaussian:
            log_sigma = 0.5 * variance.mean().clamp_min(1e-6).log()
            self.scale.copy_(log_sigma * math.sqrt(self.n_visible))
        else:
            self.base.copy_(mean.logit())
            self.b.copy_(self.base)
        if self.gaussian or self.centered:
            self.m.copy_(mean)

    def fits_over(self, below: Harmonium) -> bool:
        """Whether `turn_over` is possible: all units are binary, and the hidden ones suffice."""
        return not below.gaussian and self.n_hidden >= below.n_visible

    @torch.no_grad()
    def turn_over(self, below: Harmonium) -> None:
        """Be `below` upside down: its hidden units are visible here, its visible ones are hidden.

        Where there are more hidden units than that, the others stay as they are, nearly uncoupled.
        """
        n, w = below.n_visible, below.weight
        self.weight[:, :n] = w.T
        self.b.copy_(below.c - below.m @ w + self.l * w.sum(0))
        self.c[:n] = below.b - below.l * w.sum(1) + self.m @ w.T

    @property
    def log_sigma(self) -> Tensor:
        """The log of sigma, learnt as a number whose gradient is no larger than those of others."""
        return self.scale / math.sqrt(self.n_visible)

    def standardize(self, v: Tensor) -> Tensor:
        """The u of v."""
        return (v - self.m) / self.log_sigma.exp() if self.gaussian else v - self.m

    def up(self, v: Tensor) -> Tensor:
        """Log-odds x of h given v."""
        return torch.addmm(self.c, self.standardize(v), self.weight).to(v.dtype)

    def known_up(self, v: Tensor, x: Tensor) -> Tensor:
        """Log-odds `x` that `up` gave for `v` without gradients, with gradients."""
        out: Tensor = _KnownLinear.apply(self.standardize(v), self.weight, self.c, x)
        return out

    def down(self, h: Tensor, beta: float = 1.0) -> Tensor:
        """Log-odds of binary v given h, or means of u; at beta = 0 the base rates."""
        field = F.linear(h - self.l, self.weight, self.b).to(h.dtype)
        return field if beta == 1 else torch.lerp(self.base, field, beta)

    def draw_hidden(self, v: Tensor, uniform: Tensor) -> Tensor:
        """Draw h ~ p(h|v) from one uniform number per unit."""
        return bernoulli(self.up(v), uniform)

    def draw_visible(self, h: Tensor, uniform: Tensor, beta: float = 1.0) -> Tensor:
        """Draw v ~ p(v|h) from one uniform number per unit."""
        field = self.down(h, beta)
        if not self.gaussian:
            return bernoulli(field, uniform)
        noise: Tensor = torch.special.ndtri(uniform.clamp_min(2**-25))
        return self.m + self.log_sigma.exp() * (field + noise)

    def mean_visible(self, h: Tensor) -> Tensor:
        """E[v|h]."""
        field = self.down(h)
        return self.m + self.log_sigma.exp() * field if self.gaussian else field.sigmoid()

    def visible_energy(self, v: Tensor, field: Tensor) -> Tensor:
        """The energy e(v, field), (B,)."""
        if self.gaussian:
            return 0.5 * (self.standardize(v) - field).square().sum(1)
        return -(v * field).sum(1)

    def free_energy(self, v: Tensor, x: Tensor | None = None) -> Tensor:
        """F(v) = e(v, b) - sum_j [log(1 + exp x_j) - l x_j], (B,); x is up(v), if known."""
        x = self.up(v) if x is None else x
        return self.visible_energy(v, self.b) - (F.softplus(x) - self.l * x).sum(1)

    def log_conditional(self, v: Tensor, h: Tensor) -> Tensor:
        """The log of p(v|h), (B,) nats."""
        field = self.down(h)
        return -self.visible_energy(v, field) - self._log_z_visible(field)

    def _log_z_visible(self, field: Tensor) -> Tensor:
        """The log of exp(-e(v, field)) summed, or integrated, over v."""
        if self.gaussian:
            return self.n_visible * (self.log_sigma + 0.5 * math.log(2 * math.pi))
        return sum_softplus(field)

    def settle(self, n: int, uniform: Callable[[int], Tensor], steps: int) -> Tensor:
        """Hidden units (n, n_hidden) after `steps` rounds of Gibbs sampling from the base rates.

        Args:
            n: How many chains.
            uniform: Gives (n, m) numbers uniform in [0, 1).
            steps: Rounds.
        """
        rest = self.c.new_zeros(n, self.n_hidden)
        v = self.draw_visible(rest, uniform(self.n_visible), beta=0.0)
        return self.gibbs(self.draw_hidden(v, uniform(self.n_hidden)), uniform, steps)

    def gibbs(self, h: Tensor, uniform: Callable[[int], Tensor], steps: int) -> Tensor:
        """Hidden units after `steps` rounds of Gibbs sampling from `h`."""
        return gibbs(
            h, steps, self.draw_visible, self.draw_hidden, n_visible=self.n_visible, uniform=uniform
        )

    @torch.no_grad()
    def log_partition(self, n_chains: int, n_temperatures: int) -> Annealed:
        """Log Z in nats, by annealing from the base rates.

        The path is that of Salakhutdinov and Murray 2008, with the energy at beta

            (1 - beta) e(v, base) + beta E(v, h),    beta = 1 - (1 - t)^2

        for t in equal steps: ever smaller ones towards the model, where chains mix least.
        """
        rest = self.c.new_zeros(n_chains, self.n_hidden)
        uniform = uniform_like(rest)
        kept = list[tuple[Tensor, Tensor]]()

        def up(v: Tensor) -> Tensor:  # asked three times for each v
            if not kept or kept[0][0] is not v:
                kept[:] = [(v, self.up(v))]
            return kept[0][1]

        def log_f(v: Tensor, t: float) -> Tensor:
            beta = 1 - (1 - t) ** 2
            x = beta * up(v)
            base, own = self.visible_energy(v, self.base), self.visible_energy(v, self.b)
            hidden = sum_softplus(x) - self.l * x.sum(1)
            return hidden - (1 - beta) * base - beta * own

        def transition(v: Tensor, t: float) -> Tensor:
            beta = 1 - (1 - t) ** 2
            h = bernoulli(beta * up(v), uniform(self.n_hidden))
            return self.draw_visible(h, uniform(self.n_visible), beta)

        v = self.draw_visible(rest, uniform(self.n_visible), beta=0.0)
        ratio = ais(v, log_f, transition, n_temperatures)
        log_z_base = float(self._log_z_visible(self.base)) + self.n_hidden * math.log(2)
        return replace(ratio, value=log_z_base + ratio.value)
