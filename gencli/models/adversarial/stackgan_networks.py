"""The parts of `stackgan` that no other model has: conditions from captions, and the refiner."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from gencli.data.spec import DataInfo
from gencli.models.adversarial.networks import base_map


class ConditioningAugmentation(nn.Module):
    """A caption's vector h -> c from N(mu(h), diag sigma(h)^2).

    Args:
        n_told: Numbers of h.
        condition_dim: Dimensions of c.
    """

    def __init__(self, n_told: int, condition_dim: int) -> None:
        super().__init__()
        self.linear = nn.Linear(n_told, 2 * condition_dim)

    def forward(self, h: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """(B, n_told) and standard normal (B, condition_dim) -> c, and KL(N(mu, s^2) || N(0, I)).

        The divergence is that of each caption, (B,) nats.
        """
        mean, log_var = self.linear(h).float().chunk(2, 1)
        divergence = 0.5 * (mean.square() + log_var.exp() - 1 - log_var).sum(1)
        return mean + (0.5 * log_var).exp() * noise, divergence


class Refiner(nn.Module):
    """Images at half the size, and what is told of them -> images at full size.

    Down to a small map by strided convolutions, what is told beside every place of it, residual
    blocks, and up by nearest neighbours and convolutions.

    Args:
        half: What the small images are.
        condition_dim: Numbers that are told.
        width: Channels of the largest map, doubled whenever the sides halve.
        blocks: Residual blocks.
    """

    def __init__(self, half: DataInfo, condition_dim: int, width: int, blocks: int = 2) -> None:
        super().__init__()
        halvings = min(base_map(half)[0], 2)
        widths = [width << i for i in range(halvings + 1)]
        down: list[nn.Module] = [nn.Conv2d(half.channels, width, 3, padding=1), nn.ReLU()]
        for n_in, n_out in pairwise(widths):
            down += _normed(nn.Conv2d(n_in, n_out, 4, 2, 1, bias=False))
        deepest = widths[-1]
        self.down = nn.Sequential(*down)
        self.join = _normed(nn.Conv2d(deepest + condition_dim, deepest, 3, padding=1, bias=False))
        self.blocks = nn.ModuleList(_residual(deepest) for _ in range(blocks))
        up: list[nn.Module] = []
        last = width // 2
        for n_in, n_out in pairwise([*widths[::-1], last]):
            up += [
                nn.Upsample(scale_factor=2),
                *_normed(nn.Conv2d(n_in, n_out, 3, padding=1, bias=False)),
            ]
        self.up = nn.Sequential(*up, nn.Conv2d(last, half.channels, 3, padding=1))

    def forward(self, images: Tensor, told: Tensor) -> Tensor:
        """(B, C, H/2, W/2) in [0, 1] and (B, condition_dim) -> (B, C, H, W) in [0, 1]."""
        h = self.down(2 * images - 1)
        everywhere = told[:, :, None, None].expand(-1, -1, *h.shape[2:])
        h = self.join(torch.cat([h, everywhere.to(h.dtype)], 1))
        for block in self.blocks:
            h = h + block(h)
        return torch.sigmoid(self.up(h.relu()).float())


def _normed(convolution: nn.Conv2d) -> nn.Sequential:
    return nn.Sequential(convolution, nn.BatchNorm2d(convolution.out_channels), nn.ReLU())


def _residual(width: int) -> nn.Sequential:
    return nn.Sequential(
        *_normed(nn.Conv2d(width, width, 3, padding=1, bias=False)),
        nn.Conv2d(width, width, 3, padding=1, bias=False),
        nn.BatchNorm2d(width),
    )
