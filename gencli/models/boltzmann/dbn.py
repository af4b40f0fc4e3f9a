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
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import ClassVar, Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gencli.config import Training, option
from gencli.data.spec import DataInfo
from gencli.models.boltzmann import rbm
from gencli.models.boltzmann.gibbs import bernoulli, in_float64
from gencli.models.boltzmann.rbm import RBM
from gencli.models.interface import Batch, GenerativeModel, Stage
from gencli.random import ImageGenerator


@dataclass(frozen=True)
class Config:
    """Options of `dbn`."""

    hidden: tuple[int, ...] = option((500, 1000), "Hidden units of the layers, upwards.", min=1)
    visible: Literal["auto", "binary", "gaussian"] = option(
        "auto", "Visible units; auto is binary for binary data and Gaussian otherwise."
    )
    k: int = option(1, "Gibbs steps of the negative phase.", min=1)
    persistent: bool = option(True, "Let the chains go on from step to step (PCD).")
    chains: int = option(100, "Persistent chains.", min=1)
    centered: bool = option(True, "Centre the units (without: the textbook's update).")
    optimizer: Literal["sgd", "adam"] = option("sgd", "SGD with momentum, or Adam.")
    momentum: float = option(0.0, "Momentum of SGD.", min=0, max=0.999)
    weight_decay: float = option(0.0, "Weight of |W|^2 / 2 in each layer's loss.", min=0)


TRAINING = Training(
    epochs=20, batch_size=100, lr=0.3, lr_schedule="cosine", ema_decay=0.999, binarize="dynamic"
)


TURNED_LR_SCALE = 0.1
"""Of a layer that starts as the one below upside down, and has little left to learn."""


class DBN(GenerativeModel):
    """A stack of RBMs.

    Attributes:
        n_chains: Of the annealed importance sampling behind the bound's log Z.
        n_temperatures: Likewise.
    """

    importance_weighted: ClassVar[bool] = True

    depth: Tensor

    def __init__(self, config: Config, data: DataInfo) -> None:
        super().__init__(data)
        self.config = config
        self.n_chains, self.n_temperatures = 100, 1000
        settings, below = asdict(config), data
        layers = []
        for n_hidden in config.hidden:
            layers.append(RBM(rbm.Config(**{**settings, "hidden": n_hidden}), below))
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
            layer.updates(TURNED_LR_SCALE if turned else 1.0),
            prepare=lambda images: self.climb(images, depth),
            start=start,
            frozen=tuple(below),
        )

    def log_prob_bound(self, x: Tensor, k: int = 1) -> Tensor:
        """The bound, importance-weighted for k > 1, (B,) nats, by an estimate of log Z."""
        return self._bound(x, k, self.n_chains, self.n_temperatures)

    def validation_loss(self, x: Tensor) -> Tensor:
        """The negative bound, (B,) nats, by a quick estimate of log Z."""
        return -self._bound(x, 1, 64, 500)

    def log_partition(self, n_chains: int, n_temperatures: int) -> tuple[float, float]:
        """(log Z of the top RBM, standard error), in nats."""
        return self.stack()[-1].log_partition(n_chains, n_temperatures)

    def _bound(self, x: Tensor, k: int, n_chains: int, n_temperatures: int) -> Tensor:
        log_z, _ = self.log_partition(n_chains, n_temperatures)
        log_w = torch.stack([self._log_weight(x) for _ in range(k)])
        return torch.logsumexp(log_w, 0) - math.log(k) - log_z

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
        self, n: int, *, generator: ImageGenerator, labels: Tensor | None = None, steps: int = 1000
    ) -> Tensor:
        """`steps` rounds of Gibbs sampling in the top RBM and one pass down, to E[v|h1].

        In float64, for the same reason as an RBM's.
        """
        first, *others = in_float64(self).stack()
        h = (first, *others)[-1].units.settle(n, generator.uniform, steps)
        for layer in reversed(others):
            h = layer.units.draw_visible(h, generator.uniform(layer.units.n_visible))
        return first.decode_mean(h)
