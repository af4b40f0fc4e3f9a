r"""Sigmoid belief network and its recognition network: a Helmholtz machine of binary units.

Every layer is drawn given the one above (Neal 1992, "Connectionist learning of belief networks").
A second network goes upwards and approximates the posterior (Dayan et al. 1995):

    p(x, h) = p(h_L) p(h_{L-1}|h_L) ... p(x|h_1),    q(h|x) = q(h_1|x) q(h_2|h_1) ... q(h_L|h_{L-1})

The units of a layer are independent, with log-odds linear in the layer before. Of K draws
("particles") from q, the weights w_k = p(x, h_k) / q(h_k|x) have the mean p(x). Objectives:

- `rws`, reweighted wake-sleep (Bornschein and Bengio 2015, arXiv:1406.2751): both networks climb
  sum_k w_k / (sum w) [log p(x, h_k) + log q(h_k|x)], the weights taken as constants, and q also
  learns from dreams, log q(h|x) for (x, h) ~ p;
- `wake-sleep` (Hinton et al. 1995): p climbs the same with equal weights, q has dreams alone;
- `vimco` (Mnih and Rezende 2016, arXiv:1602.06725): both climb E log(1/K sum w), the gradient by
  the score function. The baseline of a draw is the same bound with the geometric mean of the other
  weights in the place of its own.

The two networks have no parameter in common, so one loss trains both. Departures: visible biases
start at the base rates; Adam, with one learning rate for both networks.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gencli.data.spec import DataInfo
from gencli.errors import UsageError
from gencli.models.base_rates import base_rates
from gencli.models.interface import NOTHING, Batch, Condition, GenerativeModel, Loss, Stage, Step
from gencli.models.latent.configs import SBNConfig
from gencli.models.softplus import bernoulli_log_prob
from gencli.random import ImageGenerator


class SBN(GenerativeModel):
    """Layers of binary units; lists of layers go from the lowest hidden one upwards.

    Its latent space, for walks and reconstructions, is the lowest hidden layer: given that, the
    image's mean is exact, and the layers above are its prior.
    """

    config: SBNConfig

    def __init__(self, config: SBNConfig, data: DataInfo) -> None:
        super().__init__(config, data)
        if not data.binary:
            raise UsageError("Belief networks need binary data.", "Add --binarize dynamic.")
        if not config.hidden:
            raise UsageError("Belief networks need a hidden layer.", "Give --hidden 200,200.")
        if config.objective == "vimco" and config.particles < 2:
            raise UsageError("vimco compares particles.", "Take two or more: --particles 5.")
        widths = list(pairwise((data.n_pixels, *config.hidden)))
        self.prior = nn.Parameter(torch.zeros(config.hidden[-1]))
        self.generative = nn.ModuleList(nn.Linear(above, below) for below, above in widths)
        self.recognition = nn.ModuleList(nn.Linear(below, above) for below, above in widths)

    def down(self) -> list[nn.Linear]:
        """The generative layers, the one onto the pixels first."""
        return cast("list[nn.Linear]", list(self.generative))

    def up(self) -> list[nn.Linear]:
        """The recognition layers, the one from the pixels first."""
        return cast("list[nn.Linear]", list(self.recognition))

    def infer(self, x: Tensor, k: int) -> tuple[list[Tensor], Tensor]:
        """Draw k times from q(h|x).

        Args:
            x: Flat images (B, n_pixels).
            k: Draws for each.

        Returns:
            The layers, each (k, B, n_units), and log q(h|x), (k, B) nats.
        """
        # The lowest layer's log-odds are the same for all draws; all others take one product each.
        lowest, *others = self.up()
        logits = lowest(x).expand(k, -1, -1)
        states = [_draw(logits)]
        log_q = bernoulli_log_prob(states[0], logits)
        for layer in others:
            logits = layer(states[-1])
            states.append(_draw(logits))
            log_q = log_q + bernoulli_log_prob(states[-1], logits)
        return states, log_q

    def log_posterior(self, x: Tensor, states: Sequence[Tensor]) -> Tensor:
        """Log q(h|x), (...) nats, of flat images (..., n_pixels) and layers (..., n_units)."""
        log_q = x.new_zeros(())
        for layer, (below, here) in zip(self.up(), pairwise((x, *states)), strict=True):
            log_q = log_q + bernoulli_log_prob(here, layer(below))
        return log_q

    def log_joint(self, x: Tensor, states: Sequence[Tensor]) -> Tensor:
        """Log p(x, h), (...) nats; flat images x broadcast with the layers (..., n_units)."""
        log_p = bernoulli_log_prob(states[-1], self.prior.expand_as(states[-1]))
        for layer, (here, above) in zip(self.down(), pairwise((x, *states)), strict=True):
            log_p = log_p + bernoulli_log_prob(here, layer(above))
        return log_p

    def loss(self, batch: Batch, step: Step) -> Loss:
        """What has the objective's gradient; the bound log(1/K sum w) is the figure to watch."""
        config, x = self.config, batch.images.flatten(1)
        states, log_q = self.infer(x, config.particles)
        log_p = self.log_joint(x, states)
        total = -climbed(config.objective, log_p, log_q).mean()
        if config.objective != "vimco":
            total = total - config.dreams * self.log_posterior(*self.dream(len(x))).mean()
        return Loss(total, bound=-log_mean(log_p - log_q).mean())

    @torch.no_grad()
    def dream(self, n: int) -> tuple[Tensor, list[Tensor]]:
        """Draws (x, h) ~ p: flat images (n, n_pixels) and the layers, each (n, n_units)."""
        states = self.descend(n, lambda m: torch.rand(n, m, device=self.device))
        return _draw(self.down()[0](states[0])), states

    def descend(
        self, n: int, uniform: Callable[[int], Tensor], dtype: torch.dtype = torch.float32
    ) -> list[Tensor]:
        """Draw the hidden layers from p(h).

        Args:
            n: How many draws.
            uniform: Gives (n, m) numbers uniform in [0, 1).
            dtype: Of the arithmetic, and of what is returned.

        Returns:
            The layers, each (n, n_units).
        """
        logits = self.prior.to(dtype).expand(n, -1)
        states = [(uniform(logits.shape[1]) < logits.sigmoid()).to(dtype)]
        for layer in reversed(self.down()[1:]):
            logits = F.linear(states[0], layer.weight.to(dtype), layer.bias.to(dtype))
            states.insert(0, (uniform(logits.shape[1]) < logits.sigmoid()).to(dtype))
        return states

    def stages(self) -> tuple[Stage, ...]:
        """One stage, which starts from the base rates."""
        return (Stage("train", self.updates(), start=self.start),)

    @torch.no_grad()
    def start(self, data: Iterable[Batch]) -> None:
        """Set the visible biases to the base rates of `data`, batches of images."""
        rates, _ = base_rates(batch.images.flatten(1) for batch in data)
        self.down()[0].bias.copy_(rates.logit())

    def log_weights(self, x: Tensor, k: int, condition: Condition = NOTHING) -> Tensor:
        """Importance weights log p(x, h) / q(h|x) of k draws from q, (k, B) nats."""
        flat = x.flatten(1)
        states, log_q = self.infer(flat, k)
        return self.log_joint(flat, states) - log_q

    def validation_loss(self, x: Tensor, condition: Condition = NOTHING) -> Tensor:
        """The bound -log(1/K sum w) by as many particles as in training, (B,) nats."""
        return -log_mean(self.log_weights(x, self.config.particles))

    def sample_latent(self, n: int, *, generator: ImageGenerator) -> Tensor:
        """The lowest hidden layer, (n, n_units), drawn from the top down.

        In float64: rounding that depends on the batch would turn a unit over now and then.
        """
        wide = torch.float32 if self.device.type == "mps" else torch.float64
        return self.descend(n, generator.uniform, wide)[0].float()

    def decode(self, z: Tensor, condition: Condition = NOTHING) -> Tensor:
        """The lowest hidden layer (n, n_units) -> mean images (n, C, H, W)."""
        logits: Tensor = self.down()[0](z)
        return logits.float().sigmoid().view(-1, *self.data.shape)

    def encode(self, x: Tensor, condition: Condition = NOTHING) -> Tensor:
        """(B, C, H, W) -> means of q(h_1|x), (B, n_units)."""
        logits: Tensor = self.up()[0](x.flatten(1))
        return logits.float().sigmoid()

    def filters(self) -> Tensor:
        """Weights from the lowest hidden layer's units to the pixels, (n_units, C, H, W)."""
        weight: Tensor = self.down()[0].weight
        return weight.detach().T.reshape(-1, *self.data.shape)

    def sample(
        self, n: int, *, generator: ImageGenerator, condition: Condition = NOTHING
    ) -> Tensor:
        """E[x|h_1] of h_1 drawn from the top down."""
        return self.decode(self.sample_latent(n, generator=generator))


def climbed(
    objective: Literal["rws", "wake-sleep", "vimco"], log_p: Tensor, log_q: Tensor
) -> Tensor:
    """What has the objective's gradient on K draws from q, dreams aside.

    Args:
        objective: As in the module's docstring.
        log_p: Log p(x, h), (K, B) nats.
        log_q: Log q(h|x), (K, B) nats.

    Returns:
        (B,); the value itself means nothing but for `wake-sleep`, whose it is the mean log p(x, h).
    """
    if objective == "wake-sleep":
        return log_p.mean(0)
    log_w = (log_p - log_q).detach()
    share = log_w.softmax(0)
    if objective == "rws":
        return (share * (log_p + log_q)).sum(0)
    k = len(log_w)
    others = (log_w.sum(0) - log_w) / (k - 1)  # geometric means
    # [i, j]: weight i, or where i = j what stands in its place in the baseline of j.
    own = torch.eye(k, dtype=torch.bool, device=log_w.device).unsqueeze(-1)
    baseline = log_mean(torch.where(own, others, log_w.unsqueeze(1)))
    signal = log_mean(log_w) - baseline
    return (signal * log_q + share * (log_p - log_q)).sum(0)


def log_mean(log_w: Tensor) -> Tensor:
    """The logarithm of the mean weight over the first dimension, (K, ...) -> (...)."""
    return log_w.logsumexp(0) - math.log(len(log_w))


def _draw(logits: Tensor) -> Tensor:
    """Zeros and ones with these log-odds, from torch's global generator."""
    uniform = torch.rand(logits.shape, device=logits.device)
    return (uniform < logits.detach().float().sigmoid()).to(logits.dtype)
