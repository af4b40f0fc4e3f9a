"""Masked autoencoder: a network whose output d is a function of the pixels before d alone.

    log p(x) = log 1/M sum_m prod_d p(x_d | x_{before d in ordering m}; mask m)

A hidden unit of degree k may see the first k pixels of the ordering: W_jk is kept where
degree_j >= degree_k, and in the output layer where position_d > degree_k. With several masks (and
orderings, if order-agnostic) each training step uses one at random, and the model is the equal
mixture over all of them, whose exact likelihood `log_prob` gives and from which `sample` draws:
each image takes a mask, then its pixels in that mask's ordering.

Paper: Germain et al. 2015, arXiv:1502.03509.

Departures: masks are chosen at random instead of in turn; hidden layers may be residual and dropped
out; Adam replaces Adadelta; the first mask's ordering is raster order and its degrees are even.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gencli.core.model import Batch, GenerativeModel, Loss, Optimizer, Update
from gencli.data.spec import DataInfo
from gencli.errors import UsageError
from gencli.nn.likelihoods import likelihood_for
from gencli.nn.masked import draw_degrees, masked_linear
from gencli.nn.raster import to_raster
from gencli.options import Training, option
from gencli.sampling.ancestral import Conditional, ancestral, layered_conditional
from gencli.sampling.generator import ImageGenerator


@dataclass(frozen=True)
class Config:
    """Settings of MADE."""

    hidden: tuple[int, ...] = option((1000, 1000), "Widths of the hidden layers", min=1)
    masks: int = option(1, "Masks, of which the model is the mixture", min=1)
    order_agnostic: bool = option(False, "Give each further mask a pixel ordering of its own")
    dropout: float = option(0.0, "Share of hidden units dropped in training", min=0, max=0.9)
    likelihood: Literal["auto", "softmax", "logistic"] = option(
        "auto", "Distribution of an 8-bit pixel; auto is logistic. Binary pixels are Bernoulli"
    )
    components: int = option(5, "Components of the logistic mixture", min=1)
    weight_decay: float = option(0.0, "Decoupled weight decay of Adam", min=0)


TRAINING = Training(epochs=20, batch_size=100, lr=1e-3, lr_schedule="cosine", binarize="dynamic")


class MADE(GenerativeModel):
    """Masked autoencoder for distribution estimation."""

    orders: Tensor
    degrees: Tensor

    def __init__(self, config: Config, data: DataInfo) -> None:
        super().__init__(data)
        if not config.hidden:
            raise UsageError("MADE needs a hidden layer.", "Give widths, such as --hidden 500.")
        self.config = config
        self.likelihood = likelihood_for(data, config.likelihood, config.components, "logistic")
        self.discrete_levels = self.likelihood.levels
        n, p = data.n_pixels, self.likelihood.n_params
        widths = (n, *config.hidden)
        self.layers = nn.ModuleList(
            nn.Linear(i, o) for i, o in zip(widths, (*config.hidden, n * p), strict=True)
        )
        orders, degrees = draw_degrees(n, config.hidden, config.masks, config.order_agnostic)
        self.register_buffer("orders", orders)  # (M, D): the pixels in drawing order
        self.register_buffer("degrees", degrees)  # (M, sum of widths)

    def parameters_of(self, pixels: Tensor, mask: int) -> Tensor:
        """Each pixel's distribution under one mask: (B, D) -> (B, D, P)."""
        ...
