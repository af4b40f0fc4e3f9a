"""Masked autoencoder: a network whose output d is a function of the pixels before d alone.

    log p(x) = log 1/M sum_m prod_d p(x_d | x_{before d in ordering m}; mask m)

A hidden unit of degree k may see the first k pixels of the ordering: W_jk is kept where
degree_j >= degree_k, and in the output layer where position_d > degree_k. Few hidden units see the
pixel just before, which tells most, so direct connections lead from each pixel to all outputs after
it. With several masks (and orderings, if order-agnostic) each training step uses one at random, and
the model is the equal mixture over all of them, whose exact likelihood `log_prob` gives and from
which `sample` draws: each image takes a mask, then its pixels in that mask's ordering. `complete`
draws the mask from its posterior given the known pixels. With `--conditional` the model is of
p(x | y): each class adds vectors of its own to the biases of all layers.

Paper: Germain et al. 2015, arXiv:1502.03509.

Departures: output biases start from the base rates of binary pixels; masks are chosen at random
instead of in turn; the first mask's ordering is raster order and its degrees are even; Adam
replaces Adadelta; hidden units may be dropped out.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gencli.data.spec import DataInfo
from gencli.errors import UsageError
from gencli.models.autoregressive.ancestral import (
    Conditional,
    ancestral,
    layered_conditional,
    linear_conditional,
)
from gencli.models.autoregressive.base import AutoregressiveModel
from gencli.models.autoregressive.configs import MADEConfig
from gencli.models.autoregressive.labels import LabelBiases, with_labels
from gencli.models.autoregressive.masked import draw_degrees, masked_linear
from gencli.models.autoregressive.raster import to_raster
from gencli.models.interface import NOTHING, Batch, Condition, Loss, Optimizer, Step, Update
from gencli.models.likelihoods import likelihood_for, log_prob_sum
from gencli.random import ImageGenerator


class MADE(AutoregressiveModel):
    """Masked autoencoder for distribution estimation."""

    config: MADEConfig

    orders: Tensor
    degrees: Tensor

    def __init__(self, config: MADEConfig, data: DataInfo) -> None:
        super().__init__(config, data)
        if not config.hidden:
            raise UsageError("MADE needs a hidden layer.", "Give widths, such as --hidden 500.")
        self.likelihood = likelihood_for(data, config.likelihood, config.components, "logistic")
        self.discrete_levels = self.likelihood.levels
        n, p = data.n_pixels, self.likelihood.n_params
        widths = (n, *config.hidden)
        self.layers = nn.ModuleList(
            nn.Linear(i, o) for i, o in zip(widths, (*config.hidden, n * p), strict=True)
        )
        self.direct = nn.Linear(n, n * p, bias=False) if config.direct else None
        if self.direct is not None:
            nn.init.zeros_(self.direct.weight)
        widths = (*config.hidden, n * p)
        self.classes = LabelBiases(data.n_classes, widths) if config.conditional else None
        orders, degrees = draw_degrees(n, config.hidden, config.masks, config.order_agnostic)
        self.register_buffer("orders", orders)  # (M, D): the pixels in drawing order
        self.register_buffer("degrees", degrees)  # (M, sum of widths)

    def parameters_of(
        self, pixels: Tensor, mask: int = 0, condition: Condition = NOTHING
    ) -> Tensor:
        """Each pixel's distribution under one mask: (B, D) -> (B, D, P)."""
        position = torch.empty_like(self.orders[mask])
        position[self.orders[mask]] = torch.arange(1, len(position) + 1, device=position.device)
        p = self.likelihood.n_params
        hidden = torch.split(self.degrees[mask], list(self.config.hidden))
        before = (position - 1).repeat_interleave(p)
        degrees = (position, *hidden, before)
        h = pixels
        biases = self.biases(condition)
        for layer, bias, in_degree, out_degree in zip(
            self.linears(), biases, degrees, degrees[1:], strict=False
        ):
            if h is not pixels:
                h = F.dropout(F.relu(h), self.config.dropout, self.training)
            h = masked_linear(h, layer.weight, bias, in_degree, out_degree)
        if self.direct is not None:
            h = h + masked_linear(pixels, self.direct.weight, None, position, before)
        return h.view(*pixels.shape, p)

    def linears(self) -> list[nn.Linear]:
        """The layers, unmasked."""
        return [layer for layer in self.layers if isinstance(layer, nn.Linear)]

    def biases(self, condition: Condition) -> list[Tensor]:
        """Of the layers: (out,) each, or (B, out) by the images' classes."""
        return with_labels([layer.bias for layer in self.linears()], self.classes, condition)

    def log_prob(self, x: Tensor, condition: Condition = NOTHING) -> Tensor:
        """Exact log p(x) of the mixture of all masks, nats per image: (B, C, H, W) -> (B,)."""
        each = [self._log_prob(x, mask, condition) for mask in range(self.config.masks)]
        return torch.stack(each).logsumexp(0) - math.log(self.config.masks)

    def _log_prob(self, x: Tensor, mask: int, condition: Condition) -> Tensor:
        pixels = to_raster(x)
        return log_prob_sum(self.likelihood, self.parameters_of(pixels, mask, condition), pixels)

    def loss(self, batch: Batch, step: Step) -> Loss:
        """-log p(x) under one mask, chosen at random: a bound on that of the mixture."""
        mask = int(torch.randint(self.config.masks, ())) if self.config.masks > 1 else 0
        return Loss(-self._log_prob(batch.images, mask, batch.condition).mean())

    def updates(self) -> tuple[Update, ...]:
        """One, by Adam with weight decay."""
        optimizer = Optimizer("adamw", weight_decay=self.config.weight_decay)
        return (Update("model", self.loss, tuple(self.parameters()), optimizer, ema=True),)

    def output_bias(self) -> Tensor:
        """That of the last layer."""
        return self.linears()[-1].bias

    def cached_conditional(
        self, n: int, condition: Condition = NOTHING, mask: int = 0
    ) -> Conditional:
        """Conditionals for drawing `n` images under one mask, each hidden unit computed once."""
        order = self.orders[mask]
        weights: list[Tensor] = [layer.weight for layer in self.linears()]
        biases = self.biases(condition)
        weights[0] = weights[0][:, order]
        weights[-1] = weights[-1].view(len(order), -1, weights[-1].shape[1])[order].flatten(0, 1)
        last = biases[-1]
        last = last.view(*last.shape[:-1], len(order), -1)  # (D, P), or (n, D, P)
        biases[-1] = last[..., order, :].flatten(-2)
        degrees = torch.split(self.degrees[mask], list(self.config.hidden))
        layered = layered_conditional(weights, biases, degrees, n)
        if self.direct is None:
            return layered
        direct = self.direct.weight.view(len(order), -1, len(order))[order][:, :, order]
        linear = linear_conditional(direct, direct.new_zeros(direct.shape[:2]))
        return lambda t, pixels: layered(t, pixels) + linear(t, pixels)

    def draw(
        self,
        n: int,
        generator: ImageGenerator,
        temperature: float,
        condition: Condition = NOTHING,
        given: Tensor | None = None,
        known: Tensor | None = None,
    ) -> Tensor:
        """Images (n, C, H, W), each under a mask of its own.

        The mask is drawn evenly, or where pixels are known from its posterior by `log_known`.
        """
        uniforms = generator.uniform(1 + self.data.n_pixels).to(next(self.parameters()))
        log_weight = uniforms.new_zeros(n, self.config.masks)
        if given is not None and known is not None:
            known = known.expand(n, 1, *known.shape[-2:])
            log_weight = torch.stack(
                [
                    self.log_known(mask, uniforms[:, 1:], temperature, condition, given, known)
                    for mask in range(self.config.masks)
                ],
                dim=1,
            )
        edges = log_weight.double().softmax(1).cumsum(1)[:, :-1]
        mask = (uniforms[:, :1].double() >= edges).sum(1)
        images = uniforms.new_empty(n, *self.data.shape)
        for m in sorted(set(mask.tolist())):
            rows = (mask == m).nonzero().squeeze(1)
            images[rows] = self._draw(
                m, uniforms[rows, 1:], temperature, condition.rows(rows),
                None if given is None else given[rows], None if known is None else known[rows],
            )  # fmt: skip
        return images

    def _draw(
        self,
        mask: int,
        uniforms: Tensor,
        temperature: float,
        condition: Condition,
        given: Tensor | None,
        known: Tensor | None,
    ) -> Tensor:
        return ancestral(
            self.cached_conditional(len(uniforms), condition, mask), self.likelihood, uniforms,
            self.data.shape, temperature=temperature, given=given, known=known,
            order=self.orders[mask],
        )  # fmt: skip

    @torch.no_grad()
    def log_known(
        self,
        mask: int,
        uniforms: Tensor,
        temperature: float,
        condition: Condition,
        given: Tensor,
        known: Tensor,
    ) -> Tensor:
        """Log-probability (n,) of the known pixels under one mask, nats.

        Exact where they come first in the mask's ordering. Elsewhere it is the product of each
        one's probability given those before it, the unknown ones among these as `draw` would draw
        them: an unbiased estimate of the probability. Completions are then weighted draws, one from
        each mask, of which one is kept (importance resampling).
        """
        if self.config.masks == 1:
            return uniforms.new_zeros(len(uniforms))  # nothing to choose
        held = to_raster(known.expand(given.shape))
        in_turn = held[:, self.orders[mask]].byte()
        if bool((in_turn.diff(dim=1) != 1).all()):  # never known after unknown
            filled = given.where(known, 0).to(uniforms)
        else:
            filled = self._draw(mask, uniforms, temperature, condition, given, known)
        pixels = to_raster(filled)
        parameters = self.parameters_of(pixels, mask, condition)
        each = self.likelihood.log_prob(parameters, pixels)
        return each.where(held, 0).sum(1)
