"""How near an image comes to another one: mean difference, signal to noise, structural similarity.

All take images (B, C, H, W) in [0, 1] and give a figure for each, (B,).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

WINDOW = 11
"""Pixels a side of the window of `ssim`."""

_SIGMA = 1.5
_C1, _C2 = 0.01**2, 0.03**2
_ROUNDING = (1 / 255) ** 2 / 12
"""The mean squared error of rounding to 256 levels."""


def mean_difference(a: Tensor, b: Tensor) -> Tensor:
    """Mean |a - b| over pixels and channels."""
    return (a - b).abs().mean((1, 2, 3))


def psnr(a: Tensor, b: Tensor) -> Tensor:
    """Peak signal-to-noise ratio -10 log10 of the mean squared error, in dB.

    An error below that of rounding to 256 levels counts as that, 58.9 dB: equal images would have
    an infinite one.
    """
    return -10 * (a - b).square().mean((1, 2, 3)).clamp(min=_ROUNDING).log10()


def ssim(a: Tensor, b: Tensor) -> Tensor:
    """Structural similarity (Wang et al. 2004, IEEE Trans. Image Processing 13:600), at most 1.

    The mean, over places of the window within the image and over channels, of

        (2 m_a m_b + C1) (2 s_ab + C2) / ((m_a^2 + m_b^2 + C1) (s_a^2 + s_b^2 + C2))

    with means, variances and covariance under a Gaussian window of 11x11 pixels, sigma 1.5,
    C1 = 0.01^2 and C2 = 0.03^2. Both sides are at least 11 pixels.
    """
    n = len(a)
    a, b = (x.double().flatten(0, 1)[:, None] for x in (a, b))
    place = torch.arange(WINDOW, dtype=a.dtype, device=a.device) - WINDOW // 2
    weights = (-0.5 * (place / _SIGMA).square()).exp()
    weights = weights / weights.sum()
    moments = torch.cat([a, b, a * a, b * b, a * b])
    moments = F.conv2d(F.conv2d(moments, weights.view(1, 1, 1, -1)), weights.view(1, 1, -1, 1))
    m_a, m_b, aa, bb, ab = moments.chunk(5)
    s_aa, s_bb, s_ab = aa - m_a * m_a, bb - m_b * m_b, ab - m_a * m_b
    numerator = (2 * m_a * m_b + _C1) * (2 * s_ab + _C2)
    similarity = numerator / ((m_a * m_a + m_b * m_b + _C1) * (s_aa + s_bb + _C2))
    return similarity.view(n, -1).mean(1)
