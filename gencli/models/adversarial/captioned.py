"""What models share that are told captions as vectors."""

from __future__ import annotations

from torch import Tensor

from gencli.data.conditions import text_of
from gencli.models.interface import NOTHING, Condition
from gencli.models.latent.base import LatentModel
from gencli.models.text import CaptionEncoder


class CaptionedModel(LatentModel):
    """A model that writes `decode_embedded`, and so can be told what is between two captions.

    Attributes:
        captions: Their encoder.
    """

    captions: CaptionEncoder

    def embed(self, condition: Condition) -> Tensor:
        """Captions as vectors (n, caption_dim)."""
        vectors: Tensor = self.captions(text_of(condition))
        return vectors

    def decode_embedded(self, z: Tensor, told: Tensor) -> Tensor:
        """(n, latent_dim), and vectors of captions or between them -> images (n, C, H, W)."""
        raise TypeError(f"{type(self).__name__} does not define decode_embedded()")

    def decode(self, z: Tensor, condition: Condition = NOTHING) -> Tensor:
        """(n, latent_dim) and captions -> images (n, C, H, W) in [0, 1]."""
        return self.decode_embedded(z, self.embed(condition))
