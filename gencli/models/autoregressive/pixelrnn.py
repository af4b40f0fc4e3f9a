"""PixelRNN: LSTMs that sweep over an image, row by row or diagonal by diagonal.

    log p(x) = sum_{i,j} sum_c log p(x_ijc | rows above i, pixels left of j, channels before c)

A 7 x 7 convolution with mask A reads the image; LSTMs of the kind `row` (whose state at a pixel is
a function of the triangle above it) or `diagonal` (of all pixels before it) follow, each added to
its input, then two 1 x 1 layers. With `--conditional` the model is of p(x | y): the class adds a
vector to the first features and to each pixel's bias.

Paper: van den Oord et al. 2016, arXiv:1601.06759.

Departures: each position has features of its own beside those of the first convolution, and each
pixel's distribution a bias, which starts from the base rates of binary pixels. The two maps of a
diagonal layer have an upsampling each before they are added, instead of one after it, and the map
from the right sees its own pixel, too: without that, the last pixel of a row is unseen by the first
ones of the next row, although the paper's figure shows it seen. Adam replaces RMSProp.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gencli.data.spec import DataInfo
from gencli.models.autoregressive.ancestral import Conditional
from gencli.models.autoregressive.base import PixelNetwork
from gencli.models.autoregressive.configs import PixelRNNConfig
from gencli.models.autoregressive.labels import LabelBiases
from gencli.models.autoregressive.pixelrnn_cache import recurrent_rows
from gencli.models.autoregressive.pixelrnn_networks import PixelRNNStack
from gencli.models.autoregressive.raster import from_raster
from gencli.models.interface import NOTHING, Condition


class PixelRNN(PixelNetwork):
    """PixelRNN of row or diagonal LSTMs."""

    config: PixelRNNConfig

    bf16 = False  # casts cost what the products gain

    def __init__(self, config: PixelRNNConfig, data: DataInfo) -> None:
        super().__init__(config, data)
        self.stack = PixelRNNStack(
            data.shape, config.kind, config.channels, config.layers,
            data.channels * self.likelihood.n_params,
        )  # fmt: skip
        nn.init.normal_(self.stack.last.weight, std=0.01)
        self.bias = nn.Parameter(torch.zeros(data.n_pixels, self.likelihood.n_params))

        widths = (config.channels, self.bias.numel())
        self.classes = LabelBiases(data.n_classes, widths) if config.conditional else None

    def labels(self, condition: Condition) -> tuple[Tensor | None, Tensor]:
        """What classes add to the first features, and each pixel's bias, (D, P) or (B, D, P)."""
        if self.classes is None:
            return None, self.bias
        first, bias = self.classes(condition)
        return first, self.bias + bias.view(-1, *self.bias.shape)

    def parameters_of(self, pixels: Tensor, condition: Condition = NOTHING) -> Tensor:
        """Each pixel's distribution given those before it: raster (B, D) -> (B, D, P)."""
        label, bias = self.labels(condition)
        x = from_raster(pixels, self.data.shape)
        outputs: Tensor = self.stack(x, label)  # (B, H * W, C * P)
        return outputs.reshape(*pixels.shape, self.likelihood.n_params) + bias

    def compilable(self) -> tuple[nn.Module, ...]:
        """None: a sweep is one operation to autograd, and tracing its steps takes minutes."""
        return ()

    def cached_conditional(self, n: int, condition: Condition = NOTHING) -> Conditional:
        """Conditionals for drawing `n` images, computing one position per layer."""
        label, bias = self.labels(condition)
        network = recurrent_rows(self.stack, n, self.data.shape, label)
        return lambda t, pixels: network(t, pixels) + bias[..., t, :]
