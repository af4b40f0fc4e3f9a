"""PixelCNN: a convolutional network masked so that a pixel sees those above and to its left.

    log p(x) = sum_{i,j} sum_c log p(x_ijc | rows above i, pixels left of j, channels before c)

A 7 x 7 convolution with mask A reads the image; residual blocks of 1 x 1, k x k (mask B) and 1 x 1
convolutions follow, then two 1 x 1 layers. With `gated`, a vertical stack sees all rows above
without a blind spot, a horizontal stack sees the row so far, and units are tanh(a) sigma(b). With
`attention`, half-way through the layers each pixel also looks up any pixel before it. With
`--conditional` the model is of p(x | y): the class adds a vector to every layer, as in section 2.3
of the second paper, and to each pixel's bias.

Papers: van den Oord et al. 2016, arXiv:1601.06759 (residual blocks, masks, softmax) and
arXiv:1606.05328 (gates, two stacks); Chen et al. 2018, arXiv:1712.09763 (attention); the logistic
mixture is that of arXiv:1701.05517, but with a full mixture per colour channel given the channels
before it, in place of means that depend on them linearly.

Departures: each position has features of its own beside those of the first convolution, and each
pixel's distribution a bias, which starts from the base rates of binary pixels; few blocks of large
kernels instead of many of 3 x 3; blocks start near the identity.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gencli.data.spec import DataInfo
from gencli.errors import UsageError
from gencli.models.autoregressive.ancestral import Conditional
from gencli.models.autoregressive.base import PixelNetwork
from gencli.models.autoregressive.configs import PixelCNNConfig
from gencli.models.autoregressive.labels import LabelBiases
from gencli.models.autoregressive.pixelcnn_cache import gated_rows, residual_rows
from gencli.models.autoregressive.pixelcnn_networks import GatedStacks, ResidualStack
from gencli.models.autoregressive.raster import from_raster
from gencli.models.interface import NOTHING, Condition


class PixelCNN(PixelNetwork):
    """PixelCNN, plain or gated."""

    config: PixelCNNConfig

    def __init__(self, config: PixelCNNConfig, data: DataInfo) -> None:
        super().__init__(config, data)
        if config.kernel % 2 == 0:
            raise UsageError("--kernel must be odd: a pixel is in the middle.", "Try --kernel 5.")
        stacks = GatedStacks if config.gated else ResidualStack
        self.stacks: GatedStacks | ResidualStack = stacks(
            data.shape, config.channels, config.blocks, config.kernel,
            data.channels * self.likelihood.n_params, config.dropout, config.attention,
        )  # fmt: skip
        nn.init.normal_(self.stacks.last.weight, std=0.01)
        self.bias = nn.Parameter(torch.zeros(data.n_pixels, self.likelihood.n_params))
        widths = (*self.stacks.label_widths, self.bias.numel())
        self.classes = LabelBiases(data.n_classes, widths) if config.conditional else None

    def labels(self, condition: Condition) -> tuple[list[Tensor], Tensor]:
        """What the classes add to the layers, and each pixel's bias, (D, P) or (B, D, P)."""
        if self.classes is None:
            return [], self.bias
        *layers, bias = self.classes(condition)
        return layers, self.bias + bias.view(-1, *self.bias.shape)

    def parameters_of(self, pixels: Tensor, condition: Condition = NOTHING) -> Tensor:
        """Each pixel's distribution given those before it: raster (B, D) -> (B, D, P)."""
        layers, bias = self.labels(condition)
        x = from_raster(pixels, self.data.shape)
        outputs: Tensor = self.stacks(x, layers)  # (B, C * P, H, W)
        rows = outputs.permute(0, 2, 3, 1).reshape(*pixels.shape, self.likelihood.n_params)
        return rows + bias

    def cached_conditional(self, n: int, condition: Condition = NOTHING) -> Conditional:
        """Conditionals for drawing `n` images, computing one position per layer."""
        layers, bias = self.labels(condition)
        if isinstance(self.stacks, GatedStacks):
            network = gated_rows(self.stacks, n, self.data.shape, layers)
        else:
            network = residual_rows(self.stacks, n, self.data.shape, layers)
        return lambda t, pixels: network(t, pixels) + bias[..., t, :]
