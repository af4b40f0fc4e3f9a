"""Neural autoregressive distribution estimator: one hidden layer per pixel, all sharing weights.

    log p(x) = sum_d log p(x_d | x_{<d}),    p(x_d = 1 | x_{<d}) = sigma(b_d + v_d . h_d),
    h_d = sigma(c + sum_{i<d} x_i w_i)

The sum inside h_d gains one term per pixel. Pixels are taken row by row.

Papers: Larochelle and Murray 2011, "The Neural Autoregressive Distribution Estimator", and Uria et
al. 2016, arXiv:1605.02226. On 8-bit data this is RNADE (Uria, Murray and Larochelle 2013,
arXiv:1306.0186): conditionals are mixtures of Gaussians.

With `--conditional` the model is of p(x | y): each class adds a vector to c and one to b.

Departures: RNADE reports the density of pixels with uniform noise added; here each conditional
density is integrated over the pixel's bin instead (the outer bins take the tails) and conditions on
the pixels themselves, so that `log_prob` is the exact log-probability of the 8-bit image, free of
noise and comparable in bits per dimension. Its sum is not rescaled by 1/d. The b_d
start from the base rates of binary pixels. Adam replaces gradient descent.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gencli.data.spec import DataInfo
from gencli.models.autoregressive.ancestral import Conditional, running_conditional
from gencli.models.autoregressive.base import AutoregressiveModel
from gencli.models.autoregressive.configs import NADEConfig
from gencli.models.autoregressive.labels import LabelBiases, with_labels
from gencli.models.autoregressive.nade_kernel import running_log_prob_sum, running_outputs
from gencli.models.autoregressive.raster import from_raster, to_raster
from gencli.models.interface import NOTHING, Batch, Condition, Loss, Optimizer, Step, Update
from gencli.models.likelihoods import likelihood_for, log_prob_sum


class NADE(AutoregressiveModel):
    """Neural autoregressive distribution estimator."""

    config: NADEConfig

    bf16 = False  # sums of hundreds of terms, and bound by memory and sigmoids anyway

    def __init__(self, config: NADEConfig, data: DataInfo) -> None:
        super().__init__(config, data)
        self.likelihood = likelihood_for(data, config.likelihood, config.components, "gaussian")
        self.discrete_levels = self.likelihood.levels
        n, p, h = data.n_pixels, self.likelihood.n_params, config.hidden
        self.w = nn.Parameter(torch.randn(n, h) * n**-0.5)
        self.c = nn.Parameter(torch.zeros(h))
        self.v = nn.Parameter(torch.randn(n, p, h) * 0.1 * h**-0.5)
        self.b = nn.Parameter(torch.zeros(n, p))
        self.classes = LabelBiases(data.n_classes, (h, n * p)) if config.conditional else None

    def biases(self, condition: Condition) -> tuple[Tensor, Tensor]:
        """The sums' and outputs' biases: c (H,) and b (D, P), or (B, H) and (B, D, P) by class."""
        c, b = with_labels([self.c, self.b.flatten()], self.classes, condition)
        return c, b.view(*b.shape[:-1], *self.b.shape)

    def plain_parameters_of(self, pixels: Tensor, condition: Condition = NOTHING) -> Tensor:
        """`parameters_of` as the equations above have it, all h_d at once: (B, D) -> (B, D, P)."""
        c, b = self.biases(condition)
        before = self.w.new_ones(len(self.w), len(self.w)).tril(-1)  # (D, D): i < d
        sums = c.unsqueeze(-2) + torch.einsum("di,bi,ih->bdh", before, pixels, self.w)
        h = sums.sigmoid() if self.config.activation == "sigmoid" else sums.relu()  # (B, D, H)
        return torch.einsum("dph,bdh->bdp", self.v, h) + b

    def parameters_of(self, pixels: Tensor, condition: Condition = NOTHING) -> Tensor:
        """Each pixel's distribution given those before it: (B, D) -> (B, D, P).

        The same with a running sum, a few pixels' h_d in memory at a time.
        """
        c, b = self.biases(condition)
        return running_outputs(pixels, self.w, c, self.v, b, self.config.activation)

    def log_prob(self, x: Tensor, condition: Condition = NOTHING) -> Tensor:
        """Exact log p(x), nats per image: (B, C, H, W) -> (B,)."""
        pixels = to_raster(x)
        return log_prob_sum(self.likelihood, self.parameters_of(pixels, condition), pixels)

    def loss(self, batch: Batch, step: Step) -> Loss:
        """-log p(x), whose gradient is taken pixel by pixel on the way."""
        c, b = self.biases(batch.condition)
        total = running_log_prob_sum(
            to_raster(batch.images), self.w, c, self.v, b, self.config.activation, self.likelihood
        )
        return Loss(-total / len(batch.images))

    def updates(self) -> tuple[Update, ...]:
        """One, by Adam with weight decay."""
        optimizer = Optimizer("adamw", weight_decay=self.config.weight_decay)
        return (Update("model", self.loss, tuple(self.parameters()), optimizer, ema=True),)

    def output_bias(self) -> Tensor:
        """b, of all pixels."""
        return self.b.view(-1)

    def filters(self) -> Tensor:
        """What each hidden unit sums up: its weights as an image (H, C, height, width)."""
        return from_raster(self.w.t(), self.data.shape)

    def cached_conditional(self, n: int, condition: Condition = NOTHING) -> Conditional:
        """Conditionals for drawing `n` images, with a running activation."""
        activation = torch.sigmoid if self.config.activation == "sigmoid" else torch.relu
        c, b = self.biases(condition)
        return running_conditional(self.w, c, self.v, b, activation, n)
