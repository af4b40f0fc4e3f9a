"""The transformer one token at a time: keys and values are kept, and nothing is computed twice."""

from __future__ import annotations

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor

from gencli.models.autoregressive.transformer_network import Decoder


def cached(
    network: Decoder, n: int, labels: Tensor | None = None
) -> Callable[[int, Tensor], Tensor]:
    """The network one place at a time, keys and values kept.

    Args:
        network: In evaluation mode.
        n: Sequences at once.
        labels: Their classes (n,), if there are any.

    Returns:
        (t, tokens (n,) at t - 1) -> outputs (n, n_outputs) at t; to be called for t in order, and
        what it is told at t = 0 is not looked at.
    """
    places, n_places = network.places(), len(network.seen)
    tokens = network.seen.new_full((n, n_places + 1), network.ways)
    blocks = network.attention_blocks()
    shape = (n, blocks[0].heads, n_places, places.shape[1] // blocks[0].heads)
    kept = [(places.new_zeros(shape), places.new_zeros(shape)) for _ in blocks]

    def outputs(t: int, before: Tensor) -> Tensor:
        if t > 0:
            tokens[:, t - 1] = before
        h = network.before(tokens, network.seen[t : t + 1]) + places[t]
        if t == 0 and network.label is not None and labels is not None:
            h = h + network.label(labels).unsqueeze(1)
        for block, (keys, values) in zip(blocks, kept, strict=True):
            q, keys[:, :, t : t + 1], values[:, :, t : t + 1] = block.queries_keys_values(h)
            so_far = keys[:, :, : t + 1], values[:, :, : t + 1]
            h = block.rest(h, F.scaled_dot_product_attention(q, *so_far))
        out: Tensor = network.head(network.norm(h))
        return out.squeeze(1)

    return outputs
