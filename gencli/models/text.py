"""Captions as vectors, for networks that are told them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gencli.data.captions import NOTHING, UNKNOWN


class CaptionEncoder(nn.Module):
    """Embedded words, two convolutions over them, and the largest value of each feature.

    A word is understood with its two neighbours on either side, which tells red on blue from blue
    on red (Kim 2014, arXiv:1408.5882). No caption, or one of no known words, comes to 0 where
    nothing else has been learnt.

    Args:
        n_tokens: Different tokens.
        width: Numbers of an embedded word and of the vector.
    """

    def __init__(self, n_tokens: int, width: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(n_tokens, width, padding_idx=NOTHING)
        self.convolutions = nn.ModuleList(nn.Conv1d(width, width, 3, padding=1) for _ in range(2))

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, L) -> (B, width), not below 0; what follows the last word changes nothing."""
        there = (tokens != NOTHING).unsqueeze(1)
        features = self.embedding(tokens).transpose(1, 2)
        for convolution in self.convolutions:
            features = convolution(features).relu() * there
        largest: Tensor = features.amax(2)
        return largest


def with_gaps(tokens: Tensor, words: float, whole: float) -> Tensor:
    """Captions (B, L), some of whose words are unknown, and some of which are empty.

    So a model learns what to make of a word that it does not know, and of no prompt at all.

    Args:
        tokens: Words.
        words: The part of them that become unknown.
        whole: The part of captions that become empty.
    """
    unknown = (torch.rand(tokens.shape, device=tokens.device) < words) & (tokens != NOTHING)
    kept = torch.rand(len(tokens), 1, device=tokens.device) >= whole
    return tokens.masked_fill(unknown, UNKNOWN) * kept
