"""Harmonium: a layer of visible and a layer of hidden units, coupled (Smolensky 1986).

    E(v, h) = e(v, a) - d.h - u W h,  e(v, a) = -a.v  or  |v - a|^2 / (2 sigma^2),  u = v / sigma

for binary visible units (sigma = 1), or Gaussian ones with one sigma for all; h is binary. The
biases are a = b - sigma W l and d = c - W^T m / sigma, where b and c are learnt, and the offsets m
and l are those of centring (Montavon and Mueller 2012; Melchior et al. 2016, arXiv:1311.1354): m is
the mean image and l = 1/2. They change the gradient's direction, not what the model can be; without
them a = b and d = c. All tensors are flat: v is (B, n_visible), h is (B, n_hidden).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gencli.evaluation.ais import ais
from gencli.sampling.gibbs import bernoulli, gibbs, uniform_like


class Harmonium(nn.Module):
    """The energy of a restricted Boltzmann machine, its two conditionals and its normaliser.

    Args:
        n_visible: Visible units.
        n_hidden: Hidden units.
        gaussian: Whether the visible units are Gaussian.
        centered: Whether there are offsets.
    """

    base_bias: Tensor
    m: Tensor

    def __init__(
        self, n_visible: int, n_hidden: int, gaussian: bool = False, centered: bool = True
    ) -> None:
        super().__init__()
        self.n_visible, self.n_hidden, self.gaussian = n_visible, n_hidden, gaussian
        self.weight = nn.Parameter(0.01 * torch.randn(n_visible, n_hidden))
        self.b = nn.Parameter(torch.zeros(n_visible))
        self.c = nn.Parameter(torch.zeros(n_hidden))
        if gaussian:
            self.log_sigma = nn.Parameter(torch.zeros(()))
        # The visible biases of the best model without couplings: where chains and annealing begin.
        self.register_buffer("base_bias", torch.zeros(n_visible))
        self.register_buffer("m", torch.zeros(n_visible))
        self.centered, self.l = centered, 0.5 if centered else 0.0

    @torch.no_grad()
    def begin(self, mean: Tensor, variance: Tensor) -> None:
        """Set biases and offsets to the mean (n_visible,) and variance of the data's units."""
        if self.gaussian:
            self.base_bias.copy_(mean)
            self.log_sigma.copy_(0.5 * variance.mean().clamp_min(1e-6).log())
        else:
            self.base_bias.copy_(mean.logit())
        self.b.copy_(self.base_bias)
        if self.centered:
            self.m.copy_(mean)

    @property
    def sigma(self) -> Tensor:
        """Standard deviation of a Gaussian visible unit given the hidden ones."""
        return self.log_sigma.exp()

    def up(self, v: Tensor) -> Tensor:
        """Log-odds of h given v, d + u W."""
        u = (v - self.m) / self.sigma if self.gaussian else v - self.m
        return torch.addmm(self.c, u, self.weight).to(v.dtype)

    def down(self, h: Tensor, beta: float = 1.0) -> Tensor:
        """Log-odds of binary v given h, or means of Gaussian v; at beta = 0 the base rates."""
        field = F.linear(h - self.l, self.weight).to(h.dtype)
        field = self.b + (field * self.sigma if self.gaussian else field)
        return field if beta == 1 else torch.lerp(self.base_bias, field, beta)

    def draw_hidden(self, v: Tensor, uniform: Tensor) -> Tensor:
        """Draw h ~ p(h|v) from one uniform number per unit."""
        return bernoulli(self.up(v), uniform)

    def draw_visible(self, h: Tensor, uniform: Tensor, beta: float = 1.0) -> Tensor:
        """Draw v ~ p(v|h) from one uniform number per unit."""
        field = self.down(h, beta)
        if not self.gaussian:
            return bernoulli(field, uniform)
        noise: Tensor = torch.special.ndtri(uniform.clamp_min(2**-25))
        return field + self.sigma * noise

    def mean_visible(self, h: Tensor) -> Tensor:
        """E[v|h]."""
        return self.down(h) if self.gaussian else self.down(h).sigmoid()

    @property
    def visible_bias(self) -> Tensor:
        """The bias a, (n_visible,)."""
        pull = self.l * self.weight.sum(1)
        return self.b - (pull * self.sigma if self.gaussian else pull)

    def visible_energy(self, v: Tensor, a: Tensor) -> Tensor:
        """e(v, a), (B,)."""
        if not self.gaussian:
            return -(v * a).sum(1)
        u = (v - a) / self.sigma
        return 0.5 * u.square().sum(1)

    def free_energy(self, v: Tensor, logits: Tensor | None = None) -> Tensor:
        """F(v) = e(v, a) - sum_j log(1 + exp(d_j + (u W)_j)), (B,); `logits` is up(v) if known."""
        logits = self.up(v) if logits is None else logits
        return self.visible_energy(v, self.visible_bias) - F.softplus(logits).sum(1)

    def log_conditional(self, v: Tensor, h: Tensor) -> Tensor:
        """The log of p(v|h), (B,) nats."""
        field = self.down(h)
        return -self.visible_energy(v, field) - self._log_z_visible(field)

    def _log_z_visible(self, a: Tensor) -> Tensor:
        """The log of exp(-e(v, a)) summed, or integrated, over v."""
        if not self.gaussian:
            return F.softplus(a).sum(-1)
        return self.n_visible * (self.log_sigma + 0.5 * math.log(2 * math.pi))

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
    def log_partition(self, n_chains: int, n_temperatures: int) -> tuple[float, float]:
        """(log Z, standard error) in nats, by annealing from the base rates.

        The path is that of Salakhutdinov and Murray 2008, whose densities at beta are

            log f_beta(v) = -(1 - beta) e(v, base) - beta e(v, a) + sum_j log(1 + exp(beta up(v)_j))

        with beta = 1 - (1 - t)^2: ever smaller steps towards the model, where chains mix least.
        """
        rest = self.c.new_zeros(n_chains, self.n_hidden)
        uniform = uniform_like(rest)
        a, kept = self.visible_bias, list[tuple[Tensor, Tensor]]()

        def up(v: Tensor) -> Tensor:  # asked three times for each v
            if not kept or kept[0][0] is not v:
                kept[:] = [(v, self.up(v))]
            return kept[0][1]

        def log_f(v: Tensor, t: float) -> Tensor:
            beta = 1 - (1 - t) ** 2
            base, own = self.visible_energy(v, self.base_bias), self.visible_energy(v, a)
            return F.softplus(beta * up(v)).sum(1) - (1 - beta) * base - beta * own

        def transition(v: Tensor, t: float) -> Tensor:
            beta = 1 - (1 - t) ** 2
            h = bernoulli(beta * up(v), uniform(self.n_hidden))
            return self.draw_visible(h, uniform(self.n_visible), beta)

        v = self.draw_visible(rest, uniform(self.n_visible), beta=0.0)
        log_ratio, standard_error = ais(v, log_f, transition, n_temperatures)
        log_z_base = float(self._log_z_visible(self.base_bias)) + self.n_hidden * math.log(2)
        return log_z_base + log_ratio, standard_error
