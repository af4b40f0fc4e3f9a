"""The networks of the adversarial models: generators and discriminators, convolutional or multilayer.

The convolutional ones follow Radford et al. 2015 (arXiv:1511.06434): a linear layer makes a map of 4 to 8
pixels a side, and each transposed convolution doubles it; the discriminator goes the same way back with
strided convolutions. On CPUs, a transposed convolution of stride 2 with a 4x4 kernel is the fastest way up:
sub-pixel convolution (3x3 to four times the channels, then a shuffle) does 9/4 of its multiplications and
nearest-neighbour upsampling before a 3x3 convolution as many, over maps four times as large.
`benchmarks/upsampling.py` measures all three.

The discriminators have no batch normalisation (a batch of real images and one of made images have
different statistics, and with none both go through in one batch) but a weight-free alternative, layers of
unit spectral norm (Miyato et al. 2018, arXiv:1802.05957), as an option.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from gencli.data.spec import DataInfo
from gencli.errors import UsageError

SMALLEST_MAP = 8
"""Image sides are halved until they are odd or smaller than this."""


def map_sides(data: DataInfo) -> list[tuple[int, int]]:
    """(height, width) of the maps of a convolutional network, from the smallest up to the images'.

    28 pixels give 7, 14, 28; 32 give 4, 8, 16, 32; 64 give 4, 8, 16, 32, 64.

    Raises:
        UsageError: If the sides cannot be halved down to at most `SMALLEST_MAP` pixels.
    """
    h, w = data.height, data.width
    sides = [(h, w)]
    while h % 2 == w % 2 == 0 and min(h, w) >= SMALLEST_MAP:
        h, w = h // 2, w // 2
        sides.append((h, w))
    if len(sides) == 1 or max(h, w) > SMALLEST_MAP:
        raise UsageError(
            f"A convolutional network cannot be built for {data.height}x{data.width} images.",
            "Give --image-size 28, 32 or 64.",
        )
    return sides[::-1]
