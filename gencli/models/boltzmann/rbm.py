r"""Restricted Boltzmann machine (Smolensky 1986; Hinton 2002, "Training products of experts").

With the energy of `units.py`, summing out the hidden units leaves p(v) = exp(-F(v)) / Z with

    F(v) = -b.v - sum_j log(1 + exp(c_j + (v W)_j))    (binary, not centred)

It is trained by one of the objectives of `objectives.py`: contrastive divergence (Hinton 2002), the
same with persistent chains (Tieleman 2008), pseudo-likelihood (Besag 1975; Marlin et al. 2010),
ratio matching (Hyvarinen 2007) or, with Gaussian visible units, denoising score matching (Vincent
2011). Departures: the units are centred unless asked otherwise, which bears higher learning rates;
Gaussian visible units share one learnt sigma; the penalty that pulls the mean activity of each
hidden unit to a target (Lee et al. 2008) reaches all parameters, not c alone.
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
from gencli.models.boltzmann import objectives
from gencli.models.boltzmann.configs import GibbsSampling, RBMConfig
from gencli.models.boltzmann.gibbs import in_float64
from gencli.models.boltzmann.units import Harmonium
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
from gencli.random import ImageGenerator


class RBM(GenerativeModel):
    """One layer of binary hidden units over binary or Gaussian visible ones."""

    per_process: ClassVar[tuple[str, ...]] = ("chain",)

    config: RBMConfig
    chain: Tensor

    def __init__(self, config: RBMConfig, data: DataInfo) -> None:
        super().__init__(config, data)
        gaussian = not data.binary if config.visible == "auto" else config.visible == "gaussian"
        if not (gaussian or data.binary):
            raise UsageError(
                "Binary visible units need binary data.",
                "Add --binarize dynamic, or take --visible gaussian.",
            )
        needs_gaussian = config.objective == "denoising-score-matching"
        if needs_gaussian and not gaussian:
            raise UsageError(
                f"--objective {config.objective} needs Gaussian visible units.",
                "Add --binarize none, or --visible gaussian.",
            )
        if config.objective in ("pseudo-likelihood", "ratio-matching") and gaussian:
            raise UsageError(
                f"--objective {config.objective} needs binary visible units.",
                "Add --binarize dynamic, or take --objective pcd.",
            )
        self.discrete_levels = None if gaussian else 2
        self.units = Harmonium(data.n_pixels, config.hidden, gaussian, config.centered)
        if config.objective == "pcd":
            chain = torch.zeros(config.chains, config.hidden, dtype=torch.bool)
            self.register_buffer("chain", chain)

    def loss(self, batch: Batch, step: Step) -> Loss:
        """The objective per image, and the penalties."""
        config, units = self.config, self.units
        v = batch.images.flatten(1)
        loss, x = self._objective(v)
        total = loss.total
        if config.weight_decay:
            total = total + 0.5 * config.weight_decay * units.weight.square().sum()
        if config.sparsity:
            excess = x.sigmoid().mean(0) - config.sparsity_target
            total = total + config.sparsity * excess.square().sum()
        return Loss(total, **loss.metrics)

    def _objective(self, v: Tensor) -> objectives.Objective:
        config, units = self.config, self.units
        match config.objective:
            case "cd":
                return objectives.contrast(units, v, config.k)
            case "pcd":
                return objectives.contrast(units, v, config.k, self.chain)
            case "pseudo-likelihood":
                return objectives.pseudo_likelihood(units, v, config.pixels)
            case "ratio-matching":
                return objectives.ratio_matching(units, v, config.pixels)
            case "denoising-score-matching":
                return objectives.denoising_score_matching(units, v, config.noise)

    @torch.no_grad()
    def start(self, images: Iterable[Tensor]) -> None:
        """Set biases and offsets to the base rates of `images`, batches (B, C, H, W)."""
        self.units.begin(*base_rates(x.flatten(1) for x in images))

    def start_chains(self, images: Tensor) -> None:
        """Let persistent chains start from images (B, C, H, W), over and over if there are few."""
        if self.config.objective == "pcd":
            rows = torch.arange(self.config.chains, device=images.device) % len(images)
            self.chain.copy_(objectives.draw(self.units.up(images.flatten(1)[rows])))

    def updates(self) -> tuple[Update, ...]:
        """One update over the loss."""
        # Gaussian units have no bound: hidden units that follow the first principal component
        # together overshoot at the learning rates of binary ones.
        lr_scale = 0.1 if self.units.gaussian else 1.0
        optimizer = Optimizer(self.config.optimizer, lr_scale, momentum=self.config.momentum)
        return (Update("cd", self.loss, tuple(self.parameters()), optimizer, ema=True),)

    def stages(self) -> tuple[Stage, ...]:
        """One stage, which starts from the base rates."""
        return (
            Stage("train", self.updates(), start=lambda data: self.start(b.images for b in data)),
        )

    def energy(self, x: Tensor) -> Tensor:
        """F(x) of images (B, C, H, W), (B,) nats."""
        return self.units.free_energy(x.flatten(1))

    def log_partition(self, *, chains: int = 64, temperatures: int = 500) -> LogPartition:
        """Log Z in nats, by annealed importance sampling."""
        found = self.units.log_partition(chains, temperatures)
        return LogPartition(found.value, found.standard_error, found.doubt)

    def filters(self) -> Tensor:
        """Weights of the hidden units, (n_hidden, C, H, W)."""
        return self.units.weight.detach().T.reshape(-1, *self.data.shape)

    def decode_mean(self, h: Tensor) -> Tensor:
        """E[v|h] as images (n, C, H, W) in [0, 1]."""
        return self.units.mean_visible(h).float().clamp(0, 1).view(-1, *self.data.shape)

    def sample(
        self,
        n: int,
        *,
        generator: ImageGenerator,
        condition: Condition = NOTHING,
        steps: int = GibbsSampling.steps,
    ) -> Tensor:
        """E[v|h] after `steps` rounds of Gibbs sampling from the base rates.

        A round costs two matrix products and a random number per unit. It runs in float64: rounding
        that depends on the batch would turn a unit over now and then, and make another image.
        """
        model = in_float64(self)
        return model.decode_mean(model.units.settle(n, generator.uniform, steps))
