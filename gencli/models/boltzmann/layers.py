"""Layers of binary units, each coupled to the next: the energy of a deep Boltzmann machine.

    -E(s) = sum_l b_l.s_l + sum_l s_l W_l s_{l+1}

for layers s_0, the visible one, to s_L. A layer has n_l copies of its units, with the same biases
and weights, and s_l is their sum; all n are 1 but in greedy pretraining (Salakhutdinov and Hinton
2009). Given the layers next to it, the units of a layer are independent. So layers of even number
are drawn together, then those of odd number.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import torch
from torch import Tensor

from gencli.models.boltzmann.ais import Annealed, ais
from gencli.models.boltzmann.gibbs import bernoulli
from gencli.models.softplus import bernoulli_log_prob, sum_softplus


@dataclass(frozen=True)
class Layers:
    """The parameters of L + 1 layers. A state is a list of tensors (n, n_units), one for each.

    Attributes:
        biases: The b, each (n_units,).
        weights: The W, one fewer, each (n_units below, n_units above).
        copies: The n.
    """

    biases: Sequence[Tensor]
    weights: Sequence[Tensor]
    copies: Sequence[int]

    def __len__(self) -> int:
        return len(self.biases)

    @property
    def widths(self) -> list[int]:
        """How many numbers it takes to draw each layer: one for each copy of each unit."""
        return [n * len(b) for n, b in zip(self.copies, self.biases, strict=True)]

    def parity(self, odd: bool) -> range:
        """The numbers of the even or the odd layers."""
        return range(int(odd), len(self), 2)

    def from_below(self, layer: int, s: Sequence[Tensor]) -> Tensor:
        """Log-odds of a hidden layer's units, as far as the layer below and their biases go."""
        below = s[layer - 1]
        return torch.addmm(self.biases[layer], below, self.weights[layer - 1]).to(below.dtype)

    def with_above(self, layer: int, s: Sequence[Tensor], field: Tensor) -> Tensor:
        """A layer's `field` with the part of the layer above it."""
        above = s[layer + 1]
        return torch.addmm(field, above, self.weights[layer].T).to(above.dtype)

    def field(self, layer: int, s: Sequence[Tensor]) -> Tensor:
        """Log-odds (n, n_units) of a layer's units given the layers next to it."""
        field = self.from_below(layer, s) if layer else self.biases[0]
        return self.with_above(layer, s, field) if layer + 1 < len(self) else field

    def draw(self, layer: int, field: Tensor, uniform: Tensor) -> Tensor:
        """Draw a layer's units, sums over its copies, from their log-odds.

        Args:
            layer: Its number.
            field: The log-odds (n, n_units).
            uniform: Numbers (n, widths[layer]) uniform in [0, 1).
        """
        draws = [bernoulli(field, part) for part in uniform.chunk(self.copies[layer], dim=1)]
        return torch.stack(draws).sum(0) if len(draws) > 1 else draws[0]

    def gibbs(
        self, s: Sequence[Tensor], rounds: int, uniform: Callable[[int], Tensor]
    ) -> list[Tensor]:
        """Draw the even layers given the odd ones, then the odd ones, `rounds` times.

        Args:
            s: A state, of which the odd layers count.
            rounds: How many; 0 returns `s`.
            uniform: Gives (n, m) numbers uniform in [0, 1); asked once per round, for all layers.
        """
        s, order = list(s), (*self.parity(odd=False), *self.parity(odd=True))
        for _ in range(rounds):
            numbers = torch.split(uniform(sum(self.widths)), self.widths, dim=1)
            for layer in order:
                s[layer] = self.draw(layer, self.field(layer, s), numbers[layer])
        return s

    def mean_field(self, v: Tensor, passes: int) -> list[Tensor]:
        """A factorial q(h|v) near the posterior.

        An upward pass that leaves out what comes from above begins. In every further one each
        layer is set to what is best given the others, so the bound never falls.

        Args:
            v: The visible layer (n, n_units).
            passes: After the first, which is exact where there is a single hidden layer.

        Returns:
            All layers: v itself, then expected values.
        """
        s = [v]
        for layer in range(1, len(self)):
            s.append(self.copies[layer] * self.from_below(layer, s).sigmoid())
        if len(self) == 2 or not passes:
            return s
        first = self.from_below(1, s)  # stays as it is, which spares the largest product
        for _ in range(passes):
            for layer in range(1, len(self)):
                field = self.with_above(1, s, first) if layer == 1 else self.field(layer, s)
                s[layer] = self.copies[layer] * field.sigmoid()
        return s

    def negative_energy(self, s: Sequence[Tensor]) -> Tensor:
        """The -E(s), (n,) nats; of independent units' means it is the mean."""
        biased = [x @ b for b, x in zip(self.biases, s, strict=True)]
        coupled = [(x @ w * y).sum(1) for w, (x, y) in zip(self.weights, pairwise(s), strict=True)]
        return torch.stack([*biased, *coupled]).sum(0)

    def contrast(self, data: Sequence[Tensor], model: Sequence[Tensor]) -> Tensor:
        """Mean energy of the data's states less that of the model's, 0-d, with gradients.

        The energy is linear in biases and weights: its gradient is the difference of the states'
        means, which takes one product for each W, and is multiplied with them here.
        """
        with torch.no_grad():
            n, m = len(data[0]), len(model[0])
            sign = torch.cat([data[0].new_full((n, 1), -1 / n), data[0].new_full((m, 1), 1 / m)])
            both = [torch.cat(pair) for pair in zip(data, model, strict=True)]
            first = [(sign * x).sum(0) for x in both]
            second = [(sign * x).T @ y for x, y in pairwise(both)]
        parameters = (*self.biases, *self.weights)
        products = zip(parameters, (*first, *second), strict=True)
        return torch.stack([(p * difference).sum() for p, difference in products]).sum()

    def fields(self, layers: Iterable[int], s: Sequence[Tensor]) -> dict[int, Tensor]:
        """The log-odds of some layers, by their numbers."""
        return {layer: self.field(layer, s) for layer in layers}

    def odd_energy(self, s: Sequence[Tensor]) -> Tensor:
        """The part of -E that is the odd layers' alone, (n,) nats."""
        return torch.stack([s[i] @ self.biases[i] for i in self.parity(odd=True)]).sum(0)

    @torch.no_grad()
    def log_partition(self, base: Tensor, n_chains: int, n_temperatures: int) -> Annealed:
        """Log Z in nats, by annealing the odd layers while the even ones are summed out.

        It begins with visible units without couplings and hidden ones at rest, whose energy has the
        weight 1 - beta (Salakhutdinov and Hinton 2009). The temperatures are beta = 1 - (1 - t)^2
        for t in equal steps: ever smaller ones towards the model, where chains mix least.

        Args:
            base: Log-odds of the visible units (n_units,) that it begins with.
            n_chains: Chains, side by side.
            n_temperatures: Steps.
        """
        even, odd = self.parity(odd=False), self.parity(odd=True)
        widths = [len(self.biases[i]) for i in odd]
        start = torch.rand(n_chains, sum(widths), device=base.device).round().to(base.dtype)
        kept = list[tuple[Tensor, list[Tensor], dict[int, Tensor]]]()

        def known(state: Tensor) -> tuple[list[Tensor], dict[int, Tensor]]:
            if not kept or kept[0][0] is not state:  # asked three times for each state
                s = [state] * len(self)
                s[1::2] = torch.split(state, widths, dim=1)
                kept[:] = [(state, s, self.fields(even, s))]
            return kept[0][1:]

        def tempered(fields: Mapping[int, Tensor], beta: float) -> dict[int, Tensor]:
            return {i: beta * x if i else torch.lerp(base, x, beta) for i, x in fields.items()}

        def log_f(state: Tensor, t: float) -> Tensor:
            beta = 1 - (1 - t) ** 2
            s, fields = known(state)
            summed = [sum_softplus(x) for x in tempered(fields, beta).values()]
            return beta * self.odd_energy(s) + torch.stack(summed).sum(0)

        def transition(state: Tensor, t: float) -> Tensor:
            beta = 1 - (1 - t) ** 2
            s, fields = known(state)
            for i, x in tempered(fields, beta).items():
                s[i] = bernoulli(x, torch.rand_like(x))
            drawn = [beta * self.field(i, s) for i in odd]
            return torch.cat([bernoulli(x, torch.rand_like(x)) for x in drawn], dim=1)

        ratio = ais(start, log_f, transition, n_temperatures)
        n_hidden = sum(len(b) for b in self.biases[1:])
        log_z_base = float(sum_softplus(base)) + n_hidden * math.log(2)
        return replace(ratio, value=log_z_base + ratio.value)

    def log_weights(self, means: Sequence[Tensor], k: int) -> Tensor:
        """Log p(v, h_odd) Z / q(h_odd|v) for k draws from q, (k, n) nats.

        Args:
            means: What `mean_field` gives: v and the units' probabilities under q.
            k: Draws for each row.
        """
        s = [mean.repeat(k, 1) for mean in means]
        log_q = list[Tensor]()
        for i in self.parity(odd=True):
            logits = s[i].logit(1e-6)
            s[i] = bernoulli(logits, torch.rand_like(logits))
            log_q.append(bernoulli_log_prob(s[i], logits))
        visible, *others = self.fields(self.parity(odd=False), s).values()
        log_p = [self.odd_energy(s), (s[0] * visible).sum(1), *map(sum_softplus, others)]
        return (torch.stack(log_p).sum(0) - torch.stack(log_q).sum(0)).view(k, -1)
