"""Text to image by a matching-aware discriminator, GAN-CLS (Reed et al. 2016, arXiv:1605.05396).

D sees a third kind of example, a real image x with the caption h' of another one, so that it must
heed the caption of a picture that is as good as real:

    D minimises -E log D(x, h) - 1/2 E log(1 - D(G(z, h), h)) - 1/2 E log(1 - D(x, h'))
    G minimises -E log D(G(z, h), h)

with `--interpolation` w also -w E log D(G(z, g), g), g half-way between two captions' vectors, of
which there are no pictures (the paper's GAN-INT).

Departures: the vectors come from a small encoder (`gencli.models.text`) that is trained with D, in
place of one trained beforehand; D meets them by projection (arXiv:1802.05637), not by
concatenation; some words and some captions are left out in training, for unknown words and empty
prompts; a penalty on D's gradient at real images (R1, arXiv:1801.04406); two images of one caption
are kept apart (`--diversity`, after arXiv:1903.05628); images are drawn from a moving average of
G's weights.
"""

from __future__ import annotations

import torch
from torch import Tensor

from gencli.data.spec import DataInfo
from gencli.models.adversarial.base import AdversarialModel
from gencli.models.adversarial.captioned import CaptionedModel
from gencli.models.adversarial.configs import GANCLSConfig
from gencli.models.adversarial.matching import matching_players
from gencli.models.adversarial.networks import Discriminator, Generator
from gencli.models.interface import Update
from gencli.models.text import CaptionEncoder


class GANCLS(CaptionedModel, AdversarialModel):
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

    def decode_embedded(self, z: Tensor, told: Tensor) -> Tensor:
        """(n, latent_dim), and vectors of captions or between them -> images (n, C, H, W)."""
        images: Tensor = self.G(z, told)
        return images

    def updates(self) -> tuple[Update, ...]:
        """The updates of D and the captions' encoder, `d_steps` times, then the generator's."""
        return matching_players(
            self.D, self.captions, self._draw, self.config,
            d_parameters=(*self.D.parameters(), *self.captions.parameters()),
            g_parameters=self.G.parameters(),
            interpolation=self.config.interpolation,
        )  # fmt: skip

    def _draw(self, h: Tensor) -> tuple[Tensor, Tensor]:
        images = self.G(torch.randn(len(h), self.latent_dim, device=h.device), h)
        return images, h.new_zeros(())
