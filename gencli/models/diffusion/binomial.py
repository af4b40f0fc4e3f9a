"""Binomial diffusion: Sohl-Dickstein et al. 2015, arXiv:1503.03585, the first diffusion model.

Each step draws a share of the binary pixels anew, by a fair coin, and a network learns to undo it:

    q(x_t | x_{t-1}) = B(x_t; (1 - beta_t) x_{t-1} + beta_t / 2),
    p(x_{t-1} | x_t) = B(x_{t-1}; f(x_t, t)),

by the variational bound on log p(x_0). This is `d3pm` with the uniform kernel on two levels, and
everything is done there. Departures: the network is a U-Net and tells of x_0, from which f follows,
rather than f itself; beta_t follows a cosine (arXiv:2102.05379) rather than 1 / (T - t + 1).
"""

from __future__ import annotations

from gencli.data.spec import DataInfo
from gencli.errors import UsageError
from gencli.models.diffusion.configs import BinomialDiffusionConfig
from gencli.models.diffusion.d3pm import D3PM


class BinomialDiffusion(D3PM):
    """The chain of fair coins, run backwards."""

    config: BinomialDiffusionConfig

    def __init__(self, config: BinomialDiffusionConfig, data: DataInfo) -> None:
        if not data.binary:
            raise UsageError(
                "Binomial diffusion is of binary pixels, and these have grey values.",
                "Use --binarize dynamic, or train d3pm, which takes both.",
            )
        super().__init__(config, data)
