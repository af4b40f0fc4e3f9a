r"""Likelihoods p(x | z) of whole images, from what a decoder tells of each position.

`bernoulli` for grey and binary images: a grey level is taken as the probability of ink, so on grey
data the bound is a cross-entropy. `logistic` (for colour) and `gaussian` give every pixel a
discretised density with a mean and a scale of its own (Kingma et al. 2016, arXiv:1606.04934); the
channels of a position are told one after the other, the mean of each with a linear term in those
before (Salimans et al. 2017, arXiv:1701.05517):

    p(r, g, b) = p(r) p(g | r) p(b | r, g),    mean of g = m_g + c_gr (r - 1/2)

A decoder that tells 0 makes each channel like the one before it, as in grey.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from gencli.data.spec import DataInfo
from gencli.errors import UsageError
from gencli.models.latent.configs import PixelsName
from gencli.models.likelihoods import discretized_logistic_log_prob, discretized_normal_log_prob
from gencli.models.softplus import bernoulli_log_prob

_LOG_SCALE = math.log(0.1)
"""Of a decoder that tells 0."""


class Pixels(Protocol):
    """A distribution of images given a decoder's outputs."""

    @property
    def n_outputs(self) -> int:
        """Numbers for each position."""
        ...

    @property
    def levels(self) -> int:
        """Values of a pixel."""
        ...

    def log_prob(self, out: Tensor, x: Tensor) -> Tensor:
        """(..., n_outputs, H, W) and images (..., C, H, W), which broadcast -> (...) nats."""
        ...

    def mean(self, out: Tensor) -> Tensor:
        """(n, n_outputs, H, W) -> images (n, C, H, W) in [0, 1]."""
        ...


@dataclass(frozen=True)
class BernoulliPixels:
    """Independent binary pixels, by their logits."""

    n_outputs: int
    levels: int = 2

    def log_prob(self, out: Tensor, x: Tensor) -> Tensor:
        """See `Pixels`."""
        return bernoulli_log_prob(x.flatten(-3), out.flatten(-3))

    def mean(self, out: Tensor) -> Tensor:
        """See `Pixels`."""
        return out.float().sigmoid()


@dataclass(frozen=True)
class DiscretisedPixels:
    """8-bit pixels with a density each, integrated over the bins of the levels."""

    kind: str
    channels: int
    levels: int = 256

    @property
    def n_outputs(self) -> int:
        """A mean and a scale for each channel, a coefficient for each pair of them."""
        return 2 * self.channels + self.channels * (self.channels - 1) // 2

    def log_prob(self, out: Tensor, x: Tensor) -> Tensor:
        """See `Pixels`."""
        means, log_scales, coefficients = self._split(out)
        mean = torch.stack(
            [m + _linear(c, x.unbind(-3)) for m, c in zip(means, coefficients, strict=True)], -3
        )
        mass = {
            "logistic": discretized_logistic_log_prob,
            "gaussian": discretized_normal_log_prob,
        }[self.kind]
        return mass(x, mean, log_scales, self.levels).sum((-3, -2, -1))

    def mean(self, out: Tensor) -> Tensor:
        """Channel after channel, each given the means before it; see `Pixels`."""
        means, _, coefficients = self._split(out)
        channels: list[Tensor] = []
        for m, c in zip(means, coefficients, strict=True):
            channels.append((m + _linear(c, channels)).clamp(0, 1))
        return torch.stack(channels, -3)

    def _split(self, out: Tensor) -> tuple[list[Tensor], Tensor, list[list[Tensor]]]:
        """Means m_c, log-scales (..., C, H, W), and the coefficients of each channel."""
        n = self.channels
        means, log_scales, rest = out.float().tensor_split([n, 2 * n], -3)
        pairs = iter(rest.unbind(-3))
        coefficients = [[next(pairs) + (b == c - 1) for b in range(c)] for c in range(n)]
        return [m + 0.5 for m in means.unbind(-3)], log_scales + _LOG_SCALE, coefficients


def _linear(coefficients: list[Tensor], channels: Sequence[Tensor]) -> Tensor | float:
    terms = [c * (x - 0.5) for c, x in zip(coefficients, channels, strict=False)]
    return torch.stack(terms).sum(0) if terms else 0.0


def pixels_of(name: PixelsName, data: DataInfo) -> Pixels:
    """The likelihood that fits the data.

    Args:
        name: What was asked for; `auto` leaves it to the data.
        data: What the images are.

    Raises:
        UsageError: If 256 levels are asked of binary data.
    """
    if name == "auto":
        name = "bernoulli" if data.binary or data.channels == 1 else "logistic"
    if name == "bernoulli":
        return BernoulliPixels(data.channels)
    if data.binary:
        raise UsageError(
            f"--likelihood {name} is for 8-bit pixels, and these are binary.",
            "Leave --likelihood out, or keep the grey values with --binarize none.",
        )
    return DiscretisedPixels(name, data.channels)
