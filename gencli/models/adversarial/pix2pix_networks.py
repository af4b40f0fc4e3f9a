"""The networks of pix2pix: a U-Net from image to image, and a discriminator of patches.

After the appendix of Isola et al. 2017 (arXiv:1611.07004): convolutions of 4x4 pixels and stride 2
down to a single column of units and back, where each layer of the way up also sees the one of its
size on the way down. Sides are halved by rounding down (28, 14, 7, 3, 1) and come back exactly.

Where the source is the image without something (its colours, half of its pixels), the network adds
to it, as in super-resolution (Kim et al. 2016, arXiv:1511.04587), and begins with adding nothing.
"""

from __future__ import annotations

import math
from itertools import pairwise
from statistics import NormalDist

import torch
from torch import Tensor, nn

from gencli.data.source_images import INCOMPLETE, as_image
from gencli.data.spec import DataInfo
from gencli.errors import UsageError

_MOST = 8
"""Layers have at most this many times the channels of the first."""

_LEVEL = 1 / 255
"""What a source's pixels are held off black and white, where nothing could be added to them."""


class UNet(nn.Module):
    """From a source image, and noise, to an image of the same size.

    Args:
        width: Channels of the largest map, doubled at every halving of the sides up to 8 times.
        dropout: Probability that a channel of an inner layer of the way up is dropped.
        data: What the images and their sources are.

    Attributes:
        latent_dim: Channels that may be dropped: those of the inner half of the way up.
    """

    def __init__(self, width: int, dropout: float, data: DataInfo) -> None:
        super().__init__()
        sides = [(data.height, data.width)]
        while min(sides[-1]) > 1:
            sides.append((sides[-1][0] // 2, sides[-1][1] // 2))
        n = len(sides) - 1
        channels = [data.source_shape[0], *(width * min(1 << i, _MOST) for i in range(n))]
        self.down = nn.ModuleList(
            _down(n_in, n_out, norm=0 < i < n - 1)
            for i, (n_in, n_out) in enumerate(pairwise(channels))
        )
        up: list[nn.Module] = []
        self._dropped: list[int] = []  # channels of each layer with dropout, the innermost first
        for i in range(n - 1, -1, -1):
            n_out = channels[i] if i else max(width // 2, 8)
            up.append(_up(channels[i + 1] * (1 if i == n - 1 else 2), n_out, sides[i]))
            if i and len(self._dropped) < n // 2:
                self._dropped.append(n_out)
        self.up = nn.ModuleList(up)
        self.latent_dim = sum(self._dropped)
        self._keep = 1 - dropout
        self._threshold = NormalDist().inv_cdf(dropout) if dropout else -math.inf
        self.last = nn.Sequential(
            nn.ReLU(), nn.Conv2d(max(width // 2, 8) + channels[0], data.channels, 3, padding=1)
        )
        self._kind = data.source
        if self._kind in INCOMPLETE:
            for parameter in self.last.parameters():
                nn.init.zeros_(parameter)

    def forward(self, source: Tensor, z: Tensor | None = None) -> Tensor:
        """(B, C', H, W) in [0, 1] -> (B, C, H, W) in [0, 1].

        Channel c is dropped where z (B, latent_dim) is below the normal distribution's quantile of
        the probability to be dropped; without z none is.
        """
        h = 2 * source - 1
        maps = [h]
        for layer in self.down:
            maps.append(layer(maps[-1]))
        kept: tuple[Tensor, ...] = ()
        if z is not None:
            kept = torch.split((z >= self._threshold) / self._keep, self._dropped, dim=1)
        h = maps.pop()
        for i, layer in enumerate(self.up):
            h = layer(h if i == 0 else torch.cat([h, maps.pop()], 1))
            if i < len(kept):
                h = h * kept[i][:, :, None, None].to(h.dtype)
        logits: Tensor = self.last(torch.cat([h, maps.pop()], 1)).float()
        if self._kind in INCOMPLETE:
            logits = logits + as_image(source, self._kind).float().logit(_LEVEL)
        return torch.sigmoid(logits)


class PatchDiscriminator(nn.Module):
    """From a source image and an image to a logit for each patch.

    Args:
        width: Channels of the largest map, doubled in every layer.
        layers: Convolutions of stride 2; 1, 2 and 3 judge patches of 16, 34 and 70 pixels.
        data: What the images and their sources are.

    Raises:
        UsageError: If the images are smaller than such layers need.
    """

    def __init__(self, width: int, layers: int, data: DataInfo) -> None:
        super().__init__()
        smallest = 3 << layers
        if min(data.height, data.width) < smallest:
            raise UsageError(
                f"Images of {data.height}x{data.width} pixels are too small for {layers} layers "
                "of the discriminator.",
                f"Give fewer --d-layers, or an --image-size of at least {smallest}.",
            )
        n_in = data.source_shape[0] + data.channels
        parts: list[nn.Module] = []
        for i in range(layers + 1):
            n_out, stride = width * min(1 << i, _MOST), 2 if i < layers else 1
            parts.append(nn.Conv2d(n_in, n_out, 4, stride, 1, bias=i == 0))
            parts += [nn.BatchNorm2d(n_out)] if i else []
            parts.append(nn.LeakyReLU(0.2))
            n_in = n_out
        self.layers = nn.Sequential(*parts, nn.Conv2d(n_in, 1, 4, 1, 1))

    def forward(self, source: Tensor, images: Tensor) -> Tensor:
        """(B, C', H, W) and (B, C, H, W), both in [0, 1] -> logits (B, 1, H', W')."""
        logits: Tensor = self.layers(2 * torch.cat([source, images], 1) - 1)
        return logits.float()


def _down(n_in: int, n_out: int, *, norm: bool) -> nn.Sequential:
    """A layer that halves the sides; what it sees is its input's rectified, but for the image."""
    layers: list[nn.Module] = [nn.Conv2d(n_in, n_out, 4, 2, 1, bias=not norm)]
    return nn.Sequential(*layers, *([nn.BatchNorm2d(n_out)] if norm else []), nn.LeakyReLU(0.2))


def _up(n_in: int, n_out: int, sides: tuple[int, int]) -> nn.Sequential:
    """A layer that doubles the sides, and adds a pixel where they are odd."""
    extra = (sides[0] % 2, sides[1] % 2)
    return nn.Sequential(
        nn.ReLU(), nn.ConvTranspose2d(n_in, n_out, 4, 2, 1, extra, bias=False),
        nn.BatchNorm2d(n_out),
    )  # fmt: skip
