r"""Boltzmann machine: visible and hidden units, all coupled to one another.

(Ackley, Hinton and Sejnowski 1985, "A learning algorithm for Boltzmann machines".) With the energy
E(v, h) of `machine.py`, p(v) = sum_h exp(-E(v, h)) / Z. The loss

    < E(v, h) >_data - < E(v, h) >_model

has the gradient of -log p: units that are on together more often in the data than in the model are
coupled more strongly. The model's part comes from chains of Gibbs sampling that go on from step to
step; the data's part, h given v, from mean field, which maximises a lower bound on log p, or from
Gibbs sampling. That is the scheme of Salakhutdinov and Hinton 2009 ("Deep Boltzmann machines") in
place of the simulated annealing of 1985; other departures are the centred units. A machine without
hidden units may learn by pseudo-likelihood instead (Besag 1975), with no chains.

The likelihood is bounded by mean field, and estimated by importance sampling with its means as the
proposal; with few hidden units both are exact but for log Z, and with few units in all Z is, too.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

import torch
from torch import Tensor

from gencli.data.spec import DataInfo
from gencli.errors import UsageError
from gencli.models.abilities import LogPartition
from gencli.models.base_rates import base_rates
from gencli.models.boltzmann.configs import BoltzmannConfig, SweepSampling
from gencli.models.boltzmann.gibbs import in_float64
from gencli.models.boltzmann.machine import FEW_UNITS, Machine
from gencli.models.boltzmann.sweeps import sweep
from gencli.models.interface import (
    NOTHING,
    Batch,
    Condition,
    GenerativeModel,
    Loss,
    Optimizer,
    Stage,
    Step,
    Update,
)
from gencli.models.softplus import bernoulli_log_prob
from gencli.random import ImageGenerator


class Boltzmann(GenerativeModel):
    """Visible and hidden binary units, all coupled."""

    bf16 = False  # its products are small, and fields that cancel would be off

    per_process: ClassVar[tuple[str, ...]] = ("chain",)

    config: BoltzmannConfig
    chain: Tensor

    def __init__(self, config: BoltzmannConfig, data: DataInfo) -> None:
        super().__init__(config, data)
        if not data.binary:
            raise UsageError("A Boltzmann machine needs binary data.", "Add --binarize dynamic.")
        if config.hidden and config.objective == "pseudo-likelihood":
            raise UsageError(
                "--objective pseudo-likelihood is for machines without hidden units.",
                "Add --hidden 0, or take `gencli train rbm`.",
            )
        self.machine = Machine(data.n_pixels, config.hidden)
        n = data.n_pixels + config.hidden
        if config.objective == "likelihood":
            self.register_buffer("chain", torch.zeros(config.chains, n, dtype=torch.bool))

    def loss(self, batch: Batch, step: Step) -> Loss:
        """The contrast of energies, or the pseudo-likelihood in nats, per image."""
        v, couplings = batch.images.flatten(1), self.machine.couplings()
        if self.config.objective == "likelihood":
            total = self._contrast(v, couplings)
        else:
            total = -bernoulli_log_prob(v, self.machine.fields(v, couplings)).mean()
        decay = 0.5 * self.config.weight_decay * self.machine.weight.square().sum()
        return Loss(total + decay)

    def _contrast(self, v: Tensor, couplings: Tensor) -> Tensor:
        machine, config = self.machine, self.config
        with torch.no_grad():
            data = torch.cat([v, self.posterior(v, couplings)], 1)
            model, bias = self.chain.to(v.dtype), machine.bias(couplings)
            for _ in range(config.k):
                model, _ = sweep(model, couplings, bias, torch.rand_like(model))
            self.chain.copy_(model)
        energies = machine.energy(torch.cat([data, model]), couplings)
        of_data, of_model = energies.tensor_split([len(v)])
        return of_data.mean() - of_model.mean()

    def posterior(self, v: Tensor, couplings: Tensor) -> Tensor:
        """Hidden units (B, n_hidden) for flat images: means under mean field, or draws."""
        machine, rounds = self.machine, self.config.settle
        if self.config.posterior == "mean-field":
            return machine.mean_field(v, couplings, rounds)
        bias, first = machine.bias(couplings), machine.n_visible
        s = torch.cat([v, torch.rand(len(v), machine.n_hidden, device=v.device).round()], 1)
        for _ in range(rounds):
            s, _ = sweep(s, couplings, bias, torch.rand_like(s[:, first:]), first)
        return s[:, first:]

    @torch.no_grad()
    def start(self, images: Iterable[Tensor]) -> None:
        """Set biases, offsets and chains to the base rates of `images`, batches (B, C, H, W)."""
        rates, _ = base_rates(x.flatten(1) for x in images)
        self.machine.begin(rates)
        if self.config.objective == "likelihood":
            uniform = torch.rand(self.chain.shape, device=self.chain.device)
            self.chain.copy_(self.machine.free_draws(uniform))

    def updates(self) -> tuple[Update, ...]:
        """One update over the loss, by SGD."""
        optimizer = Optimizer("sgd", momentum=self.config.momentum)
        return (Update("machine", self.loss, tuple(self.parameters()), optimizer, ema=True),)

    def stages(self) -> tuple[Stage, ...]:
        """One stage, which starts from the base rates."""
        return (
            Stage("train", self.updates(), start=lambda data: self.start(b.images for b in data)),
        )

    def log_weights(self, x: Tensor, k: int, condition: Condition = NOTHING) -> Tensor:
        """Importance weights of k draws of h by mean field, (k, B) nats, without log Z.

        Those of a few hidden units are summed out: the weights are then all the same, and exact.
        """
        return self.machine.log_weights(x.flatten(1), k)

    def log_partition(self, *, chains: int = 64, temperatures: int = 500) -> LogPartition:
        """Log Z in nats: exact for few units, else by annealed importance sampling."""
        if len(self.machine.b) <= FEW_UNITS:
            return LogPartition(self.machine.exact_log_partition(), 0.0)
        found = self.machine.log_partition(chains, temperatures)
        return LogPartition(found.value, found.standard_error, found.doubt)

    def filters(self) -> Tensor:
        """Couplings of each hidden unit, or each pixel where there are none, to the pixels."""
        n = self.machine.n_visible
        couplings = self.machine.couplings().detach()
        rows = couplings[n:, :n] if self.machine.n_hidden else couplings
        return rows.reshape(-1, *self.data.shape)

    def sample(
        self,
        n: int,
        *,
        generator: ImageGenerator,
        condition: Condition = NOTHING,
        steps: int = SweepSampling.steps,
    ) -> Tensor:
        """Sweeps of Gibbs sampling from the base rates, then each pixel's mean given all others.

        In float64, for the same reason as an RBM's.
        """
        machine = in_float64(self.machine)
        couplings, n_units = machine.couplings(), len(machine.b)
        bias = machine.bias(couplings)
        s = machine.free_draws(generator.uniform(n_units))
        logits = s.new_zeros(s.shape) + machine.base
        for _ in range(steps):
            s, logits = sweep(s, couplings, bias, generator.uniform(n_units))
        return logits[:, : machine.n_visible].sigmoid().float().view(-1, *self.data.shape)
