"""The matching-aware game of images and captions (Reed et al. 2016), as two updates of one step.

`gan_cls.py` says what it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gencli.data.conditions import text_of
from gencli.models.adversarial.configs import CaptionedConfig
from gencli.models.adversarial.game import non_saturating, zero_centred_penalty
from gencli.models.adversarial.networks import Discriminator
from gencli.models.interface import Batch, Loss, Optimizer, Step, Update
from gencli.models.text import with_gaps

UNKNOWN_WORDS = 0.05
"""The part of captions' words that are unknown in training."""

_LEAST_APART = 1e-3  # a fifth of a grey level, whose logarithm is the least there is

Draw = Callable[[Tensor], tuple[Tensor, Tensor]]
"""Vectors of captions (B, n_told) -> images of them (B, C, H, W), and a scalar to add to the
generator's loss."""


def matching_players(
    D: Discriminator,
    captions: nn.Module,
    draw: Draw,
    config: CaptionedConfig,
    *,
    d_parameters: Iterable[nn.Parameter],
    g_parameters: Iterable[nn.Parameter],
    interpolation: float = 0.0,
) -> tuple[Update, Update]:
    """`d_steps` updates of the discriminator, each on fresh images, and one of the generator.

    For a quarter of the captions two images are drawn, which the generator is to keep apart: its
    loss is less by `diversity` times the logarithm of their distance, after Mao et al. 2019
    (arXiv:1903.05628), or it soon makes one image of each caption.

    Args:
        D: (images, vectors of captions) -> logits.
        captions: Tokens (B, L) -> vectors (B, n_told).
        draw: The generator, with noise of its own.
        config: What is told of the game.
        d_parameters: What the discriminator's update changes: D, and the captions' encoder where
            it learns with D.
        g_parameters: What the generator's update changes.
        interpolation: Weight of the generator's loss on captions half-way between two.
    """
    betas = (0.5, 0.999)

    def discriminate(batch: Batch, step: Step) -> Loss:
        x, tokens = batch.images, text_of(batch.condition)
        gaps = with_gaps(tokens, UNKNOWN_WORDS, config.caption_dropout)
        h, own = captions(torch.cat([gaps, tokens])).chunk(2)
        told, few = h.detach(), -(-len(x) // 4)
        drawn, extra = draw(torch.cat([told, told[:few]]))
        fake = drawn[: len(x)]
        step.shared.update(fake=fake, twins=drawn[len(x) :], h=told, extra=extra)
        real, made = D.features(2 * torch.cat([x, fake.detach()]) - 1).chunk(2)
        d_real, d_fake = D.score(real, h), D.score(made, h)
        d_wrong = D.score(real, own.roll(1, 0))
        wrong = (tokens != tokens.roll(1, 0)).any(1)  # but for another caption of the same words
        loss = F.softplus(-d_real).mean()
        loss = loss + (F.softplus(d_fake) + F.softplus(d_wrong) * wrong).mean() / 2
        if config.r1:
            loss = loss + zero_centred_penalty(D, config.r1, 0, x, fake, h)
        scores = {"d_real": d_real, "d_fake": d_fake, "d_wrong": d_wrong}
        return Loss(loss, **{name: d.detach().sigmoid().mean() for name, d in scores.items()})

    def generate(batch: Batch, step: Step) -> Loss:
        fake, h = step.shared["fake"], step.shared["h"]
        loss = non_saturating(D(fake, h)) + step.shared["extra"]
        if config.diversity:
            twins = step.shared["twins"]
            apart = (fake[: len(twins)] - twins).abs().mean((1, 2, 3))
            loss = loss - config.diversity * (apart + _LEAST_APART).log().mean()
        if interpolation:
            g = (h + h.roll(1, 0)) / 2
            loss = loss + interpolation * non_saturating(D(draw(g)[0], g))
        return Loss(loss)

    return (
        Update(
            "discriminator", discriminate, tuple(d_parameters),
            Optimizer(betas=betas, lr_scale=config.d_lr_scale), repeat=config.d_steps,
        ),
        Update("generator", generate, tuple(g_parameters), Optimizer(betas=betas), ema=True),
    )  # fmt: skip
