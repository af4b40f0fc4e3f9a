"""StackGAN: text to image in two stages (Zhang et al. 2017, arXiv:1612.03242).

The first stage draws an image at half the size, which is the outline and the colours; the second
reads that image and the caption again and draws it at full size. Each is the matching-aware game of
`gan-cls`, with D and `--diversity` as there, and a generator that is given the caption's vector h
through

    c = mu(h) + sigma(h) e,    e ~ N(0, I)    (conditioning augmentation)
    G minimises -E log D(G(z, c), h) + lambda E KL(N(mu(h), diag sigma(h)^2) || N(0, I))

so that the few captions there are cover their space smoothly. While the second stage is trained the
first is frozen; its G(z, c) takes the place of z. The noises e of both stages are latents beside z.

Departures: the captions' encoder is trained with the first D, not beforehand; D meets captions by
projection (arXiv:1802.05637), with the penalty R1 (arXiv:1801.04406); KL is in nats; twice the
side from stage to stage, not four times; images are drawn from moving averages of weights.
"""

from __future__ import annotations

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from gencli.data.spec import DataInfo
from gencli.models.adversarial.captioned import CaptionedModel
from gencli.models.adversarial.configs import StackGANConfig
from gencli.models.adversarial.matching import matching_players
from gencli.models.adversarial.networks import Discriminator, Generator
from gencli.models.adversarial.stackgan_networks import ConditioningAugmentation, Refiner
from gencli.models.interface import Batch, Condition, Stage, StageSettings
from gencli.models.text import CaptionEncoder
from gencli.random import ImageGenerator


class StackGAN(CaptionedModel):
    """Two generators on one another, and a discriminator for each."""

    channels_last = True

    config: StackGANConfig

    def __init__(self, config: StackGANConfig, data: DataInfo) -> None:
        super().__init__(config, data, config.latent_dim + 2 * config.condition_dim)
        half = replace(data, height=data.height // 2, width=data.width // 2)
        told, condition_dim = config.caption_dim, config.condition_dim
        self.captions = CaptionEncoder(data.n_tokens, told)
        self.augment1 = ConditioningAugmentation(told, condition_dim)
        self.augment2 = ConditioningAugmentation(told, condition_dim)
        self.G1 = Generator(
            "conv", config.latent_dim + condition_dim, config.width, half, hidden=config.hidden
        )
        self.G2 = Refiner(half, condition_dim, config.refiner_width)
        self.D1, self.D2 = (
            Discriminator(
                "conv", config.d_width, size,
                hidden=config.hidden, n_told=told, spectral=config.spectral_norm,
            )
            for size in (half, data)
        )  # fmt: skip

    def decode_embedded(self, z: Tensor, told: Tensor) -> Tensor:
        """(n, latent_dim + 2 condition_dim), and captions' vectors -> images (n, C, H, W)."""
        images: Tensor = self._second(z, told)[0]
        return images

    def _first(self, z: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """Images at half the size, and lambda times the mean divergence."""
        n_z, n_c = self.config.latent_dim, self.config.condition_dim
        z, noise = z[:, :n_z], z[:, n_z : n_z + n_c]
        c, divergence = self.augment1(h, noise)
        return self.G1(torch.cat([z, c], 1)), self.config.kl_weight * divergence.mean()

    def _second(self, z: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """The same at full size."""
        with torch.no_grad():
            small, _ = self._first(z, h)
        c, divergence = self.augment2(h, z[:, -self.config.condition_dim :])
        return self.G2(small, c), self.config.kl_weight * divergence.mean()

    def stages(self) -> tuple[Stage, ...]:
        """Half the size, with the captions' encoder; then the full size, on what that made."""
        first = (self.captions, self.augment1, self.G1, self.D1)
        return (
            Stage(
                "first",
                matching_players(
                    self.D1, self.captions, lambda h: self._first(self._noise(h), h), self.config,
                    d_parameters=(*self.D1.parameters(), *self.captions.parameters()),
                    g_parameters=(*self.G1.parameters(), *self.augment1.parameters()),
                ),
                prepare=_halved,
                settings=StageSettings(share=self.config.first_share),
                preview=self._preview,
            ),
            Stage(
                "second",
                matching_players(
                    self.D2, self.captions, lambda h: self._second(self._noise(h), h), self.config,
                    d_parameters=self.D2.parameters(),
                    g_parameters=(*self.G2.parameters(), *self.augment2.parameters()),
                ),
                frozen=first,
                settings=StageSettings(share=1 - self.config.first_share),
            ),
        )  # fmt: skip

    def _noise(self, h: Tensor) -> Tensor:
        return torch.randn(len(h), self.latent_dim, device=h.device)

    def _preview(self, n: int, generator: ImageGenerator, condition: Condition) -> Tensor:
        z = self.sample_latent(n, generator=generator)
        small, _ = self._first(z, self.embed(condition))
        return F.interpolate(small, scale_factor=2.0)


def _halved(batch: Batch) -> Batch:
    return batch._replace(images=F.avg_pool2d(batch.images, 2))
