r"""Deep Boltzmann machine (Salakhutdinov and Hinton 2009, "Deep Boltzmann machines").

Layers of binary units, each coupled to the next and none directed, with the energy of `layers.py`:
p(v, h) = exp(-E(v, h)) / Z. The posterior is approximated by a factorial q(h|v), in mean field, and

    log p(v) >= E_q[-E(v, h)] + H(q) - log Z

is climbed by its gradient, E_q[-grad E(v, h)] - E_p[-grad E]. The second expectation is over Markov
chains that go on from step to step, drawn in blocks: the even layers, then the odd ones.

Training may begin in other ways, `--pretraining`:

- `greedy`, as in the paper: pairs of layers one after another, as restricted Boltzmann machines. In
  the lowest pair there are two copies of the visible layer, in the highest two of the top layer,
  and in those between two of both, for what the other neighbours will add.
- `lowest`: the lowest pair alone, as it is. The layers above have hardly any weight yet, so the
  bound is that machine's likelihood, to rise from there.
- `none`: all layers at once; the units are centred (Montavon and Mueller 2012, arXiv:1203.3783).

Departures: offsets are means over the data where a stage begins and stay; the bias of a layer that
two pairs share is the one that the second leaves; no labels and no fine-tuning of q.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor, nn

from gencli.data.spec import DataInfo
from gencli.errors import UsageError
from gencli.models.abilities import LogPartition
from gencli.models.base_rates import base_rates
from gencli.models.boltzmann.configs import DBMConfig, GibbsSampling
from gencli.models.boltzmann.gibbs import bernoulli, in_float64, uniform_like
from gencli.models.boltzmann.layers import Layers
from gencli.models.interface import (
    NOTHING,
    Batch,
    Condition,
    GenerativeModel,
    Loss,
    Optimizer,
    Stage,
    StageSettings,
    Step,
    Update,
)
from gencli.random import ImageGenerator

MEASURED_PASSES = 10
"""Passes of mean field, at the fewest, where the bound is measured: it stood still after five."""

FEW = 20
"""Batches of the data that hidden layers are centred by."""


class DBM(GenerativeModel):
    """Two hidden layers or more over binary pixels."""

    per_process: ClassVar[tuple[str, ...]] = ("chain",)

    config: DBMConfig
    base: Tensor
    chain: Tensor

    def __init__(self, config: DBMConfig, data: DataInfo) -> None:
        super().__init__(config, data)
        if not data.binary:
            raise UsageError("Deep Boltzmann machines need binary data.", "Add --binarize dynamic.")
        if len(config.hidden) < 2:
            raise UsageError(
                "One hidden layer makes an rbm.", "Take two or more: --hidden 500,1000."
            )
        widths = (data.n_pixels, *config.hidden)
        self.biases = nn.ParameterList(torch.zeros(n) for n in widths)
        self.weights = nn.ParameterList(
            0.01 * torch.randn(below, above) for below, above in itertools.pairwise(widths)
        )
        half = 0.5 if config.centered else 0.0
        for layer, n in enumerate(widths):
            self.register_buffer(f"offset{layer}", torch.full((n,), half if layer else 0.0))
        # The visible biases of the best model without couplings: where chains and annealing begin.
        self.register_buffer("base", torch.zeros(data.n_pixels))
        # The hidden layers side by side; sums over copies in greedy pretraining.
        self.register_buffer(
            "chain", torch.zeros(config.chains, sum(config.hidden), dtype=torch.uint8)
        )

    def layers(self, first: int = 0, copies: Sequence[int] | None = None) -> Layers:
        """Layers from `first` on, as many as there are `copies`, or all.

        With an offset o of the layer above or below, (s - o) W is a coupling and a bias.
        """
        copies = (1,) * len(self.biases) if copies is None else copies
        rest = [n * self.get_buffer(f"offset{first + i}") for i, n in enumerate(copies)]
        biases, weights = self.own(first, len(copies))
        folded = list[Tensor](biases)
        for i, w in enumerate(weights):
            folded[i] = folded[i] - w @ rest[i + 1]
            folded[i + 1] = folded[i + 1] - rest[i] @ w
        return Layers(folded, weights, copies)

    def own(self, first: int, n: int) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
        """Biases and weights of `n` layers from `first` on."""
        return [*self.biases][first : first + n], [*self.weights][first : first + n - 1]

    def chains(self) -> tuple[Tensor, ...]:
        """The state of each hidden layer's chains, (chains, n_units) each."""
        return torch.split(self.chain, list(self.config.hidden), dim=1)

    def stages(self) -> tuple[Stage, ...]:
        """Pretraining, a stage for each pair of layers, and then all layers."""
        kind, n_pairs = self.config.pretraining, len(self.weights)
        if kind == "greedy":
            ends = (0, n_pairs - 1)
            pairs = [(2 - (i == ends[1]), 2 - (i == ends[0])) for i in range(n_pairs)]
        else:
            pairs = [(1, 1)] if kind == "lowest" else []
        part = self.config.pretraining_part
        early = [self._pair(i, pairs, part / len(pairs)) for i in range(len(pairs))]
        return (*early, self._joint(1 - part if pairs else 1.0))

    def _pair(self, i: int, pairs: Sequence[tuple[int, int]], share: float) -> Stage:
        def climb(images: Tensor) -> Tensor:
            """Draw layer i of the data; at 0 the images."""
            v = images
            for below, copies in enumerate(pairs[:i]):
                layers, v = self.layers(below, copies), copies[0] * v.flatten(1)
                odds = layers.from_below(1, [v])
                v = bernoulli(odds, torch.rand_like(odds))[..., None, None]
            return v

        @torch.no_grad()
        def start(data: Iterable[Batch]) -> None:
            few, images = _first(data)
            if i == 0:
                self.begin(images)
            v = climb(few).flatten(1)
            if i > 0:
                self.move_offset(i, v.mean(0))
            self.start_chains(v, i, pairs[i])

        # Copies multiply both a unit's log-odds and its part of the gradient.
        lr_scale = (self.config.joint_lr if i else 1.0) / math.prod(pairs[i]) ** 2
        return Stage(
            f"layers {i} and {i + 1}",
            (self._update(i, pairs[i]),),
            prepare=lambda batch: batch._replace(images=climb(batch.images)),
            start=start,
            settings=StageSettings(share=share, lr_scale=lr_scale),
        )

    def _joint(self, share: float) -> Stage:
        copies = (1,) * len(self.biases)

        @torch.no_grad()
        def start(data: Iterable[Batch]) -> None:
            few, images = _first(data)
            if self.config.pretraining == "none":
                self.begin(images)
            v = few.flatten(1)
            means = self.layers().mean_field(v, self.config.mean_field)
            for layer, mean in enumerate(means[1:], start=1):
                self.move_offset(layer, mean.mean(0))
            self.start_chains(v, 0, copies)

        settings = StageSettings(share=share, lr_scale=self.config.joint_lr)
        return Stage("all layers", (self._update(0, copies),), start=start, settings=settings)

    def _update(self, first: int, copies: Sequence[int]) -> Update:
        biases, weights = self.own(first, len(copies))
        optimizer = Optimizer("sgd", momentum=self.config.momentum)
        loss = partial(self.contrast, first, copies)
        return Update("pcd", loss, (*biases, *weights), optimizer, ema=True)

    def contrast(self, first: int, copies: Sequence[int], batch: Batch, step: Step) -> Loss:
        """Mean energy of the data less that of the chains, for the layers from `first` on."""
        config, layers = self.config, self.layers(first, copies)
        v = copies[0] * batch.images.flatten(1)
        with torch.no_grad():
            data = layers.mean_field(v, config.mean_field)
            chains = self.chains()[first:]
            model = [v.new_empty(0)] * len(layers)
            for i in layers.parity(odd=True):
                model[i] = chains[i - 1].to(v.dtype)
            model = layers.gibbs(model, config.k - 1, uniform_like(chains[0]))
            for i in layers.parity(odd=False):
                model[i] = _draw(layers, i, layers.field(i, model))
            for i in layers.parity(odd=True):
                odds = layers.field(i, model)
                chains[i - 1].copy_(_draw(layers, i, odds))
                model[i] = copies[i] * odds.sigmoid()  # its mean is known, and varies less
        total = layers.contrast(data, model)
        if config.weight_decay:
            squares = torch.stack([w.square().sum() for w in layers.weights])
            total = total + 0.5 * config.weight_decay * squares.sum()
        return Loss(total)

    @torch.no_grad()
    def begin(self, images: Iterable[Tensor]) -> None:
        """Set visible biases and offsets to the base rates of `images`, batches (B, C, H, W)."""
        mean, _ = base_rates(x.flatten(1) for x in images)
        self.base.copy_(mean.logit())
        self.biases[0].copy_(self.base)
        if self.config.centered:
            self.get_buffer("offset0").copy_(mean)

    @torch.no_grad()
    def move_offset(self, layer: int, mean: Tensor) -> None:
        """Centre a hidden layer at `mean` (n_units,) and leave the distribution as it is."""
        if not self.config.centered:
            return
        offset = self.get_buffer(f"offset{layer}")
        moved = mean - offset
        self.biases[layer - 1].add_(self.weights[layer - 1] @ moved)
        if layer < len(self.weights):
            self.biases[layer + 1].add_(moved @ self.weights[layer])
        offset.copy_(mean)

    @torch.no_grad()
    def start_chains(self, v: Tensor, first: int, copies: Sequence[int]) -> None:
        """Let chains start from the posterior of states `v` (n, n_units) of the layer `first`."""
        rows = torch.arange(self.config.chains, device=v.device) % len(v)
        layers = self.layers(first, copies)
        means = layers.mean_field(copies[0] * v[rows], self.config.mean_field)
        for i in range(1, len(layers)):
            odds = (means[i] / copies[i]).logit(1e-6)
            self.chains()[first + i - 1].copy_(_draw(layers, i, odds))

    def log_prob_bound(self, x: Tensor, condition: Condition = NOTHING) -> Tensor:
        """E_q[-E] + H(q) by mean field, (B,) nats: at most log p(x) + log Z."""
        s = self.posterior(x)
        entropy = [(torch.special.entr(m) + torch.special.entr(1 - m)).sum(1) for m in s[1:]]
        return self.layers().negative_energy(s) + torch.stack(entropy).sum(0)

    def log_weights(self, x: Tensor, k: int, condition: Condition = NOTHING) -> Tensor:
        """Importance weights of k draws of the odd layers from q, (k, B) nats, without log Z.

        The even ones are summed out, so a single draw's bound is tighter than `log_prob_bound`.
        """
        return self.layers().log_weights(self.posterior(x), k)

    def posterior(self, x: Tensor) -> list[Tensor]:
        """Images (B, C, H, W) -> all layers, flat: the image, then the units' probabilities."""
        return self.layers().mean_field(x.flatten(1), max(MEASURED_PASSES, self.config.mean_field))

    def log_partition(self, *, chains: int = 64, temperatures: int = 500) -> LogPartition:
        """Log Z in nats, by annealed importance sampling of the odd layers."""
        found = self.layers().log_partition(self.base, chains, temperatures)
        return LogPartition(found.value, found.standard_error, found.doubt)

    def filters(self) -> Tensor:
        """Weights of the lowest hidden layer's units, (n_units, C, H, W)."""
        filters: Tensor = self.weights[0].detach().T
        return filters.reshape(-1, *self.data.shape)

    def sample(
        self,
        n: int,
        *,
        generator: ImageGenerator,
        condition: Condition = NOTHING,
        steps: int = GibbsSampling.steps,
    ) -> Tensor:
        """E[v|h] after `steps` rounds of Gibbs sampling from the base rates.

        In float64: rounding that depends on the batch would turn a unit over now and then.
        """
        wide = in_float64(self)
        layers = wide.layers()
        at_rest = [wide.base, *(torch.zeros_like(b) for b in layers.biases[1:])]
        numbers = torch.split(generator.uniform(sum(layers.widths)), layers.widths, dim=1)
        s = [bernoulli(odds, u) for odds, u in zip(at_rest, numbers, strict=True)]
        for i in layers.parity(odd=True):
            s[i] = bernoulli(layers.field(i, s), generator.uniform(layers.widths[i]))
        s = layers.gibbs(s, steps, generator.uniform)
        mean: Tensor = layers.field(0, s).sigmoid().float()
        return mean.view(-1, *self.data.shape)


def _first(data: Iterable[Batch]) -> tuple[Tensor, Iterator[Tensor]]:
    """The images of the first batches in one tensor, and those of all batches."""
    batches = (batch.images for batch in data)
    few = list(itertools.islice(batches, FEW))
    return torch.cat(few), itertools.chain(few, batches)


def _draw(layers: Layers, i: int, odds: Tensor) -> Tensor:
    """Draw layer `i` from its log-odds (n, n_units), by torch's global generator."""
    return layers.draw(i, odds, torch.rand(len(odds), layers.widths[i], device=odds.device))
