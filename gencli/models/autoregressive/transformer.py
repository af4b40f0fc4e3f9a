"""Transformer: a decoder over squares of pixels, each given all before it.

    log p(x) = sum_t log p(x_t | x_{<t}, class),    p(x_t = k | ...) = softmax_k(W h_t + b_t)
    h_0 = input;  h <- h + attention(norm h);  h <- h + perceptron(norm h);  causal throughout

A token x_t is a `patch` x `patch` square of binary pixels: 2 x 2 of them make one of 16, so that
the sequence is a quarter as long and its likelihood still that of the pixels, exactly. 8-bit values
are a token each, channel after channel, by a 256-way softmax or a mixture of logistics. With
`conditional` the first token's input has an embedding of the class.

Papers: Vaswani et al. 2017, arXiv:1706.03762 (attention); Parmar et al. 2018, arXiv:1802.05751
(over pixels); Chen et al. 2020, "Generative pretraining from pixels" (a plain decoder in raster
order, normalised before each layer).

Departures: squares of pixels as tokens; a place is embedded as its row and its column; tokens near
by in the rows above enter a place's input directly (`reach`), as a convolution would have them,
which attention need not find then; each place's distribution has a bias, which starts from the base
rates of binary tokens; dropout is not of the attention's weights.

Under bf16 the products of training are rounded; the sums of the blocks, norms and the likelihood
are in fp32. Images are drawn in fp32, where they do not depend on their batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gencli.data.conditions import labels_of
from gencli.data.spec import DataInfo
from gencli.errors import UsageError
from gencli.models.autoregressive.ancestral import Conditional, ancestral
from gencli.models.autoregressive.base import AutoregressiveModel
from gencli.models.autoregressive.configs import TransformerConfig
from gencli.models.autoregressive.patches import patches_for
from gencli.models.autoregressive.raster import to_raster
from gencli.models.autoregressive.transformer_cache import cached
from gencli.models.autoregressive.transformer_network import Decoder
from gencli.models.interface import NOTHING, Batch, Condition, Loss, Optimizer, Step, Update
from gencli.models.likelihoods import Categorical, likelihood_for, log_prob_sum
from gencli.random import ImageGenerator


class Transformer(AutoregressiveModel):
    """A decoder-only transformer over tokens of pixels."""

    config: TransformerConfig

    def __init__(self, config: TransformerConfig, data: DataInfo) -> None:
        super().__init__(config, data)
        if config.width % config.heads:
            raise UsageError(
                f"--width {config.width} cannot be shared out to {config.heads} heads.",
                "Choose a multiple of --heads.",
            )
        self.patches = patches_for(data, config.patch)
        self.likelihood = likelihood_for(data, config.likelihood, config.components, "softmax")
        self.discrete_levels = self.likelihood.levels
        if data.binary:
            self.likelihood = Categorical(self.patches.ways)
        self.network = Decoder(
            self.patches.grid, self.patches.ways, self.likelihood.n_params,
            width=config.width, depth=config.depth, heads=config.heads, reach=config.reach,
            dropout=config.dropout, n_classes=data.n_classes if config.conditional else 0,
        )  # fmt: skip
        self.bias = nn.Parameter(torch.zeros(self.patches.n_tokens, self.likelihood.n_params))

    def parameters_of(self, sequence: Tensor, condition: Condition = NOTHING) -> Tensor:
        """Each token's distribution given those before it: (B, T) -> (B, T, P)."""
        labels = labels_of(condition) if self.conditions else None
        outputs: Tensor = self.network(self.patches.numbers(sequence), labels)
        return outputs + self.bias

    def log_prob(self, x: Tensor, condition: Condition = NOTHING) -> Tensor:
        """Exact log p(x | class), nats per image: (B, C, H, W) -> (B,)."""
        sequence = self.patches.sequence(x)
        return log_prob_sum(self.likelihood, self.parameters_of(sequence, condition), sequence)

    def loss(self, batch: Batch, step: Step) -> Loss:
        """-log p(x | class)."""
        return Loss(-self.log_prob(batch.images, batch.condition).mean())

    def updates(self) -> tuple[Update, ...]:
        """One, by Adam with weight decay and clipped gradients."""
        optimizer = Optimizer("adamw", betas=(0.9, 0.95), weight_decay=self.config.weight_decay)
        parameters = tuple(self.parameters())
        return (Update("model", self.loss, parameters, optimizer, clip_norm=1.0, ema=True),)

    def output_bias(self) -> Tensor:
        """That of all tokens."""
        return self.bias.view(-1)

    @torch.no_grad()
    def start(self, data: Iterable[Batch]) -> None:
        """Set the biases to the base rates of the tokens at each place."""
        n, counts = 0, torch.zeros_like(self.bias)
        for batch in data:
            numbers = self.patches.numbers(self.patches.sequence(batch.images))
            n, counts = n + len(numbers), counts + F.one_hot(numbers, self.patches.ways).sum(0)
        # An image more, spread over all tokens: one never seen keeps a finite bias.
        self.bias.copy_(((counts + 1 / self.patches.ways) / (n + 1)).log())

    def cached_conditional(self, n: int, condition: Condition = NOTHING) -> Conditional:
        """Conditionals for drawing `n` images, with keys and values kept."""
        outputs = cached(self.network, n, labels_of(condition) if self.conditions else None)
        numbers = self.patches.numbers
        return lambda t, sequence: outputs(t, numbers(sequence[max(t - 1, 0)])) + self.bias[t]

    def draw(
        self,
        n: int,
        generator: ImageGenerator,
        temperature: float,
        condition: Condition = NOTHING,
        given: Tensor | None = None,
        known: Tensor | None = None,
    ) -> Tensor:
        """Images (n, C, H, W); of a square known in part, a token that agrees with that part."""
        uniforms = generator.uniform(self.patches.n_tokens).to(next(self.parameters()))
        conditional = self.cached_conditional(n, condition)
        if given is not None and known is not None and self.patches.per_token > 1:
            conditional = agreeing(conditional, self.patches.agreeing(given, known))
            given = known = None
        sequence = ancestral(
            conditional, self.likelihood, uniforms, self.patches.grid,
            temperature=temperature, given=given, known=known,
        )  # fmt: skip
        return self.patches.images(to_raster(sequence))


def agreeing(conditional: Conditional, allowed: Callable[[int], Tensor]) -> Conditional:
    """The conditional given that each token is an allowed one: `allowed(t)` is bool (n, ways)."""
    return lambda t, sequence: conditional(t, sequence).masked_fill(~allowed(t), -torch.inf)
