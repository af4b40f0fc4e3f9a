"""Image-to-image translation by a conditional GAN: pix2pix (Isola et al. 2017, arXiv:1611.07004).

The generator G turns a source image x and noise z into an image, the discriminator D tells it from
the true one y beside the source:

    D minimises -1/2 E log D(x, y) - 1/2 E log(1 - D(x, G(x, z)))
    G minimises -E log D(x, G(x, z)) + lambda E |y - G(x, z)|

with images in [-1, 1] in the second term. G is a U-Net, D judges patches of the image, each by
itself. As in the paper the only noise is dropout in G, when training and when sampling. Here the
units that are dropped are a function of a latent z, drawn from N(0, I) by the image's own stream:
so image i depends on the seed and i alone, the same z gives the same image, and walks and exports
have a latent to start from.

Departures: whole channels are dropped (Tompson et al. 2015, arXiv:1411.4280), so that z has a few
hundred numbers; batch normalisation uses its running averages when sampling, so that images do not
depend on each other; G's last layer sees the source at full size; where the source is the image
without something (its colours, its fine detail), G adds to it; batches of many small images
instead of one large one; images are drawn from a moving average of G's weights.
"""

from __future__ import annotations

import torch
from torch import Tensor

from gencli.data.conditions import source_of
from gencli.data.spec import DataInfo
from gencli.models.adversarial.configs import Pix2PixConfig, Pix2PixSampling
from gencli.models.adversarial.game import cross_entropy, non_saturating
from gencli.models.adversarial.pix2pix_networks import PatchDiscriminator, UNet
from gencli.models.interface import (
    NOTHING,
    Batch,
    Condition,
    GenerativeModel,
    Loss,
    Optimizer,
    Step,
    Update,
)
from gencli.random import ImageGenerator


class Pix2Pix(GenerativeModel):
    """A U-Net that translates source images, against a discriminator of patches."""

    channels_last = True

    config: Pix2PixConfig

    def __init__(self, config: Pix2PixConfig, data: DataInfo) -> None:
        super().__init__(config, data)
        self.G = UNet(config.width, config.dropout, data)
        self.D = PatchDiscriminator(config.d_width, config.d_layers, data)

    def updates(self) -> tuple[Update, ...]:
        """The discriminator's update, then the generator's."""
        optimizer = Optimizer(betas=(0.5, 0.999))
        return (
            Update("discriminator", self._discriminate, tuple(self.D.parameters()), optimizer),
            Update("generator", self._generate, tuple(self.G.parameters()), optimizer, ema=True),
        )

    def _discriminate(self, batch: Batch, step: Step) -> Loss:
        source = source_of(batch.condition)
        z = torch.randn(len(source), self.G.latent_dim, device=source.device)
        made: Tensor = self.G(source, z)
        step.shared["made"] = made  # G has not changed when its own update takes it
        d_real, d_fake = self.D(source, batch.images), self.D(source, made.detach())
        return Loss(
            cross_entropy(d_real, d_fake) / 2,
            d_real=d_real.detach().sigmoid().mean(),
            d_fake=d_fake.detach().sigmoid().mean(),
        )

    def _generate(self, batch: Batch, step: Step) -> Loss:
        made = step.shared["made"]
        adversarial = non_saturating(self.D(source_of(batch.condition), made))
        l1 = (made - batch.images).abs().mean()
        # images in [-1, 1] are twice as far apart as in [0, 1]
        return Loss(adversarial + 2 * self.config.l1_weight * l1, l1=l1.detach())

    def validation_loss(self, x: Tensor, condition: Condition = NOTHING) -> Tensor:
        """Mean |y - G(x)| over the pixels in [0, 1], (B,), without noise."""
        made: Tensor = self.G(source_of(condition))
        return (made - x).abs().mean((1, 2, 3))

    def sample_latent(self, n: int, *, generator: ImageGenerator) -> Tensor:
        """(n, latent_dim) from N(0, I): a number for each channel that may be dropped."""
        return generator.normal(self.G.latent_dim)

    def decode(self, z: Tensor, condition: Condition = NOTHING) -> Tensor:
        """Translate the condition's source images with the noise z, (n, C, H, W) in [0, 1]."""
        images: Tensor = self.G(source_of(condition), z)
        return images

    def sample(
        self,
        n: int,
        *,
        generator: ImageGenerator,
        condition: Condition = NOTHING,
        noise: bool = Pix2PixSampling.noise,
    ) -> Tensor:
        """Translate `n` source images, each with noise of its own, or all without."""
        z = self.sample_latent(n, generator=generator) if noise else None
        images: Tensor = self.G(source_of(condition), z)
        return images
