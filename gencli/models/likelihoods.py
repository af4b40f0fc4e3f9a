"""Distributions of one pixel given a network's outputs, exact on the grid of its levels.

A pixel x in [0, 1] takes the values k / (levels - 1): two of them when it is binary, 256 when it is
8-bit. A continuous density (a logistic, a Gaussian) is turned into a probability by integrating it
over the bin of width 1 / (levels - 1) around x, the outer bins taking the tails. So all likelihoods
here sum to one over the levels and are comparable with each other, in nats or in bits.

`params` is (..., n_params), `x` is (...). Everything is computed in at least float32.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from gencli.data.spec import DataInfo
from gencli.errors import UsageError
from gencli.models.softplus import bernoulli_log_prob

LikelihoodName = Literal["auto", "softmax", "logistic", "gaussian"]

_MIN_LOG_SCALE = -8.0
"""A twelfth of an 8-bit bin: narrower distributions differ in nothing but their rounding errors."""


class Likelihood(Protocol):
    """A distribution over the levels of one pixel."""

    @property
    def n_params(self) -> int:
        """How many network outputs one pixel takes."""
        ...

    @property
    def levels(self) -> int:
        """How many values a pixel takes."""
        ...

    def log_prob(self, params: Tensor, x: Tensor) -> Tensor:
        """Log-probabilities (...), in nats."""
        ...

    def gradient(self, params: Tensor, x: Tensor) -> Tensor:
        """The derivative of `log_prob` by the parameters, (..., n_params)."""
        ...

    def noise(self, u: Tensor) -> Tensor:
        """What `draw` wants of uniform numbers; called once for a whole image."""
        ...

    def draw(self, params: Tensor, noise: Tensor, temperature: float) -> Tensor:
        """Pixels (...) in [0, 1], a deterministic function of the noise (...)."""
        ...


def discretized_logistic_log_prob(
    x: Tensor, mean: Tensor, log_scale: Tensor, levels: int = 256
) -> Tensor:
    """Log-mass of the bin around x under a logistic distribution, in nats.

    The mass between the edges a < b, in units of the scale, is sigma(b) - sigma(a)
    = sigma(b) sigma(-a) (1 - exp(a - b)), which has no cancellation anywhere.
    Source: Salimans et al. 2017, arXiv:1701.05517, equation 2.

    Args:
        x: Pixels in [0, 1], any shape that broadcasts with the others.
        mean: In units of x.
        log_scale: Logarithm of the logistic's scale in units of x; below -8 it counts as -8.
        levels: How many values x takes.
    """
    half = 0.5 / (levels - 1)
    log_scale = log_scale.clamp(min=_MIN_LOG_SCALE)
    inverse_scale = torch.exp(-log_scale)
    centered = x - mean
    above = F.logsigmoid((centered + half) * inverse_scale)
    below = F.logsigmoid((half - centered) * inverse_scale)
    inside = torch.log(-torch.expm1(-2 * half * inverse_scale))
    return torch.where(x < half, above, torch.where(x > 1 - half, below, above + below + inside))


def discretized_normal_log_prob(
    x: Tensor, mean: Tensor, log_scale: Tensor, levels: int = 256
) -> Tensor:
    """Log-mass of the bin around x under a Gaussian of standard deviation exp(log_scale), in nats.

    Arguments are as for `discretized_logistic_log_prob`.
    """
    half = 0.5 / (levels - 1)
    inverse_scale = torch.exp(-log_scale.clamp(min=_MIN_LOG_SCALE))
    centered = x - mean
    # The mass between two edges, mirrored into the left tail, where log_ndtr is accurate.
    center = -centered.abs()
    upper = torch.special.log_ndtr((center + half) * inverse_scale)
    lower = torch.special.log_ndtr((center - half) * inverse_scale)
    inside = upper + torch.log(-torch.expm1((lower - upper).clamp(max=-1e-12)))
    above = torch.special.log_ndtr((centered + half) * inverse_scale)
    below = torch.special.log_ndtr((half - centered) * inverse_scale)
    return torch.where(x < half, above, torch.where(x > 1 - half, below, inside))


@dataclass(frozen=True)
class Bernoulli:
    """A binary pixel, by its logit."""

    n_params: int = 1
    levels: int = 2

    def log_prob(self, params: Tensor, x: Tensor) -> Tensor:
        """Log p = -cross-entropy; see `Likelihood`."""
        logits = _at_least_float32(params.squeeze(-1))
        return -F.binary_cross_entropy_with_logits(logits, x.to(logits.dtype), reduction="none")

    def gradient(self, params: Tensor, x: Tensor) -> Tensor:
        """That is x - sigma(a); see `Likelihood`."""
        return x.unsqueeze(-1) - params.sigmoid()

    def noise(self, u: Tensor) -> Tensor:
        """Standard logistic numbers: u < sigma(a) where logit(u) < a."""
        return torch.logit(u)

    def draw(self, params: Tensor, noise: Tensor, temperature: float) -> Tensor:
        """Pixels that are 0 or 1; see `Likelihood`."""
        logits = params.squeeze(-1)
        threshold = noise if temperature == 1 else noise * temperature
        return (logits > threshold).to(params.dtype)


@dataclass(frozen=True)
class Categorical:
    """A pixel whose levels have a logit each: the 256-way softmax of arXiv:1601.06759."""

    levels: int = 256

    @property
    def n_params(self) -> int:
        """One logit per level."""
        return self.levels

    def log_prob(self, params: Tensor, x: Tensor) -> Tensor:
        """Log-softmax at x; see `Likelihood`."""
        level = (x * (self.levels - 1)).round().long()
        logits = _at_least_float32(params).flatten(0, -2)
        return -F.cross_entropy(logits, level.flatten(), reduction="none").view_as(x)

    def gradient(self, params: Tensor, x: Tensor) -> Tensor:
        """By autograd; see `Likelihood`."""
        return _gradient(self, params, x)

    def noise(self, u: Tensor) -> Tensor:
        """The uniform numbers themselves."""
        return u

    def draw(self, params: Tensor, noise: Tensor, temperature: float) -> Tensor:
        """Inverts the cumulative distribution; see `Likelihood`.

        The noise is scaled to where that ends, which rounding leaves a little short of 1 or beyond:
        so a level of no probability is never drawn.
        """
        cdf = torch.softmax(_at_least_float32(params) / temperature, -1).cumsum(-1)
        level = (cdf[..., :-1] <= noise.to(cdf.dtype).unsqueeze(-1) * cdf[..., -1:]).sum(-1)
        return level.to(params.dtype) / (self.levels - 1)


@dataclass(frozen=True)
class Mixture:
    """A mixture of logistics or Gaussians, integrated over the bin of each level.

    The parameters are `n_components` weight logits, then means, then logarithms of scales, in units
    of a pixel's range. A component's default, all outputs 0, is centred and as wide as that range.
    """

    kind: Literal["logistic", "gaussian"]
    n_components: int = 10
    levels: int = 256

    @property
    def n_params(self) -> int:
        """A weight, a mean and a scale per component."""
        return 3 * self.n_components

    def _split(self, params: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        weight, mean, log_scale = _at_least_float32(params).chunk(3, -1)
        # Centres spread over the range at the start, so that components are not all alike.
        spread = torch.linspace(-0.5, 0.5, self.n_components, device=mean.device, dtype=mean.dtype)
        return weight, 0.5 + 0.8 * spread + mean, log_scale - 1

    def log_prob(self, params: Tensor, x: Tensor) -> Tensor:
        """Log-mass of the bin of x; see `Likelihood`."""
        weight, mean, log_scale = self._split(params)
        mass = (
            discretized_logistic_log_prob
            if self.kind == "logistic"
            else discretized_normal_log_prob
        )
        log_mass = mass(x.unsqueeze(-1), mean, log_scale, self.levels)
        return torch.logsumexp(weight.log_softmax(-1) + log_mass, -1)

    def gradient(self, params: Tensor, x: Tensor) -> Tensor:
        """By autograd; see `Likelihood`."""
        return _gradient(self, params, x)

    def noise(self, u: Tensor) -> Tensor:
        """The uniform numbers themselves."""
        return u

    def draw(self, params: Tensor, noise: Tensor, temperature: float) -> Tensor:
        """Pixels by inversion, component first.

        The uniform number chooses the component; what remains of it, rescaled, is uniform again and
        inverts the component's own distribution. Scales change as those of p^(1 / temperature).
        """
        weight, mean, log_scale = self._split(params)
        cdf = torch.softmax(weight / temperature, -1).cumsum(-1)
        u = noise.to(cdf.dtype).unsqueeze(-1)
        chosen = (cdf[..., :-1] <= u).sum(-1, keepdim=True)
        floor = F.pad(cdf, (1, 0)).gather(-1, chosen)
        tiny = torch.finfo(u.dtype).eps
        u = ((u - floor) / (cdf.gather(-1, chosen) - floor)).clamp(tiny, 1 - tiny)
        scale = log_scale.gather(-1, chosen).clamp(min=_MIN_LOG_SCALE).exp()
        if self.kind == "logistic":
            standard = torch.logit(u) * temperature
        else:
            standard = torch.special.ndtri(u) * math.sqrt(temperature)
        value = (mean.gather(-1, chosen) + scale * standard).squeeze(-1)
        steps = self.levels - 1
        return ((value * steps).round().clamp(0, steps) / steps).to(params.dtype)


def likelihood_for(
    data: DataInfo, name: LikelihoodName, n_components: int, auto: LikelihoodName
) -> Likelihood:
    """The pixel distribution that fits the data.

    Args:
        data: Binary data are Bernoulli whatever the name; all other data are 8-bit.
        name: What was asked for; "auto" leaves it to the data.
        n_components: Of a mixture.
        auto: What "auto" means for 8-bit data.

    Raises:
        UsageError: If another distribution is asked of binary data.
    """
    if data.binary:
        if name != "auto":
            raise UsageError(
                f"--likelihood {name} is for 8-bit pixels, and these are binary.",
                "Leave --likelihood out, or keep the grey values with --binarize none.",
            )
        return Bernoulli()
    name = auto if name == "auto" else name
    if name == "softmax":
        return Categorical()
    return Mixture("gaussian" if name == "gaussian" else "logistic", n_components)


def log_prob_sum(likelihood: Likelihood, params: Tensor, x: Tensor) -> Tensor:
    """Log-probability of whole images, in nats: params (..., D, n_params), x (..., D) -> (...)."""
    if isinstance(likelihood, Bernoulli):
        return bernoulli_log_prob(x, params.squeeze(-1))
    return likelihood.log_prob(params, x).sum(-1)


def _gradient(likelihood: Likelihood, params: Tensor, x: Tensor) -> Tensor:
    with torch.enable_grad():
        params = params.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(likelihood.log_prob(params, x).sum(), params)
    return gradient


def _at_least_float32(params: Tensor) -> Tensor:
    return params if params.dtype == torch.float64 else params.float()
