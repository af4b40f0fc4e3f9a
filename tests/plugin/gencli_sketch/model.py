"""Conditional variational autoencoder (Sohn et al. 2015): captions and source images to images.

    log p(x|c) >= E_q(z|x,c)[log p(x|z,c)] - KL(q(z|x,c) || p(z)),    p(z) = N(0, I)

The condition c is the mean of the embeddings of the caption's words, beside the source image.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gencli.data.spec import DataInfo
from gencli.models.interface import NOTHING, Batch, Condition, GenerativeModel, Loss, Step
from gencli.random import ImageGenerator
from gencli_sketch import SketchConfig, SketchSampling

_WORD = 16  # numbers that a word is embedded in


class Sketch(GenerativeModel):
    """A multilayer perceptron each way, both told the condition."""

    config: SketchConfig

    def __init__(self, config: SketchConfig, data: DataInfo) -> None:
        super().__init__(config, data)
        self.words = nn.EmbeddingBag(data.n_tokens, _WORD, mode="mean", padding_idx=0)
        channels, height, width = data.source_shape
        known = _WORD + channels * height * width
        self.encoder = _perceptron(data.n_pixels + known, config.width, 2 * config.latent_dim)
        self.decoder = _perceptron(config.latent_dim + known, config.width, data.n_pixels)

    def log_prob_bound(self, x: Tensor, condition: Condition = NOTHING) -> Tensor:
        """The ELBO with one draw of z, (B,) nats."""
        known = self._known(condition)
        mean, log_var = self.encoder(torch.cat([x.flatten(1), known], 1)).chunk(2, 1)
        z = mean + (0.5 * log_var).exp() * torch.randn_like(mean)
        logits = self._logits(z, known)
        fit = F.binary_cross_entropy_with_logits(logits, x, reduction="none").flatten(1).sum(1)
        kl = 0.5 * (mean.square() + log_var.exp() - 1 - log_var).sum(1)
        return -fit - kl

    def loss(self, batch: Batch, step: Step) -> Loss:
        """The negative bound in nats per image."""
        return Loss(-self.log_prob_bound(batch.images, batch.condition).mean())

    def sample_latent(self, n: int, *, generator: ImageGenerator) -> Tensor:
        """Standard normal latents (n, latent_dim)."""
        return generator.normal(self.config.latent_dim)

    def encode(self, x: Tensor, condition: Condition = NOTHING) -> Tensor:
        """The mean of q(z|x,c), (B, latent_dim)."""
        known = self._known(condition)
        return self.encoder(torch.cat([x.flatten(1), known], 1)).chunk(2, 1)[0]

    def decode(self, z: Tensor, condition: Condition = NOTHING) -> Tensor:
        """The probability of every pixel, (n, C, H, W)."""
        return self._logits(z, self._known(condition)).sigmoid()

    def sample(
        self,
        n: int,
        *,
        generator: ImageGenerator,
        condition: Condition = NOTHING,
        top_k: int | None = SketchSampling.top_k,
    ) -> Tensor:
        """Draw the pixels, or ink the `top_k` likeliest."""
        p = self.decode(self.sample_latent(n, generator=generator), condition)
        if top_k is None:
            return (generator.uniform(*self.data.shape) < p).float()
        ink = p.flatten(1).topk(min(top_k, self.data.n_pixels), 1).indices
        return torch.zeros_like(p).flatten(1).scatter_(1, ink, 1.0).view_as(p)

    def _known(self, condition: Condition) -> Tensor:
        assert condition.text is not None
        assert condition.source is not None
        return torch.cat([self.words(condition.text), condition.source.flatten(1)], 1)

    def _logits(self, z: Tensor, known: Tensor) -> Tensor:
        return self.decoder(torch.cat([z, known], 1)).view(-1, *self.data.shape)


def _perceptron(inputs: int, width: int, outputs: int) -> nn.Module:
    return nn.Sequential(nn.Linear(inputs, width), nn.SiLU(), nn.Linear(width, outputs))
