r"""Deep belief network (Hinton et al. 2006, "A fast learning algorithm for deep belief nets").

Restricted Boltzmann machines are trained one after another, each on the hidden units that those
below draw for the data, q(h|v). Then the top one gives the prior and the others lead downwards:

    p(v) = sum_h p(v|h1) p(h1|h2) ... p_top(h_{L-1}),    q(h|v) = q(h1|v) q(h2|h1) ...

The likelihood is bounded as by Salakhutdinov and Murray 2008 ("On the quantitative analysis of deep
belief networks"), with log Z of the top RBM from annealed importance sampling:

    log p(v) >= E_q[ log p(v|h1) + ... - F_top(h_{L-1}) - log q(h|v) ] - log Z

A layer with at least as many hidden units as the one below has visible ones starts as that one
upside down, which leaves the bound where it was, to rise from there; any other starts afresh. Until
a layer's turn comes, the network is the one below it. There is no fine-tuning of all layers.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import asdict
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gencli.data.spec import DataInfo
from gencli.errors import UsageError
from gencli.models.abilities import LogPartition
from gencli.models.boltzmann.configs import DBNConfig, GibbsSampling, RBMConfig
from gencli.models.boltzmann.gibbs import bernoulli, in_float64
from gencli.models.boltzmann.rbm import RBM
from gencli.models.interface import (
    NOTHING,
    Batch,
    Condition,
    GenerativeModel,
    Stage,
    StageSettings,
)
from gencli.random import ImageGenerator

TURNED_LR_SCALE = 0.1
"""Of a layer that starts as the one below upside down, and has little left to learn."""


class DBN(GenerativeModel):
    """A stack of RBMs."""

    config: DBNConfig
    depth: Tensor

    def __init__(self, config: DBNConfig, data: DataInfo) -> None:
        super().__init__(config, data)
        if not config.hidden:
            raise UsageError("A belief network needs a hidden layer.", "Give --hidden 500,500.")
        settings, below = asdict(config), data
        layers = []
        for n_hidden in config.hidden:
            layers.append(RBM(RBMConfig(**{**settings, "hidden": n_hidden}), below))
            settings |= {"visible": "binary"}
            below = DataInfo(n_hidden, 1, 1, binarization="dynamic")
        self.layers = nn.ModuleList(layers)
        self.discrete_levels = layers[0].discrete_levels
        self.register_buffer("depth", torch.tensor(1))  # layers whose turn has come

    def stack(self, depth: int | None = None) -> list[RBM]:
        """The lowest `depth` layers, or those whose turn has come."""
        return cast("list[RBM]", list(self.layers))[: int(self.depth) if depth is None else depth]

    def climb(self, images: Tensor, depth: int) -> Tensor:
        """Draw the hidden units of layer `depth`, (B, n_hidden, 1, 1); at 0 the images."""
        v = images.flatten(1)
        for layer in self.stack(depth):
            v = layer.units.draw_hidden(
                v, torch.rand(len(v), layer.units.n_hidden, device=v.device)
            )
        return v[..., None, None] if depth else images

    def stages(self) -> tuple[Stage, ...]:
        """A stage for each layer, on what the layers below draw for the data."""
        return tuple(self._stage(depth) for depth in range(len(self.layers)))

    def _stage(self, depth: int) -> Stage:
        *below, layer = self.stack(depth + 1)

        turned = bool(below) and layer.units.fits_over(below[-1].units)

        def start(data: Iterable[Batch]) -> None:
            with torch.no_grad():
                self.depth.fill_(depth + 1)
                climbed = (self.climb(batch.images, depth) for batch in data)
                first = next(climbed)
                layer.start(itertools.chain([first], climbed))
                if turned:
                    layer.units.turn_over(below[-1].units)
                    layer.start_chains(first)

        return Stage(
            f"layer {depth + 1}",
            layer.updates(),
            prepare=lambda batch: batch._replace(images=self.climb(batch.images, depth)),
            start=start,
            frozen=tuple(below),
            settings=StageSettings(lr_scale=TURNED_LR_SCALE if turned else 1.0),
        )

    def log_partition(self, *, chains: int = 64, temperatures: int = 500) -> LogPartition:
        """Log Z of the top RBM, in nats, by annealed importance sampling."""
        return self.stack()[-1].log_partition(chains=chains, temperatures=temperatures)

    def log_weights(self, x: Tensor, k: int, condition: Condition = NOTHING) -> Tensor:
        """Importance weights of k draws of h, (k, B) nats, without log Z."""
        return torch.stack([self._log_weight(x) for _ in range(k)])

    def _log_weight(self, x: Tensor) -> Tensor:
        """For one draw of h, log p*(v, h) - log q(h|v), (B,), where p* lacks Z."""
        *below, top = self.stack()
        v, log_w = x.flatten(1), torch.zeros(len(x), device=x.device)
        for layer in below:
            logits = layer.units.up(v)
            h = bernoulli(logits, torch.rand_like(logits))
            log_q = (h * logits - F.softplus(logits)).sum(1)
            log_w = log_w + layer.units.log_conditional(v, h) - log_q
            v = h
        return log_w - top.energy(v)

    def filters(self) -> Tensor:
        """Weights of the first layer's hidden units, (n_hidden, C, H, W)."""
        return self.stack(1)[0].filters()

    def sample(
        self,
        n: int,
        *,
        generator: ImageGenerator,
        condition: Condition = NOTHING,
        steps: int = GibbsSampling.steps,
    ) -> Tensor:
        """`steps` rounds of Gibbs sampling in the top RBM and one pass down, to E[v|h1].

        In float64, for the same reason as an RBM's.
        """
        first, *others = in_float64(self).stack()
        h = (first, *others)[-1].units.settle(n, generator.uniform, steps)
        for layer in reversed(others):
            h = layer.units.draw_visible(h, generator.uniform(layer.units.n_visible))
        return first.decode_mean(h)
