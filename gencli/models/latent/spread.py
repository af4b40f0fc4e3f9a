r"""How a pixel's level is spread over the values that round to it, for models of real numbers.

A density p(y) gives the level x the probability P(x) of all y that round to it. With a noise u
that stays within those, by Jensen's inequality (Theis et al. 2016, arXiv:1511.01844; Ho et al.
2019, arXiv:1902.00275):

    log P(x) >= E_u log p(x + u) + H(u)

Of 8-bit pixels the bins have the width h = 1/255, and u is uniform: its variance is h^2/12 and its
entropy log h. A binary pixel has all numbers on one side of 1/2, and u is a normal number of
standard deviation s cut off there. Its mean -delta is away from 1/2, so x + u has the means -delta
and 1 + delta; divided by g = 1 + 2 delta about 1/2 they are 0 and 1 again. With b = 1/(2s) and
lambda = phi(b) / Phi(b):

    delta = s lambda,  Var u = s^2 (1 - b lambda - lambda^2) / g^2
    H(u) = log(s Phi(b) sqrt(2 pi e)) - b lambda / 2 - log g
"""

from __future__ import annotations

import math
from typing import NamedTuple

DEVIATION = 0.4
"""Of the noise of binary pixels before it is cut off: about the best for the digits of MNIST."""


class Spread(NamedTuple):
    """A noise of mean 0 within a level's bin: its variance, and its entropy in nats."""

    variance: float
    entropy: float


def spread(levels: int) -> Spread:
    """The noise of pixels in [0, 1] with that many evenly spaced levels."""
    if levels > 2:
        width = 1 / (levels - 1)
        return Spread(width**2 / 12, math.log(width))
    b = 0.5 / DEVIATION
    below = 0.5 * (1 + math.erf(b / math.sqrt(2)))
    rate = math.exp(-0.5 * b * b) / math.sqrt(2 * math.pi) / below
    stretch = 1 + 2 * DEVIATION * rate
    variance = DEVIATION**2 * (1 - b * rate - rate**2) / stretch**2
    entropy = math.log(DEVIATION * below * math.sqrt(2 * math.pi * math.e)) - b * rate / 2
    return Spread(variance, entropy - math.log(stretch))
