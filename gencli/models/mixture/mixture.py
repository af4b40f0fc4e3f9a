r"""Mixture of Bernoullis or diagonal Gaussians, trained by EM (Dempster et al. 1977).

    log p(x) = log sum_k pi_k prod_d p(x_d | mu_kd [, sigma_kd^2])

The E-step gathers, batch by batch, each component's share of the images and its sums of x and x^2;
the M-step at an epoch's end turns them into new parameters: an epoch is one exact step of EM.
The M-step is that of a MAP estimate: `smoothing` pseudo-images drawn like the data as a whole are
added to every component, which keeps unseen images possible.
Components start at images spread out by k-means++ (Arthur and Vassilvitskii 2007), half-way to the
mean image. One that less than one image belongs to becomes a disturbed copy of the heaviest, and
the two share their weights. Log p plus the log prior falls in no step but one that does this.
With `--conditional` each class has components of its own, and the model is of p(x | y): that is a
mixture for each class, trained at once.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import ClassVar

import torch
from torch import Tensor, nn

from gencli.data.conditions import labels_of
from gencli.data.spec import DataInfo
from gencli.errors import UsageError
from gencli.models.interface import (
    NOTHING,
    Batch,
    Condition,
    GenerativeModel,
    Loss,
    Stage,
    Step,
    Update,
)
from gencli.models.k_means import spread_out
from gencli.models.mixture.configs import MixtureConfig
from gencli.random import ImageGenerator


class Mixture(GenerativeModel):
    """A table of component means, and variances of Gaussians, with a weight each.

    Those of a class stand together: component k is of class k // components.
    """

    bf16: ClassVar[bool] = False

    summed: ClassVar[tuple[str, ...]] = ("count", "total", "squares")

    config: MixtureConfig
    count: Tensor
    total: Tensor
    squares: Tensor
    data_mean: Tensor
    data_variance: Tensor

    def __init__(self, config: MixtureConfig, data: DataInfo) -> None:
        super().__init__(config, data)
        self.gaussian = not data.binary if config.kind == "auto" else config.kind == "gaussian"
        if not (self.gaussian or data.binary):
            raise UsageError(
                "A mixture of Bernoullis needs binary data.",
                "Add --binarize dynamic, or take --kind gaussian.",
            )
        self.discrete_levels = None if self.gaussian else 2
        self.n_groups = data.n_classes if config.conditional else 1
        n, d = self.n_groups * config.components, data.n_pixels
        self.log_weight = nn.Parameter(torch.full((n,), -math.log(config.components)))
        self.mean = nn.Parameter(0.25 + 0.5 * torch.rand(n, d))
        # The sufficient statistics of the epoch so far.
        self.register_buffer("count", torch.zeros(n))
        self.register_buffer("total", torch.zeros(n, d))
        if self.gaussian:
            self.variance = nn.Parameter(torch.ones(n, d))
            self.register_buffer("squares", torch.zeros(n, d))  # about the mean image
        self.register_buffer("data_mean", torch.full((d,), 0.5))
        self.register_buffer("data_variance", torch.full((d,), 0.25))

    def joint(self, x: Tensor, condition: Condition = NOTHING) -> Tensor:
        """The terms log pi_k + log p(x|k), (B, n_components), of flat images (B, D).

        They are -inf for components of other classes than the images'.
        """
        if not self.config.conditional:
            return self._joint(x, slice(None))
        joint = x.new_full((len(x), len(self.log_weight)), -math.inf)
        for rows, own in self._groups(condition):
            joint[rows, own] = self._joint(x[rows], own)
        return joint

    def _joint(self, x: Tensor, own: slice) -> Tensor:
        """The terms of some components, which are all of a class."""
        # Exactly a distribution, rounding or not.
        log_weight, mean = self.log_weight[own].log_softmax(0), self.mean[own]
        if not self.gaussian:
            mean = mean.clamp(1e-6, 1 - 1e-6)
            return torch.addmm(log_weight + torch.log1p(-mean).sum(1), x, mean.logit().T)
        # Expanded about the mean image, where little cancels.
        variance = self.variance[own]
        x, mean, precision = x - self.data_mean, mean - self.data_mean, 1 / variance
        squares = x.square() @ precision.T - 2 * x @ (precision * mean).T
        constant = (precision * mean.square() + (2 * math.pi * variance).log()).sum(1)
        return log_weight - 0.5 * (squares + constant)

    def _groups(self, condition: Condition) -> Iterator[tuple[Tensor | slice, slice]]:
        """The images of each class, and the class's components; all of both without classes."""
        if not self.config.conditional:
            yield slice(None), slice(None)
            return
        labels, size = labels_of(condition), self.config.components
        for label in torch.unique(labels).tolist():
            yield (labels == label).nonzero().squeeze(1), slice(label * size, (label + 1) * size)

    def grouped(self, values: Tensor) -> Tensor:
        """A value of each component, (n_components,) -> (classes, components); (1, components)."""
        return values.view(self.n_groups, -1)

    def log_prob(self, x: Tensor, condition: Condition = NOTHING) -> Tensor:
        """Exact log p(x), (B,) nats; a density for Gaussians."""
        x = x.flatten(1)
        log_p = x.new_empty(len(x))
        for rows, own in self._groups(condition):
            log_p[rows] = torch.logsumexp(self._joint(x[rows], own), 1)
        return log_p

    def responsibilities(self, x: Tensor, condition: Condition = NOTHING) -> Tensor:
        """p(k|x), (B, n_components): soft labels of images (B, C, H, W)."""
        return torch.softmax(self.joint(x.flatten(1), condition), 1)

    def assign(self, x: Tensor, condition: Condition = NOTHING) -> Tensor:
        """The component with the largest p(k|x), (B,)."""
        return self.joint(x.flatten(1), condition).argmax(1)

    def loss(self, batch: Batch, step: Step) -> Loss:
        """The E-step on a batch: -log p(x), and statistics gathered in the buffers."""
        images, log_probs = batch.images.flatten(1), list[Tensor]()
        for rows, own in self._groups(batch.condition):
            x = images[rows]
            joint = self._joint(x, own)
            log_p = torch.logsumexp(joint, 1, keepdim=True)
            share = (joint - log_p).exp()
            self.count[own] += share.sum(0)
            self.total[own].addmm_(share.T, x)
            if self.gaussian:
                self.squares[own].addmm_(share.T, (x - self.data_mean).square())
            log_probs.append(log_p)
        return Loss(-torch.cat(log_probs).mean())

    @torch.no_grad()
    def maximize(self) -> None:
        """The M-step: parameters from the statistics, which begin anew."""
        prior = self.config.smoothing
        weight = self.grouped(self.count + prior)
        weight = weight / weight.sum(1, keepdim=True)
        self.log_weight.copy_(weight.clamp_min(1e-30).log().flatten())
        n = (self.count + prior).clamp_min(1e-10).unsqueeze(1)
        self.mean.copy_((self.total + prior * self.data_mean) / n)
        if self.gaussian:
            second = (self.squares + prior * self.data_variance) / n
            variance = second - (self.mean - self.data_mean).square()
            self.variance.copy_(variance.clamp_min(self.config.variance_floor))
            self.squares.zero_()
        for group in torch.arange(len(self.count), device=self.count.device).chunk(self.n_groups):
            self._revive(group)
        self.count.zero_()
        self.total.zero_()

    def _revive(self, group: Tensor) -> None:
        """Split a group's heaviest components for those that less than one image belongs to."""
        lonely = self.count[group] < 1
        dead, alive = group[lonely], group[~lonely]
        heavy = alive[self.count[alive].argsort(descending=True)][: len(dead)]
        dead = dead[: len(heavy)]
        both = torch.logaddexp(self.log_weight[heavy], self.log_weight[dead])
        self.log_weight[heavy] = self.log_weight[dead] = both - math.log(2)
        self.mean[dead] = torch.lerp(self.mean[heavy], torch.rand_like(self.mean[heavy]), 0.05)
        if self.gaussian:
            self.variance[dead] = self.variance[heavy]

    @torch.no_grad()
    def start(self, data: Iterable[Batch]) -> None:
        """Means at images spread out by k-means++, half-way to the mean image."""
        images, labels = list[Tensor](), list[Tensor]()
        for batch in data:
            images.append((255 * batch.images.flatten(1)).round().byte())
            labels.append(self._group_of(batch.condition, len(batch.images)))
        levels = torch.cat(images)
        n_seeds = min(self.config.seeds, len(levels))
        chosen = torch.randperm(len(levels), device=levels.device)[:n_seeds]
        x = levels[chosen].float() / 255
        variance, mean = torch.var_mean(x, 0, correction=0)
        keep = n_seeds / (
            n_seeds + 1
        )  # half an image each of black and white: nothing is impossible
        self.data_mean.copy_(mean * keep + 0.5 * (1 - keep))
        self.data_variance.copy_(variance.clamp_min(self.config.variance_floor))
        of_class = torch.cat(labels)[chosen]
        for group, rows in enumerate(self.mean.chunk(self.n_groups)):
            own = x[of_class == group]
            starts = spread_out(own if len(own) else x, len(rows))  # a class may be missing
            rows.copy_(0.5 * (starts + self.data_mean))
        if self.gaussian:
            self.variance.copy_(self.data_variance.expand_as(self.mean))

    def _group_of(self, condition: Condition, n: int) -> Tensor:
        if self.config.conditional:
            return labels_of(condition)
        return torch.zeros(n, dtype=torch.int64, device=self.count.device)

    def updates(self) -> tuple[Update, ...]:
        """One update without an optimizer: the E-step, with the M-step at the end of an epoch."""
        parameters = tuple(self.parameters())
        return (Update("em", self.loss, parameters, optimizer=None, epoch_end=self.maximize),)

    def stages(self) -> tuple[Stage, ...]:
        """One stage, which begins with k-means++."""
        return (Stage("train", self.updates(), start=self.start),)

    def sample(
        self, n: int, *, generator: ImageGenerator, condition: Condition = NOTHING
    ) -> Tensor:
        """Draw a component for each image, then its pixels."""
        uniform = generator.uniform(1 + self.data.n_pixels)
        edges = self.grouped(self.log_weight).double().softmax(1).cumsum(1)[:, :-1]
        group = self._group_of(condition, n)
        component = (uniform[:, :1].double() >= edges[group]).sum(1)
        component += group * self.config.components
        mean, pixels = self.mean[component], uniform[:, 1:]
        if self.gaussian:
            noise = torch.special.ndtri(pixels.clamp_min(2**-25))
            x = (mean + self.variance[component].sqrt() * noise).clamp(0, 1)
        else:
            x = (pixels < mean).float()
        images: Tensor = x.view(-1, *self.data.shape)
        return images
