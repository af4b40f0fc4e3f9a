"""Fully visible sigmoid belief network: each pixel is a logistic regression on those before it.

    log p(x) = sum_d log p(x_d | x_{<d}),    p(x_d = 1 | x_{<d}) = sigma(b_d + sum_{i<d} w_di x_i)

Pixels are taken row by row, the channels of a pixel side by side.

Papers: Frey, Hinton and Dayan 1996, "Does the wake-sleep algorithm produce good density
estimators?"; the protocol is that of Larochelle and Murray 2011, "The Neural Autoregressive
Distribution Estimator".

Departures: biases start from the base rates of binary pixels; Adam instead of plain gradient
descent; besides weight decay, an L1 penalty and one on
the differences between adjacent pixels' weights, which generalise better; for 8-bit pixels each
regression gives the parameters of a mixture of discretised logistics (arXiv:1701.05517) or of a
softmax.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gencli.data.spec import DataInfo
from gencli.models.autoregressive.ancestral import Conditional, linear_conditional
from gencli.models.autoregressive.base import AutoregressiveModel
from gencli.models.autoregressive.configs import FVSBNConfig
from gencli.models.autoregressive.raster import to_raster
from gencli.models.interface import NOTHING, Batch, Condition, Loss, Optimizer, Step, Update
from gencli.models.likelihoods import likelihood_for, log_prob_sum


class FVSBN(AutoregressiveModel):
    """Fully visible sigmoid belief network."""

    config: FVSBNConfig

    def __init__(self, config: FVSBNConfig, data: DataInfo) -> None:
        super().__init__(config, data)
        self.likelihood = likelihood_for(data, config.likelihood, config.components, "logistic")
        self.discrete_levels = self.likelihood.levels
        n, p = data.n_pixels, self.likelihood.n_params
        self.weight = nn.Parameter(torch.zeros(n, p, n))
        self.bias = nn.Parameter(torch.zeros(n, p))

    def parameters_of(self, pixels: Tensor) -> Tensor:
        """Each pixel's distribution given those before it: (B, D) -> (B, D, P)."""
        earlier = torch.ones_like(self.weight[:, 0]).tril(-1).unsqueeze(1)  # (D, 1, D): i < d
        weight = (self.weight * earlier).flatten(0, 1)
        return F.linear(pixels, weight, self.bias.flatten()).view(-1, *self.bias.shape)

    def log_prob(self, x: Tensor, condition: Condition = NOTHING) -> Tensor:
        """Exact log p(x), nats per image: (B, C, H, W) -> (B,)."""
        pixels = to_raster(x)
        return log_prob_sum(self.likelihood, self.parameters_of(pixels), pixels)

    def loss(self, batch: Batch, step: Step) -> Loss:
        """-log p(x), and the penalties on the weights."""
        nll = -self.log_prob(batch.images).mean()
        penalty = torch.zeros_like(nll)
        if self.config.l1:  # of all weights: those that are masked are 0 and stay there
            penalty = penalty + self.config.l1 * self.weight.abs().sum()
        if self.config.smoothness:
            penalty = penalty + self.config.smoothness * self.roughness()
        return Loss(nll + penalty, nll=nll, penalty=penalty)

    def roughness(self) -> Tensor:
        """Half the sum of (w_di - w_d'i')^2, where both d', i' are a pixel right or below d, i.

        Two pixels side by side see alike pictures, one pixel apart: their weights should differ
        little where the offset from the pixel that is seen is the same.
        """
        c, h, w = self.data.shape
        weight = self.weight.view(h, w, c, -1, h, w, c)
        right = weight[:, 1:, :, :, :, 1:] - weight[:, :-1, :, :, :, :-1]
        below = weight[1:, :, :, :, 1:] - weight[:-1, :, :, :, :-1]
        return 0.5 * (right.square().sum() + below.square().sum())

    def updates(self) -> tuple[Update, ...]:
        """One, by Adam."""
        optimizer = Optimizer("adam", weight_decay=self.config.weight_decay)
        return (Update("model", self.loss, tuple(self.parameters()), optimizer, ema=True),)

    def output_bias(self) -> Tensor:
        """The regressions' own biases."""
        return self.bias.view(-1)

    def cached_conditional(self, n: int, condition: Condition = NOTHING) -> Conditional:
        """Conditionals for drawing `n` images, without what the whole network repeats."""
        return linear_conditional(self.weight, self.bias)
