"""The networks of `vae`: encoders, decoders, and Gaussians whose parameters a network tells.

All have the same dense layers (`--hidden`). With `--network conv`, convolutions of stride 2 stand
before an encoder's, down to a map of 4 to 7 pixels a side, and transposed ones after a decoder's;
channels double as sides halve. Hidden units, dense or convolutional, are rectified or gated
(Dauphin et al. 2016, arXiv:1612.08083). Leading dimensions, of importance samples, pass through.
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor, nn

from gencli.data.spec import DataInfo
from gencli.errors import UsageError
from gencli.models.latent.configs import VAEConfig
from gencli.models.latent.densities import Gaussian

WIDTH = 32
"""Channels of a convolutional network's largest map, unless told otherwise."""

_KERNEL = 5
_CERTAINTY = 4.0
"""Convolutional posteriors begin with log variances of about minus this: as an autoencoder, with
latents that are worth reading. From a variance of 1 on, decoders learn not to read them."""


def _activation(config: VAEConfig, dim: int = -1) -> list[nn.Module]:
    units = nn.GLU(dim) if config.activation == "gated" else nn.ReLU()
    return [units, nn.Dropout(config.dropout)] if config.dropout else [units]


def _width(config: VAEConfig, n: int) -> int:
    """Outputs of the layer before `n` hidden units: a gated one has two."""
    return 2 * n if config.activation == "gated" else n


def mlp(widths: tuple[int, ...], config: VAEConfig) -> nn.Sequential:
    """Dense hidden layers, the first of `widths` being the inputs: (..., n_in) -> (..., n_out)."""
    layers: list[nn.Module] = []
    for n_in, n_out in pairwise(widths):
        layers += [nn.Linear(n_in, _width(config, n_out)), *_activation(config)]
    return nn.Sequential(*layers)


def _begin(network: nn.Module, config: VAEConfig) -> None:
    """Begin a convolutional network with outputs as large as its inputs (He et al. 2015).

    With torch's own beginning each layer's are less than half as large as those before. A few dense
    layers learn well from there, ten layers do not.
    """
    if config.network == "mlp":
        return
    gain = 2.0 if config.activation == "gated" else math.sqrt(2.0)  # sigma(0) is one half
    for layer in network.modules():
        if isinstance(layer, nn.Linear):
            n_terms: float = layer.in_features
        elif isinstance(layer, nn.ConvTranspose2d):
            n_terms = layer.in_channels * _KERNEL**2 / 4  # a stride of 2 leaves out three in four
        elif isinstance(layer, nn.Conv2d):
            n_terms = layer.in_channels * _KERNEL**2
        else:
            continue
        nn.init.normal_(layer.weight, std=gain / math.sqrt(n_terms))
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)


def _maps(config: VAEConfig, data: DataInfo) -> list[tuple[int, int, int]]:
    """(C, H, W) of the feature maps, the image first; of the image alone without convolutions."""
    maps = [data.shape]
    if config.network == "conv":
        channels = config.width or WIDTH
        while min(maps[-1][1:]) >= 8:
            _, h, w = maps[-1]
            maps.append((channels, -(-h // 2), -(-w // 2)))
            channels *= 2
        if len(maps) == 1:
            raise UsageError(
                f"Images of {data.height}x{data.width} pixels are too small for convolutions.",
                "Give --image-size 8 or more, or --network mlp.",
            )
    elif config.width is not None:
        raise UsageError(
            "--width is for convolutional networks.", "Add --network conv, or leave --width out."
        )
    return maps


class Encoder(nn.Module):
    """From images, and classes where the model is told them, to features."""

    def __init__(self, config: VAEConfig, data: DataInfo) -> None:
        super().__init__()
        maps = _maps(config, data)
        layers: list[nn.Module] = []
        for (n_in, _, _), (n_out, _, _) in pairwise(maps):
            convolution = nn.Conv2d(n_in, _width(config, n_out), _KERNEL, 2, _KERNEL // 2)
            layers += [convolution, *_activation(config, dim=-3)]
        self.maps = nn.Sequential(*layers, nn.Flatten())
        channels, height, width = maps[-1]
        n_classes = data.n_classes if config.conditional else 0
        widths = (channels * height * width + n_classes, *config.dense)
        self.dense, self.n_features = mlp(widths, config), widths[-1]
        _begin(self, config)

    def forward(self, x: Tensor, y: Tensor | None) -> Tensor:
        """(B, C, H, W) in [0, 1] and one-hot classes (B, n_classes) -> (B, n_features)."""
        h = self.maps(x)
        features: Tensor = self.dense(h if y is None else torch.cat([h, y], 1))
        return features


class Decoder(nn.Module):
    """From latents, and classes where the model is told them, to what the likelihood wants.

    Args:
        config: Says what the network is.
        data: What the images are.
        n_latents: Latents of all layers.
        n_outputs: Numbers for each position of the image.
    """

    def __init__(self, config: VAEConfig, data: DataInfo, n_latents: int, n_outputs: int) -> None:
        super().__init__()
        image, *hidden = _maps(config, data)
        maps = [(_width(config, c), h, w) for c, h, w in reversed(hidden)]
        self.maps = [*maps, (n_outputs, *image[1:])]
        n_classes = data.n_classes if config.conditional else 0
        widths = (n_latents + n_classes, *reversed(config.dense))
        self.dense = mlp(widths, config)
        self.to_map = nn.Linear(widths[-1], math.prod(self.maps[0]))
        self.doublings = nn.ModuleList()
        for (channels, _, _), (n_out, _, _) in zip(reversed(hidden), self.maps[1:], strict=True):
            doubling = nn.ConvTranspose2d(channels, n_out, _KERNEL, 2, _KERNEL // 2, 1)
            self.doublings.append(nn.Sequential(*_activation(config, dim=-3), doubling))
        _begin(self, config)
        if hidden:  # outputs are logarithms of scales too: no image is certain at first
            nn.init.normal_(doubling.weight, std=0.1 / math.sqrt(doubling.weight[:, 0].numel()))

    def forward(self, z: Tensor, y: Tensor | None) -> Tensor:
        """(..., B, n_latents) and one-hot classes (B, n_classes) -> (..., B, n_outputs, H, W)."""
        if y is not None:
            z = torch.cat([z, y.expand(*z.shape[:-1], -1)], -1)
        h: Tensor = self.to_map(self.dense(z)).unflatten(-1, self.maps[0])
        leading = h.shape[:-3]
        for doubling, (_, height, width) in zip(self.doublings, self.maps[1:], strict=True):
            h = doubling(h.flatten(0, -4))[..., :height, :width].unflatten(0, leading)
        return h


class Posterior(nn.Module):
    """q(z | x, y), or q(z | x, y, z') where there are layers z' above.

    Args:
        config: Says what the network is.
        data: What the images are.
        n_above: Latents of the layers above.
    """

    def __init__(self, config: VAEConfig, data: DataInfo, n_above: int = 0) -> None:
        super().__init__()
        self.encoder = Encoder(config, data)
        n = self.encoder.n_features
        self.merge = _Merge(config, n, n_above) if n_above else None
        self.head = nn.Linear(n, 2 * config.latent_dim)
        if config.network == "conv":
            with torch.no_grad():
                self.head.bias[config.latent_dim :] -= _CERTAINTY

    def forward(self, x: Tensor, y: Tensor | None, above: Tensor | None = None) -> Gaussian:
        """(B, C, H, W), (B, n_classes), (..., B, n_above) -> (..., B, latent_dim)."""
        h = self.encoder(x, y)
        if self.merge is not None:
            h = self.merge(h, above)
        return _gaussian(self.head(h))


class _Merge(nn.Module):
    """A dense layer over features and latents side by side, which broadcast."""

    def __init__(self, config: VAEConfig, n: int, n_above: int) -> None:
        super().__init__()
        self.from_features = nn.Linear(n, _width(config, n))
        self.from_above = nn.Linear(n_above, _width(config, n), bias=False)
        self.activation = nn.Sequential(*_activation(config))

    def forward(self, features: Tensor, above: Tensor) -> Tensor:
        return self.activation(self.from_features(features) + self.from_above(above))  # type: ignore[no-any-return]


class Layer(nn.Module):
    """p(z | z'), with layers z' above: (..., n_above) -> (..., latent_dim)."""

    def __init__(self, config: VAEConfig, n_above: int) -> None:
        super().__init__()
        widths = (n_above, *reversed(config.dense))
        self.dense = mlp(widths, config)
        self.head = nn.Linear(widths[-1], 2 * config.latent_dim)

    def forward(self, above: Tensor) -> Gaussian:
        """See the class."""
        return _gaussian(self.head(self.dense(above)))


def _gaussian(parameters: Tensor) -> Gaussian:
    mean, log_var = parameters.float().chunk(2, -1)
    return Gaussian(mean, log_var)
