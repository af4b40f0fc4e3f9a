"""Captions as vectors: a small Transformer encoder over words, for models that are told text.

Word embeddings and positions go through layers of self-attention (Vaswani et al. 2017,
arXiv:1706.03762) with normalisation first; a token of its own, before the words, gathers what is
read (Devlin et al. 2019, arXiv:1810.04805). Words that are not there, or not known, are passed
over, so that an empty caption is that token alone: one learnt vector, which stands for no caption.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gencli.data.captions import UNKNOWN

_HEAD = 32  # numbers of a head


class TextEncoder(nn.Module):
    """Captions as tokens (B, L) -> vectors (B, n_out).

    Args:
        n_tokens: Different tokens.
        length: L.
        n_out: Numbers of a caption's vector.
        width: Numbers of a word's, a multiple of 32.
        depth: Layers of attention.
    """

    def __init__(
        self, n_tokens: int, length: int, n_out: int, *, width: int = 64, depth: int = 2
    ) -> None:
        super().__init__()
        self.words = nn.Embedding(n_tokens, width)
        self.places = nn.Parameter(torch.empty(length + 1, width))
        for table in (self.words.weight, self.places):
            nn.init.normal_(table, std=0.5)
        self.layers = nn.ModuleList(_Layer(width) for _ in range(depth))
        self.out = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, n_out))

    def forward(self, text: Tensor) -> Tensor:
        """(B, L) -> (B, n_out)."""
        read = F.pad(text > UNKNOWN, (1, 0), value=True)
        h = F.pad(self.words(text), (0, 0, 1, 0)) + self.places
        for layer in self.layers:
            h = layer(h, read)
        out: Tensor = self.out(h[:, 0])
        return out


class _Layer(nn.Module):
    """Residual self-attention over words, and a residual perceptron at each."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 2 * width), nn.SiLU(), nn.Linear(2 * width, width)
        )

    def forward(self, h: Tensor, read: Tensor) -> Tensor:
        """(B, L, width), and which places are read, (B, L)."""
        qkv = self.qkv(self.norm1(h)).unflatten(2, (3, -1, _HEAD)).permute(2, 0, 3, 1, 4)
        query, key, value = qkv.unbind(0)  # (B, heads, L, 32)
        scores = (query @ key.mT / _HEAD**0.5).masked_fill(~read[:, None, None], -torch.inf)
        h = h + self.out((scores.softmax(3) @ value).transpose(1, 2).flatten(2))
        return h + self.mlp(self.norm2(h))  # type: ignore[no-any-return]
