r"""Restricted Boltzmann machine (Smolensky 1986; Hinton 2002, "Training products of experts").

Binary hidden units h and binary or Gaussian visible units v with the joint energy, where u = v / sigma
(sigma is 1 for binary units and one learnt number for Gaussian ones, after Cho et al. 2011),

    E(v, h) = e(v, b) - c.h - u W h,    e(v, b) = -b.v    or    |v - b|^2 / (2 sigma^2)

so that summing out h leaves p(v) = exp(-F(v)) / Z with the free energy

    F(v) = e(v, b) - sum_j log(1 + exp(c_j + (u W)_j))

The loss is F(v+) - F(v-): v+ from the data, and v- from a Gibbs chain drawn without gradients, so that
its gradient is the contrastive-divergence update (CD-k: the chain starts at the data) or the persistent
one (Tieleman 2008: the chain goes on from the last step), which approach the gradient of -log p.
Sparsity pulls the mean activity of each hidden unit to a target (Lee et al. 2008, squared).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gencli.core.model import Batch, GenerativeModel, Loss, Optimizer, Stage, Update
from gencli.data.spec import DataInfo
from gencli.errors import UsageError
from gencli.evaluation.ais import ais
from gencli.options import Training, option
from gencli.sampling.generator import ImageGenerator
from gencli.sampling.gibbs import bernoulli, gibbs, uniform_like


@dataclass(frozen=True)
class Config:
    """Options of `rbm`."""

    hidden: int = option(500, "Hidden units.", min=1)
    visible: Literal["auto", "binary", "gaussian"] = option(
        "auto", "Visible units; auto is binary for binary data and Gaussian otherwise."
    )
    k: int = option(1, "Gibbs steps of the negative phase (CD-k, PCD-k).", min=1)
    persistent: bool = option(True, "Let the chains go on from step to step (PCD).")
    chains: int = option(100, "Persistent chains.", min=1)
    optimizer: Literal["adam", "sgd"] = option("adam", "Adam, or SGD with momentum.")
    momentum: float = option(0.5, "Momentum of SGD.", min=0, max=0.999)
    weight_decay: float = option(0.0, "Weight of |W|^2 / 2 in the loss.", min=0)
    sparsity: float = option(0.0, "Weight of the sparsity penalty.", min=0)
    sparsity_target: float = option(0.1, "Mean activity that it pulls to.", min=0.001, max=0.999)


TRAINING = Training(
    epochs=20, batch_size=100, lr=1e-3, lr_schedule="cosine", ema_decay=0.999, binarize="dynamic"
)


class RBM(GenerativeModel):
    """One layer of binary hidden units over binary or Gaussian visible ones."""

    base_bias: Tensor
    chain: Tensor

    def __init__(self, config: Config, data: DataInfo) -> None:
        super().__init__(data)
        self.config = config
        self.gaussian = not data.binary if config.visible == "auto" else config.visible == "gaussian"
        if not (self.gaussian or data.binary):
            raise UsageError(
                "Binary visible units need binary data.",
                "Add --binarize dynamic, or take --visible gaussian.",
            )
        n_v, n_h = data.n_pixels, config.hidden
        self.weight = nn.Parameter(0.01 * torch.randn(n_v, n_h))
        self.b = nn.Parameter(torch.zeros(n_v))
        self.c = nn.Parameter(torch.zeros(n_h))
        if self.gaussian:
            self.log_sigma = nn.Parameter(torch.zeros(()))
        # The biases of the best model with W = 0: where training, sampling and AIS begin.
        self.register_buffer("base_bias", torch.zeros(n_v))
        if config.persistent:
            self.register_buffer("chain", torch.zeros(config.chains, n_h, dtype=torch.bool))
        self._log_z: tuple[object, tuple[float, float]] | None = None

    # -- the two conditionals and the free energy, on flat units v (B, n_visible), h (B, n_hidden) -----

    @property
    def sigma(self) -> Tensor | float:
        """Standard deviation of a Gaussian visible unit given the hidden ones."""
        return self.log_sigma.exp() if self.gaussian else 1.0

    def up(self, v: Tensor) -> Tensor:
        """Log-odds of the hidden units given the visible ones, c + u W."""
        u = v / self.sigma if self.gaussian else v
        return torch.addmm(self.c, u, self.weight).to(v.dtype)

    def down(self, h: Tensor, beta: float = 1.0) -> Tensor:
        """Log-odds of binary visible units given h, or means of Gaussian ones.

        `beta` tempers towards the base rates, which are what is left at 0.
        """
        field = F.linear(h, self.weight).to(h.dtype) * self.sigma
        return self.b + field if beta == 1 else torch.lerp(self.base_bias, self.b + field, beta)

    def draw_hidden(self, v: Tensor, uniform: Tensor) -> Tensor:
        """h ~ p(h|v), from one uniform number per unit."""
        return bernoulli(self.up(v), uniform)

    def draw_visible(self, h: Tensor, uniform: Tensor, beta: float = 1.0) -> Tensor:
        """v ~ p(v|h), from one uniform number per unit."""
        field = self.down(h, beta)
        if not self.gaussian:
            return bernoulli(field, uniform)
        return field + self.sigma * torch.special.ndtri(uniform.clamp_min(2**-25))

    def visible_energy(self, v: Tensor, bias: Tensor) -> Tensor:
        """e(v, bias), (B,)."""
        if self.gaussian:
            return 0.5 * ((v - bias) / self.sigma).square().sum(1)
        return -(v * bias).sum(1)

    def free_energy(self, v: Tensor, logits: Tensor) -> Tensor:
        """F(v), (B,), where `logits` is up(v)."""
        return self.visible_energy(v, self.b) - F.softplus(logits).sum(1)

    # -- training ----------------------------------------------------------------------------------

    def loss(self, batch: Batch) -> Loss:
        """F(v+) - F(v-), per image, and the penalties."""
        config = self.config
        v = batch.images.flatten(1)
        logits = self.up(v)  # with gradients first: autocast keeps its copy of W, and its graph
        with torch.no_grad():
            h = self.chain.to(v.dtype) if config.persistent else self._draw(logits)
            h = gibbs(
                h, config.k - 1, down=self.draw_visible, up=self.draw_hidden,
                n_visible=v.shape[1], uniform=uniform_like(h),
            )  # fmt: skip
            v_model = self.draw_visible(h, uniform_like(h)(v.shape[1]))
        logits_model = self.up(v_model)
        if config.persistent:
            self.chain.copy_(self._draw(logits_model.detach()))
        f_data = self.free_energy(v, logits).mean()
        f_model = self.free_energy(v_model, logits_model).mean()
        total = f_data - f_model
        if config.weight_decay:
            total = total + 0.5 * config.weight_decay * self.weight.square().sum()
        if config.sparsity:
            off_target = logits.sigmoid().mean(0) - config.sparsity_target
            total = total + config.sparsity * off_target.square().sum()
        return Loss(total, free_energy=f_data)

    @staticmethod
    def _draw(logits: Tensor) -> Tensor:
        return bernoulli(logits, torch.rand_like(logits))

    def start(self, data: Iterable[Tensor]) -> None:
        """Set the visible biases to the base rates of `data`, batches of images (B, C, H, W)."""
        n, total, squares = 0, torch.zeros_like(self.b), torch.zeros_like(self.b)
        for images in data:
            v = images.flatten(1)
            n += len(v)
            total += v.sum(0)
            squares += v.square().sum(0)
        with torch.no_grad():
            if self.gaussian:
                self.base_bias.copy_(total / n)
                variance = (squares / n - self.base_bias.square()).mean()
                self.log_sigma.copy_(0.5 * variance.clamp_min(1e-6).log())
            else:  # a pixel that is always 0 keeps a finite bias
                self.base_bias.copy_(torch.logit((total + 0.5) / (n + 1)))
            self.b.copy_(self.base_bias)

    def updates(self) -> tuple[Update, ...]:
        """One update over the loss."""
        optimizer = Optimizer(self.config.optimizer, momentum=self.config.momentum)
        return (Update("rbm", self.loss, tuple(self.parameters()), optimizer, ema=True),)

    def stages(self) -> tuple[Stage, ...]:
        """One stage, whose start sets the visible biases."""
        return (
            Stage("train", self.updates(), start=lambda data: self.start(b.images for b in data)),
        )

    # -- energy, normaliser, samples -----------------------------------------------------------------

    def energy(self, x: Tensor) -> Tensor:
        """F(x) of images (B, C, H, W), (B,) nats."""
        v = x.flatten(1)
        return self.free_energy(v, self.up(v))

    def log_partition(self, n_chains: int, n_temperatures: int) -> tuple[float, float]:
        """(log Z, standard error) by annealed importance sampling from the base rates.

        The path is that of Salakhutdinov and Murray 2008: beta F_base mixed into F, hidden units with
        logits scaled by beta. A value is computed once for each state of the weights.
        """
        sums = (p.detach().double().square().sum().item() for p in self.parameters())
        key = (n_chains, n_temperatures, *sums)
        if self._log_z is None or self._log_z[0] != key:
            self._log_z = key, self._anneal(n_chains, n_temperatures)
        return self._log_z[1]

    @torch.no_grad()
    def _anneal(self, n_chains: int, n_temperatures: int) -> tuple[float, float]:
        rest = self.b.new_zeros(n_chains, len(self.c))
        uniform = uniform_like(rest)
        seen: list[tuple[Tensor, Tensor]] = []

        def logits_of(v: Tensor) -> Tensor:  # asked three times for the same v
            if not seen or seen[0][0] is not v:
                seen[:] = [(v, self.up(v))]
            return seen[0][1]

        def log_f(v: Tensor, beta: float) -> Tensor:
            hidden = F.softplus(beta * logits_of(v)).sum(1)
            base, own = (self.visible_energy(v, bias) for bias in (self.base_bias, self.b))
            return hidden - (1 - beta) * base - beta * own

        def transition(v: Tensor, beta: float) -> Tensor:
            h = bernoulli(beta * logits_of(v), uniform(len(self.c)))
            return self.draw_visible(h, uniform(len(self.b)), beta)

        v = self.draw_visible(rest, uniform(len(self.b)), 0.0)
        log_z_base = self._visible_log_partition(self.base_bias) + len(self.c) * math.log(2)
        log_ratio, error = ais(v, log_f, transition, n_temperatures)
        return float(log_z_base) + log_ratio, error

    def _visible_log_partition(self, field: Tensor) -> Tensor:
        """log of the sum, or integral, of exp(-e(v, field)) over v."""
        if self.gaussian:
            return len(self.b) * (self.log_sigma + 0.5 * math.log(2 * math.pi)).expand(field.shape[:-1])
        return F.softplus(field).sum(-1)

    def log_conditional(self, v: Tensor, h: Tensor) -> Tensor:
        """log p(v|h), (B,) nats."""
        field = self.down(h)
        return -self.visible_energy(v, field) - self._visible_log_partition(field)

    def validation_loss(self, x: Tensor) -> Tensor:
        """-log p(x), (B,) nats, with a quick estimate of log Z: 64 chains, 500 temperatures."""
        return self.energy(x) + self.log_partition(64, 500)[0]

    def settle(self, n: int, uniform: Callable[[int], Tensor], steps: int) -> Tensor:
        """Hidden units (n, n_hidden) after `steps` rounds of Gibbs sampling from the base rates."""
        rest = self.b.new_zeros(n, len(self.c))
        v = self.draw_visible(rest, uniform(len(self.b)), 0.0)
        h = self.draw_hidden(v, uniform(len(self.c)))
        return gibbs(
            h, steps, down=self.draw_visible, up=self.draw_hidden,
            n_visible=len(self.b), uniform=uniform,
        )  # fmt: skip

    def mean_visible(self, h: Tensor) -> Tensor:
        """E[v|h], (n, n_visible)."""
        field = self.down(h)
        return field if self.gaussian else field.sigmoid()

    def sample(
        self, n: int, *, generator: ImageGenerator, labels: Tensor | None = None, steps: int = 1000
    ) -> Tensor:
        """E[v|h] after `steps` rounds of Gibbs sampling from the base rates.

        In float64, so that no rounding that depends on the batch turns a unit over and sends one
        image another way. A round costs one random number per unit and two matrix products.
        """
        exact = copy.deepcopy(self).to(torch.float64)
        v = exact.mean_visible(exact.settle(n, generator.uniform, steps))
        return v.float().clamp(0, 1).unflatten(1, self.data.shape)
