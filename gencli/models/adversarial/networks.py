"""The networks of adversarial models: generators and discriminators, convolutional or multilayer.

The convolutional ones follow Radford et al. 2015 (arXiv:1511.06434): a linear layer makes a map of
4 to 8 pixels a side, and each transposed convolution of stride 2 doubles it; the discriminator
comes back the same way by strided convolutions. Hidden dense layers, two on G's way from the
latents to the map and one on D's from the map to its output, follow InfoGAN (Chen et al. 2016,
arXiv:1606.03657): what a digit is as a whole is decided there.

Without batch normalisation in the discriminator, real and made images go through it in one pass;
every layer can have unit spectral norm instead (Miyato et al. 2018, arXiv:1802.05957).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from gencli.data.spec import DataInfo
from gencli.errors import UsageError
from gencli.models.adversarial.configs import Network

LARGEST_BASE = 8
"""A convolutional network's smallest map has at most this many pixels a side."""


def base_map(data: DataInfo) -> tuple[int, int, int]:
    """How often the image's sides are halved, and the (height, width) that this comes to.

    28 pixels come to 7 in two halvings, 32 to 4 in three, 64 to 4 in four.

    Raises:
        UsageError: If the sides cannot be halved down to `LARGEST_BASE` pixels.
    """
    n, h, w = 0, data.height, data.width
    while h % 2 == w % 2 == 0 and min(h, w) >= LARGEST_BASE:
        n, h, w = n + 1, h // 2, w // 2
    if n == 0 or max(h, w) > LARGEST_BASE:
        raise UsageError(
            f"Images of {data.height}x{data.width} pixels do not fit a convolutional network.",
            "Give --image-size 28, 32 or 64.",
        )
    return n, h, w


class Generator(nn.Module):
    """From latents to images, with what it is told embedded beside the latent, if anything.

    Args:
        network: `conv` or `mlp`.
        latent_dim: Dimensions of z.
        width: Channels of the smallest map (halved at every doubling of the sides), or units of the
            first of three hidden layers (doubled at every layer).
        data: What images to make.
        kernel: Side of the transposed convolutions' kernels, 4 or 5.
        hidden: Units of a convolutional network's hidden dense layers; 0 for none.
        n_hidden: How many of these there are.
        n_classes: 0 without labels.
        n_told: Numbers that a caption comes to; 0 without captions.
    """

    def __init__(
        self, network: Network, latent_dim: int, width: int, data: DataInfo, *,
        kernel: int = 4, hidden: int = 0, n_hidden: int = 2, n_classes: int = 0, n_told: int = 0,
    ) -> None:  # fmt: skip
        super().__init__()
        self.embedding = _embedding(n_classes, n_told, latent_dim)
        if self.embedding is not None:  # or G makes one image of each, whatever z is
            nn.init.normal_(self.embedding.weight, std=0.1 / max(n_told, 1) ** 0.5)
        n_inputs = latent_dim * (1 if self.embedding is None else 2)
        if network == "mlp":
            self.layers = _upward_mlp(n_inputs, width, data)
        else:
            self.layers = _upward_convolutions(n_inputs, width, data, kernel, [hidden] * n_hidden)

    def forward(self, z: Tensor, told: Tensor | None = None) -> Tensor:
        """(B, latent_dim) -> (B, C, H, W) in [0, 1].

        A conditional generator is told classes (B,), without which all are mixed evenly, or what
        captions come to (B, n_told).
        """
        if self.embedding is not None:
            if told is None:
                y = self.embedding.weight.mean(0).expand(len(z), -1)
            else:
                y = self.embedding(told)
            z = torch.cat([z, y], dim=1)
        return torch.sigmoid(self.layers(z).float())


class Discriminator(nn.Module):
    """From images to one number, which what it is told enters by projection, if anything.

    Conditional: D(x, y) = w phi(x) + <e(y), phi(x)> with a learnt vector e(y) for each class, or a
    linear one of what a caption comes to (Miyato and Koyama 2018, arXiv:1802.05637).

    Args:
        network: `conv` or `mlp`.
        width: Channels of the largest map (doubled at every halving of the sides), or units of the
            last of three hidden layers (doubled at every layer before).
        data: What images there are.
        kernel: Side of the convolutions' kernels, 4 or 5.
        hidden: Units of a convolutional network's hidden dense layer; 0 for none.
        n_classes: 0 without labels.
        n_told: Numbers that a caption comes to; 0 without captions.
        spectral: Give every layer unit spectral norm.
        dropout: After every hidden layer.
        batch_norm: After every layer of a convolutional network but the first and the last. Real
            and made images must then come in batches of their own (`apart`).
    """

    def __init__(
        self, network: Network, width: int, data: DataInfo, *,
        kernel: int = 4, hidden: int = 0, n_classes: int = 0, n_told: int = 0,
        spectral: bool = False, dropout: float = 0.0, batch_norm: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        self.apart = batch_norm and network == "conv"
        if network == "mlp":
            self.features, n_features = _downward_mlp(width, data, dropout)
        else:
            self.features, n_features = _downward_convolutions(
                width, data, kernel, hidden, dropout, batch_norm=batch_norm
            )
        self.head = nn.Linear(n_features, 1)
        self.embedding = _embedding(n_classes, n_told, n_features)
        if self.embedding is not None:  # or labels drown the images at first, and D wins
            nn.init.normal_(self.embedding.weight, std=0.01)
        if spectral:
            for module in list(self.modules()):
                if isinstance(module, nn.Linear | nn.Conv2d | nn.Embedding):
                    spectral_norm(module)

    def forward(self, x: Tensor, told: Tensor | None = None) -> Tensor:
        """(B, C, H, W) in [0, 1], and classes (B,) or captions (B, n_told) -> logits (B,)."""
        return self.score(self.features(2 * x - 1), told)

    def score(self, phi: Tensor, told: Tensor | None = None) -> Tensor:
        """The same of phi(x), (B, n_features): one image may be scored with several captions."""
        out: Tensor = self.head(phi).squeeze(1)
        if self.embedding is not None:
            out = out + (self.embedding(told) * phi).sum(1)
        return out.float()


def _embedding(n_classes: int, n_told: int, width: int) -> nn.Embedding | nn.Linear | None:
    if n_told:
        return nn.Linear(n_told, width, bias=False)
    return nn.Embedding(n_classes, width) if n_classes else None


class _ToMap(nn.Module):
    """(B, H * W * C) -> (B, C, H, W), channels innermost in memory as convolutions want them."""

    def __init__(self, channels: int, height: int, width: int) -> None:
        super().__init__()
        self.shape = (height, width, channels)

    def forward(self, x: Tensor) -> Tensor:
        return x.view(-1, *self.shape).permute(0, 3, 1, 2)


def _upward_convolutions(
    n_inputs: int, width: int, data: DataInfo, kernel: int, hidden: Sequence[int]
) -> nn.Sequential:
    n, h, w = base_map(data)
    channels = [max(width >> i, min(width, 16)) for i in range(n)]
    layers: list[nn.Module] = []
    widths = (n_inputs, *filter(None, hidden))
    for n_in, n_out in pairwise(widths):
        layers += [nn.Linear(n_in, n_out, bias=False), nn.BatchNorm1d(n_out), nn.ReLU()]
    layers += [
        nn.Linear(widths[-1], width * h * w, bias=False),
        _ToMap(width, h, w),
        nn.BatchNorm2d(width),
        nn.ReLU(),
    ]
    for n_in, n_out in pairwise(channels):
        layers += [_doubling(n_in, n_out, kernel, bias=False), nn.BatchNorm2d(n_out), nn.ReLU()]
    layers.append(_doubling(channels[-1], data.channels, kernel, bias=True))
    return nn.Sequential(*layers)


def _doubling(n_in: int, n_out: int, kernel: int, *, bias: bool) -> nn.Module:
    padding, extra = (kernel - 1) // 2, kernel % 2  # so that both sides double exactly
    return nn.ConvTranspose2d(n_in, n_out, kernel, 2, padding, extra, bias=bias)


def _downward_convolutions(
    width: int, data: DataInfo, kernel: int, hidden: int, dropout: float, *, batch_norm: bool
) -> tuple[nn.Sequential, int]:
    n, h, w = base_map(data)
    if max(h, w) > 4 and not hidden:  # one more halving: some layer must see the whole image
        n, h, w = n + 1, h // 2, w // 2
    channels = [data.channels, *(width << i for i in range(n))]
    layers: list[nn.Module] = []
    for n_in, n_out in pairwise(channels):
        norm = batch_norm and bool(layers)  # not in the first layer, as in the paper
        layers.append(nn.Conv2d(n_in, n_out, kernel, 2, (kernel - 1) // 2, bias=not norm))
        layers += [nn.BatchNorm2d(n_out)] if norm else []
        layers += _activation(dropout)
    layers.append(nn.Flatten())
    with torch.no_grad():
        n_features = nn.Sequential(*layers).eval()(torch.zeros(1, *data.shape)).shape[1]
    if hidden:
        layers.append(nn.Linear(n_features, hidden, bias=not batch_norm))
        layers += [nn.BatchNorm1d(hidden)] if batch_norm else []
        layers += _activation(dropout)
    return nn.Sequential(*layers).train(), hidden or n_features


def _activation(dropout: float) -> list[nn.Module]:
    return [nn.LeakyReLU(0.2), nn.Dropout(dropout)] if dropout else [nn.LeakyReLU(0.2)]


def _upward_mlp(n_inputs: int, width: int, data: DataInfo) -> nn.Sequential:
    layers: list[nn.Module] = []
    for n_in, n_out in pairwise((n_inputs, width, 2 * width, 4 * width)):
        layers += [nn.Linear(n_in, n_out, bias=False), nn.BatchNorm1d(n_out), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(4 * width, data.n_pixels), nn.Unflatten(1, data.shape))


def _downward_mlp(width: int, data: DataInfo, dropout: float) -> tuple[nn.Sequential, int]:
    layers: list[nn.Module] = [nn.Flatten()]
    for n_in, n_out in pairwise((data.n_pixels, 4 * width, 2 * width, width)):
        layers += [nn.Linear(n_in, n_out), *_activation(dropout)]
    return nn.Sequential(*layers), width
