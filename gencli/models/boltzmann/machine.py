"""The general Boltzmann machine: binary units, each coupled to every other.

    E(s) = -b.s - (s - m) S (s - m) / 2,    s = (v, h) in {0, 1}^N

with symmetric couplings S of zero diagonal. The offsets m, the base rates of visible units and 1/2
of hidden ones, centre the units (Montavon and Mueller 2012): they change the direction of the
gradient, not what the machine can be. All tensors are flat: s is (B, N), v its first columns.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from gencli.models.boltzmann.ais import Annealed, ais
from gencli.models.boltzmann.gibbs import bernoulli, in_float64
from gencli.models.boltzmann.sweeps import sweep
from gencli.models.softplus import sum_softplus

FEW_UNITS = 20
"""Up to so many units in all, Z is a sum over all their states."""

FEW_HIDDEN = 8
"""Up to so many hidden units, they are summed out state by state."""

MEASURED = 30
"""Rounds of mean field for the likelihood."""


class Machine(nn.Module):
    """The energy of a Boltzmann machine, its conditionals and its normaliser.

    Args:
        n_visible: Visible units.
        n_hidden: Hidden units, perhaps none.
    """

    base: Tensor
    m: Tensor
    pairs: Tensor

    def __init__(self, n_visible: int, n_hidden: int) -> None:
        super().__init__()
        self.n_visible, self.n_hidden, n = n_visible, n_hidden, n_visible + n_hidden
        i, j = torch.tril_indices(n, n, -1)
        self.register_buffer("pairs", i * n + j, persistent=False)
        # Hidden units must differ to begin with; all other couplings begin at zero.
        crossing = (i >= n_visible) & (j < n_visible)
        self.weight = nn.Parameter(0.01 * torch.randn(len(i)) * crossing)
        self.b = nn.Parameter(torch.zeros(n))
        # Log-odds of the best machine without couplings, where chains and annealing begin.
        self.register_buffer("base", torch.zeros(n))
        self.register_buffer("m", torch.full((n,), 0.5))

    @torch.no_grad()
    def begin(self, mean: Tensor) -> None:
        """Start at the mean (n_visible,), between 0 and 1, of the data's units."""
        self.base[: self.n_visible] = mean.logit()
        self.m[: self.n_visible] = mean
        self.b.copy_(self.base)

    def couplings(self) -> Tensor:
        """S, (N, N)."""
        n = len(self.b)
        below = self.weight.new_zeros(n * n).index_copy(0, self.pairs, self.weight).view(n, n)
        return below + below.T

    def bias(self, couplings: Tensor) -> Tensor:
        """What a unit's log-odds are when all others are zero, (N,)."""
        return self.b - couplings @ self.m

    def fields(self, s: Tensor, couplings: Tensor) -> Tensor:
        """Log-odds of every unit given all others, (B, N)."""
        return torch.addmm(self.b, s - self.m, couplings).to(s.dtype)

    def energy(self, s: Tensor, couplings: Tensor) -> Tensor:
        """E(s), (B,); linear in each unit, so that of means it is the mean, if independent."""
        z = s - self.m
        return -(s @ self.b) - 0.5 * ((z @ couplings) * z).sum(1)

    def mean_field(self, v: Tensor, couplings: Tensor, rounds: int) -> Tensor:
        """Means mu (B, n_hidden) of the independent hidden units that are nearest to p(h|v).

        They solve mu_j = sigmoid(b_j + [S (s - m)]_j) with s = (v, mu), and are sought from 1/2,
        half the way in each round, which does not go to and fro.
        """
        hidden = slice(self.n_visible, None)
        x = self.b[hidden] + (v - self.m[: self.n_visible]) @ couplings[: self.n_visible, hidden]
        lateral = couplings[hidden, hidden]
        mu = x.sigmoid()
        for _ in range(rounds - 1):
            mu = torch.lerp(mu, torch.addmm(x, mu - 0.5, lateral).sigmoid(), 0.5)
        return mu

    def free_draws(self, uniform: Tensor) -> Tensor:
        """Units (n, N) drawn at the base rates, from one uniform number each."""
        return bernoulli(self.base.expand_as(uniform), uniform.to(self.base.dtype))

    def log_weights(self, v: Tensor, k: int) -> Tensor:
        """Log of exp(-E(v, h)) / q(h), (k, B), for k draws of h from the q of mean field.

        A few hidden units are summed out instead: all k rows are then the same, and exact.
        """
        couplings = self.couplings()
        if self.n_hidden <= FEW_HIDDEN:
            return self.log_sums(v, couplings).expand(k, -1)
        # Away from 0 and 1, where a draw of the rarer value would have no weight to speak of.
        logits = self.mean_field(v, couplings, MEASURED).logit(1e-6)
        h = torch.bernoulli(logits.sigmoid().expand(k, -1, -1))
        log_q = (h * logits).sum(2) - sum_softplus(logits)
        s = torch.cat([v.expand(k, -1, -1), h], 2)
        return -self.energy(s.flatten(0, 1), couplings).view(k, -1) - log_q

    def log_sums(self, v: Tensor, couplings: Tensor) -> Tensor:
        """Log of sum_h exp(-E(v, h)), (B,), for `FEW_HIDDEN` hidden units or fewer."""
        parts = [
            -self.energy(torch.cat([v, h.expand(len(v), -1)], 1), couplings)
            for h in all_states(self.n_hidden, v)
        ]
        return torch.stack(parts).logsumexp(0)

    @torch.no_grad()
    def exact_log_partition(self) -> float:
        """Log Z in nats, by summing over all states."""
        exact = in_float64(self)
        couplings = exact.couplings()
        states = all_states(len(self.b), couplings)
        parts = [-exact.energy(s, couplings) for s in torch.split(states, 2**14)]
        return float(torch.cat(parts).logsumexp(0))

    @torch.no_grad()
    def log_partition(self, n_chains: int, n_temperatures: int) -> Annealed:
        """Log Z in nats, by annealing all units from the base rates.

        The energy at beta is -(1 - beta) base.s + beta E(s), with beta = 1 - (1 - t)^2 for t in
        equal steps: ever smaller ones towards the machine itself, where chains mix least.
        """
        couplings = self.couplings()
        bias, n = self.bias(couplings), len(self.b)
        kept = list[tuple[Tensor, Tensor, Tensor]]()

        def log_f(s: Tensor, t: float) -> Tensor:  # asked twice for each s
            if not kept or kept[0][0] is not s:
                kept[:] = [(s, s @ self.base, -self.energy(s, couplings))]
            beta = 1 - (1 - t) ** 2
            return torch.lerp(kept[0][1], kept[0][2], beta)

        def transition(s: Tensor, t: float) -> Tensor:
            beta = 1 - (1 - t) ** 2
            between = torch.lerp(self.base, bias, beta)
            return sweep(s, beta * couplings, between, torch.rand_like(s))[0]

        s = self.free_draws(torch.rand(n_chains, n, device=bias.device))
        ratio = ais(s, log_f, transition, n_temperatures)
        return replace(ratio, value=ratio.value + float(sum_softplus(self.base)))


def all_states(n: int, like: Tensor) -> Tensor:
    """Every vector of n zeros and ones, (2^n, n), of the type and device of `like`."""
    numbers = torch.arange(2**n, device=like.device)
    return (numbers[:, None] >> torch.arange(n, device=like.device) & 1).to(like.dtype)
