"""Text to image by a matching-aware discriminator, GAN-CLS (Reed et al. 2016, arXiv:1605.05396).

D sees a third kind of example, a real image x with the caption h' of another one, so that it must
heed the caption of a picture that is as good as real:

    D minimises -E log D(x, h) - 1/2 E log(1 - D(G(z, h), h)) - 1/2 E log(1 - D(x, h'))
    G minimises -E log D(G(z, h), h)

with `--interpolation` w also -w E log D(G(z, g), g), g half-way between two captions' vectors, of
which there are no pictures (the paper's GAN-INT).

Departures: the vectors come from a small encoder (`captions.py`) that is trained with D, in place
of one trained beforehand; D meets them by projection (arXiv:1802.05637), not by concatenation;
some words and some captions are left out in training, for unknown words and empty prompts; a
penalty on D's gradient at real images (R1, arXiv:1801.04406); images are drawn from a moving
average of G's weights.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from gencli.data.conditions import text_of
from gencli.data.spec import DataInfo
from gencli.models.adversarial.base import AdversarialModel
from gencli.models.adversarial.captions import CaptionEncoder, with_gaps
from gencli.models.adversarial.configs import GANCLSConfig
from gencli.models.adversarial.game import non_saturating, zero_centred_penalty
from gencli.models.adversarial.networks import Discriminator, Generator
from gencli.models.interface import NOTHING, Batch, Condition, Loss, Optimizer, Step, Update

_UNKNOWN = 0.05  # the part of words that are unknown in training
_BETAS = (0.5, 0.999)


class GANCLS(AdversarialModel):
    """The GAN that draws what a caption says."""

    config: GANCLSConfig

    def __init__(self, config: GANCLSConfig, data: DataInfo) -> None:
        told = config.caption_dim
        networks = (
            Generator(
                "conv", config.latent_dim, config.width, data, hidden=config.hidden, n_told=told
            ),
            Discriminator(
                "conv", config.d_width, data,
                hidden=config.hidden, n_told=told, spectral=config.spectral_norm,
            ),
        )  # fmt: skip
        super().__init__(config, data, networks)
        self.captions = CaptionEncoder(data.n_tokens, told)

    def decode(self, z: Tensor, condition: Condition = NOTHING) -> Tensor:
        """(n, latent_dim) and captions -> images (n, C, H, W) in [0, 1]."""
        images: Tensor = self.G(z, self.captions(text_of(condition)))
        return images

    def updates(self) -> tuple[Update, ...]:
        """The updates of D and the captions' encoder, `d_steps` times, then the generator's."""
        return (
            Update(
                "discriminator", self._discriminate,
                (*self.D.parameters(), *self.captions.parameters()),
                Optimizer(betas=_BETAS, lr_scale=self.config.d_lr_scale),
                repeat=self.config.d_steps,
            ),
            Update(
                "generator", self._generate, tuple(self.G.parameters()),
                Optimizer(betas=_BETAS), ema=True,
            ),
        )  # fmt: skip

    def _discriminate(self, batch: Batch, step: Step) -> Loss:
        x, tokens = batch.images, text_of(batch.condition)
        gaps = with_gaps(tokens, _UNKNOWN, self.config.caption_dropout)
        h, own = self.captions(torch.cat([gaps, tokens])).chunk(2)
        fake = self.G(torch.randn(len(x), self.latent_dim, device=x.device), h.detach())
        step.shared.update(fake=fake, h=h.detach())
        real, made = self.D.features(2 * torch.cat([x, fake.detach()]) - 1).chunk(2)
        d_real, d_fake = self.D.score(real, h), self.D.score(made, h)
        d_wrong = self.D.score(real, own.roll(1, 0))
        wrong = (tokens != tokens.roll(1, 0)).any(1)  # but for another caption of the same words
        loss = F.softplus(-d_real).mean()
        loss = loss + (F.softplus(d_fake) + F.softplus(d_wrong) * wrong).mean() / 2
        metrics = {"d_real": d_real, "d_fake": d_fake, "d_wrong": d_wrong}
        means = {name: score.detach().sigmoid().mean() for name, score in metrics.items()}
        if self.config.r1:
            loss = loss + zero_centred_penalty(self.D, self.config.r1, 0, x, fake, h)
        return Loss(loss, **means)

    def _generate(self, batch: Batch, step: Step) -> Loss:
        fake, h = step.shared["fake"], step.shared["h"]
        loss = non_saturating(self.D(fake, h))
        if self.config.interpolation:
            g = (h + h.roll(1, 0)) / 2
            between = self.G(torch.randn(len(h), self.latent_dim, device=h.device), g)
            loss = loss + self.config.interpolation * non_saturating(self.D(between, g))
        return Loss(loss)
