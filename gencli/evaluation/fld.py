"""Feature likelihood divergence (Jiralerspong et al. 2023, arXiv:2302.04440).

Samples become a density: a Gaussian around the features g_j of each, with a variance of its own,

    p(x) = 1/n sum_j N(x; g_j, s_j^2 I) + b(x),   s = argmax sum_{x in train} log p(x)

where b, one Gaussian around all training images, keeps what no sample is near from widening all.

    FLD = -100/D mean_{x in test} log p(x) - C,   gap = FLD of the training images - FLD of the test

for D features; C is the first term with unseen real images in the samples' place. FLD is about 0
for a perfect model, and higher where samples are poor, alike, or copies. A copy's s shrinks onto
its training image: the gap falls far below what real images in their place have. Features are in
standard deviations of the real images'.

Two departures from the paper: its figures leave out b, so that a few images that no sample is near
decide them and copies are tens of thousands; its C has training images in the samples' place, of
which a small set has too few.

The variances are found by EM, whose step is closed: s_j^2 = sum_x r_j(x) |x - g_j|^2 / (D sum_x
r_j(x)), r_j(x) the share of sample j in p(x). All is done for disjoint subsets of samples
and of test images, one subset of these taking the samples' place for the next, and for the same
training images: the figures are means over subsets, their errors cover the choice of these.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from gencli.evaluation.likelihood import mean_and_error
from gencli.evaluation.prdc import distances

SUBSETS = 10
"""Disjoint subsets that there are figures of."""

FEWEST, FEWEST_TRAINING = 20, 10
"""Samples or real images, two for each subset; and training images."""

LARGEST = 1_000
"""Samples in a subset at most."""

_FITTED = 5_000  # training images that variances are fitted to at most
_FLOOR = 1e-4  # of a variance: a hundredth of a standard deviation, as good as a copy
_STEPS = 100
_SETTLED = 1e-4  # nats per feature that a step gains: a hundredth of a unit


class FLD(NamedTuple):
    """Means over the subsets with their standard errors; how many samples they took.

    `gap_real` is that of unseen real images in the samples' place.
    """

    value: tuple[float, float | None]
    gap: tuple[float, float | None]
    gap_real: tuple[float, float | None]
    n: int


def feature_likelihood(train: Tensor, real: Tensor, samples: Tensor, *, seed: int) -> FLD | None:
    """FLD and its gap of samples (M, D).

    Args:
        train: Features (T, D) of what the model was trained on.
        real: Of images that it was not trained on (N, D).
        samples: Of what it draws.
        seed: Of the choice of images and of subsets.

    Returns:
        None where there are too few images of a kind.
    """
    if min(len(samples), len(real)) < FEWEST or len(train) < FEWEST_TRAINING:
        return None
    size = min(len(samples) // SUBSETS, len(real) // SUBSETS, LARGEST)
    generator = torch.Generator().manual_seed(seed)
    centre, spread = real.float().mean(0), real.float().std(0)
    lives = spread > 0  # rectified features may be 0 for all images
    train, real, samples = (
        ((x.float() - centre) / spread)[torch.randperm(len(x), generator=generator)][:, lives]
        for x in (train, real, samples)
    )
    fitted, figures = train[:_FITTED], []
    parts = real[: len(real) // SUBSETS * SUBSETS].chunk(SUBSETS)
    for i, test in enumerate(parts):
        ours = _both(samples[i * size : (i + 1) * size], fitted, test)
        theirs = _both(parts[i - 1][:size], fitted, test)
        figures.append([ours[1] - theirs[1], ours[0] - ours[1], theirs[0] - theirs[1]])
    value, gap, gap_real = (mean_and_error(x) for x in torch.tensor(figures).double().T)
    return FLD(value, gap, gap_real, SUBSETS * size)


def _both(centres: Tensor, fitted: Tensor, test: Tensor) -> tuple[float, float]:
    """-100/D mean log p of the images that the variances are fitted to, and of the test images."""
    density = fit(centres, fitted)
    scale = -100 / centres.shape[1]
    return scale * float(density(fitted).mean()), scale * float(density(test).mean())


@dataclass(frozen=True)
class Density:
    """Gaussians around samples, and one around the images that their variances are fitted to.

    Attributes:
        centres: (n, D).
        log_variances: (n,).
        mean: (D,), of the one.
        log_variance: ().
    """

    centres: Tensor
    log_variances: Tensor
    mean: Tensor
    log_variance: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        """Log p (N,) of x (N, D), in nats."""
        return torch.logaddexp(self.of_samples(x).logsumexp(1), self.background(x))

    def of_samples(self, x: Tensor) -> Tensor:
        """Log of each sample's Gaussian's part (N, n) in p."""
        squares = distances(x, self.centres).square_()
        return _log_normal(squares, self.log_variances, x.shape[1]) - math.log(len(self.centres))

    def background(self, x: Tensor) -> Tensor:
        """Log b (N,)."""
        return _log_normal((x - self.mean).square().sum(1), self.log_variance, x.shape[1])


def fit(centres: Tensor, x: Tensor) -> Density:
    """Gaussians around centres (n, D), whose variances make images x (N, D) likely."""
    n_features = x.shape[1]
    squares = distances(x, centres).square_()
    # each is first as wide as its nearest image is far
    first = (squares.amin(0) / n_features).clamp(min=_FLOOR).log()
    mean = x.mean(0)
    density = Density(centres, first, mean, (x - mean).square().mean().log())
    background, before = density.background(x), -math.inf
    for _ in range(_STEPS):
        shares = density.of_samples(x)
        whole = torch.logaddexp(shares.logsumexp(1), background)
        reached = float(whole.double().mean()) / n_features
        if reached - before < _SETTLED:
            break
        before = reached
        shares = shares.sub_(whole[:, None]).exp_()
        weights = shares.sum(0)
        variances = (shares * squares).sum(0) / (n_features * weights)
        held = weights > torch.finfo(weights.dtype).tiny  # others are far from every image
        better = torch.where(held, variances.clamp(min=_FLOOR).log(), density.log_variances)
        density = replace(density, log_variances=better)
    return density


def _log_normal(squares: Tensor, log_variance: Tensor, n_features: int) -> Tensor:
    """Log of Gaussians of one variance in all directions, from squared distances to their means."""
    constant = n_features / 2 * (log_variance + math.log(2 * math.pi))
    return torch.addcmul(-constant, squares, (-log_variance).exp(), value=-0.5)
