r"""What restricted Boltzmann machines are trained on: one function for each objective.

Each takes a harmonium (`units.py`) and flat images v (B, n_visible), and returns an `Objective` to
minimise, per image. The likelihood itself needs Z; these do without:

- `contrast`: F(v+) - F(v-) with v- from a Gibbs chain. It starts at the data for contrastive
  divergence (Hinton 2002, "Training products of experts"); for persistent contrastive divergence it
  goes on from the step before (Tieleman 2008, "Training restricted Boltzmann machines using
  approximations to the likelihood gradient"), nearly the gradient of -log p.
- `pseudo_likelihood`: -sum_i log p(v_i | all others) (Besag 1975, "Statistical analysis of
  non-lattice data"; for RBMs Marlin et al. 2010, "Inductive principles for restricted Boltzmann
  machine learning").
- `ratio_matching`: sum_i g(p(v) / p(v^i))^2, g(r) = 1 / (1 + r), where v^i is v with unit i turned
  over (Hyvarinen 2007, "Some extensions of score matching"). Like the one before it needs the ratio
  alone, in which Z cancels, and is consistent: with enough data it finds the true parameters.
- `denoising_score_matching`: of Gaussian units, |s(v + tau n) + n / tau|^2 with the model's score
  s = -dF/dv (Vincent 2011, "A connection between score matching and denoising autoencoders"). What
  it finds is the density of the data with that noise, the more blurred the larger tau.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from gencli.models.boltzmann.flips import flip_energies
from gencli.models.boltzmann.gibbs import bernoulli, uniform_like
from gencli.models.boltzmann.units import Harmonium
from gencli.models.interface import Loss


class Objective(NamedTuple):
    """A loss, and beside it the log-odds x (B, n_hidden) of the hidden units that it knows."""

    loss: Loss
    x: Tensor


def contrast(units: Harmonium, v: Tensor, k: int, chain: Tensor | None = None) -> Objective:
    """F(v+) - F(v-).

    Args:
        units: The machine.
        v: Images.
        k: Steps of Gibbs sampling to v-.
        chain: Hidden units (n, n_hidden) from which the chains go on, moved in place; None starts
            them at the images.
    """
    with torch.no_grad():
        logits = units.up(v)
        h = draw(logits) if chain is None else chain.to(v.dtype)
        uniform = uniform_like(h)
        h = units.gibbs(h, uniform, k - 1)
        v_model = units.draw_visible(h, uniform(units.n_visible))
        logits_model = units.up(v_model)
        if chain is not None:
            chain.copy_(draw(logits_model))
    # Both phases at once: one product for their gradients.
    both = torch.cat([v, v_model])
    logits = units.known_up(both, torch.cat([logits, logits_model]))
    data, model = units.free_energy(both, logits).tensor_split([len(v)])
    free_energy = data.mean()
    loss = Loss(free_energy - model.mean(), free_energy=free_energy)
    return Objective(loss, logits[: len(v)])


def pseudo_likelihood(units: Harmonium, v: Tensor, pixels: int = 0) -> Objective:
    """-sum_i log p(v_i | all others) in nats; log p = -log(1 + exp(F(v) - F(v^i))).

    Args:
        units: Binary ones.
        v: Images.
        pixels: Units drawn anew for each image, which stand for all in the mean; 0 takes all.
    """
    x = units.up(v)
    rise = flip_energies(units, v, x, _chosen(v, pixels))
    return Objective(Loss(units.n_visible * F.softplus(-rise).mean()), x)


def ratio_matching(units: Harmonium, v: Tensor, pixels: int = 0) -> Objective:
    """sum_i g(p(v) / p(v^i))^2, where g = sigmoid(F(v) - F(v^i)); arguments as above."""
    x = units.up(v)
    rise = flip_energies(units, v, x, _chosen(v, pixels))
    return Objective(Loss(units.n_visible * (-rise).sigmoid().square().mean()), x)


def denoising_score_matching(units: Harmonium, v: Tensor, noise: float) -> Objective:
    """tau^2 / 2 |s(v + tau n) + n / tau|^2, n standard normal, where s is linear in E[u|h].

    Args:
        units: Gaussian ones.
        v: Images.
        noise: The standard deviation tau of the noise, in units of v.
    """
    n = torch.randn_like(v)
    noisy = v + noise * n
    x = units.up(noisy)
    score = (units.down(x.sigmoid()) - units.standardize(noisy)) / units.log_sigma.exp()
    return Objective(Loss(0.5 * (noise * score + n).square().sum(1).mean()), x)


def draw(logits: Tensor) -> Tensor:
    """Zeros and ones with log-odds `logits`, from torch's global generator."""
    return bernoulli(logits, torch.rand_like(logits))


def _chosen(v: Tensor, pixels: int) -> Tensor:
    """Which units are turned over in each image, (B, n); all where `pixels` is 0."""
    if not 0 < pixels < v.shape[1]:
        return torch.arange(v.shape[1], device=v.device).expand(len(v), -1)
    return torch.rand_like(v).topk(pixels).indices
