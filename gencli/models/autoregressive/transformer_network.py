"""A transformer over tokens in raster order.

The input of place t is its row's, column's and channel's embedding and those of tokens before it:
the one just before, and with a `reach` also those near it in the rows above, each by a table of its
own. Blocks of causal attention and a perceptron follow, each reading a normalised copy of what it
adds to.
"""

from __future__ import annotations

from itertools import product

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Block(nn.Module):
    """x + attention(norm(x)), then x + perceptron(norm(x)): (B, T, width) -> the same."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.norm_attention, self.norm_mlp = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.wide, self.narrow = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def queries_keys_values(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Of the normalised x, (B, heads, T, width / heads) each."""
        parts = self.qkv(self.norm_attention(x)).unflatten(-1, (3, self.heads, -1))
        q, k, v = parts.permute(2, 0, 3, 1, 4).unbind(0)
        return q, k, v

    def rest(self, x: Tensor, attended: Tensor) -> Tensor:
        """What follows the attention (B, heads, T, width / heads)."""
        h = self.out(attended.transpose(1, 2).flatten(2))
        x = x + F.dropout(h, self.dropout, self.training)
        h = self.narrow(F.gelu(self.wide(self.norm_mlp(x))))
        return x + F.dropout(h, self.dropout, self.training)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, width) -> the same; place t sees places up to t."""
        return self.rest(x, causal_attention(*self.queries_keys_values(x)))


def causal_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """softmax(q k' / sqrt d) v over places up to each one's own, all (B, heads, T, d).

    Where bf16 numbers are trained on a CPU, torch's kernel takes over twice as long as the products
    written out.
    """
    if not (q.dtype == torch.bfloat16 and q.device.type == "cpu" and q.requires_grad):
        return F.scaled_dot_product_attention(q, k, v, is_causal=True)
    later = q.new_full((q.shape[2], q.shape[2]), -torch.inf).triu(1)
    queries, keys, values = q.flatten(0, 1), k.flatten(0, 1), v.flatten(0, 1)
    scores = torch.baddbmm(later, queries, keys.transpose(1, 2), alpha=q.shape[-1] ** -0.5)
    return (scores.softmax(-1) @ values).view_as(q)


class Decoder(nn.Module):
    """Tokens (B, T), and classes (B,) if there are any -> outputs (B, T, n_outputs).

    Weights begin as those of GPT-2: normal with deviation 0.02, less where they add to the stream
    of the blocks, so that its size does not depend on their number.
    """

    seen: Tensor

    blocks_in = ("blocks",)

    def __init__(
        self, grid: tuple[int, int, int], ways: int, n_outputs: int, *, width: int, depth: int,
        heads: int, reach: int, dropout: float, n_classes: int,
    ) -> None:  # fmt: skip
        super().__init__()
        channels, rows, columns = grid
        self.ways, self.dropout = ways, dropout
        seen = _seen(grid, reach)
        self.register_buffer("seen", seen, persistent=False)  # a function of the config
        # A token's embedding, for each way in which it may stand before; the last is "no token".
        self.tokens = nn.Embedding(seen.shape[1] * (ways + 1), width)
        self.row, self.column = nn.Embedding(rows, width), nn.Embedding(columns, width)
        self.channel = nn.Embedding(channels, width) if channels > 1 else None
        self.label = nn.Embedding(n_classes, width) if n_classes else None
        self.blocks = nn.ModuleList(Block(width, heads, dropout) for _ in range(depth))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, n_outputs, bias=False)
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=0.02)
            if isinstance(module, nn.Linear) and module.bias is not None:
                nn.init.zeros_(module.bias)
        for block in self.attention_blocks():
            for layer in (block.out, block.narrow):
                nn.init.normal_(layer.weight, std=0.02 * (2 * depth) ** -0.5)

    def attention_blocks(self) -> list[Block]:
        """The blocks, in order."""
        return [block for block in self.blocks if isinstance(block, Block)]

    def places(self) -> Tensor:
        """The embedding of each place of the grid, (T, width)."""
        at = self.row.weight[:, None, None] + self.column.weight[None, :, None]
        return (at if self.channel is None else at + self.channel.weight).flatten(0, 2)

    def before(self, tokens: Tensor, seen: Tensor) -> Tensor:
        """The embeddings (B, n, width) of what n places see directly.

        Args:
            tokens: (B, T + 1), the last one "no token".
            seen: Rows (n, S) of `self.seen`.
        """
        table = torch.arange(seen.shape[1], device=seen.device) * (self.ways + 1)
        numbers = tokens[:, seen] + table  # (B, n, S)
        sums = F.embedding_bag(numbers.flatten(0, 1), self.tokens.weight, mode="sum")
        return sums.view(*numbers.shape[:2], -1)

    def inputs(self, tokens: Tensor, labels: Tensor | None = None) -> Tensor:
        """What enters the first block, (B, T, width): at place t a function of tokens before t."""
        h = self.before(F.pad(tokens, (0, 1), value=self.ways), self.seen) + self.places()
        if self.label is not None and labels is not None:
            h = torch.cat([h[:, :1] + self.label(labels).unsqueeze(1), h[:, 1:]], 1)
        return F.dropout(h, self.dropout, self.training)

    def outputs(self, h: Tensor) -> Tensor:
        """From what enters the first block: (B, T, width) -> (B, T, n_outputs)."""
        for block in self.blocks:
            h = block(h)
        out: Tensor = self.head(self.norm(h))
        return out

    def forward(self, tokens: Tensor, labels: Tensor | None = None) -> Tensor:
        """See the class."""
        return self.outputs(self.inputs(tokens, labels))


def _seen(grid: tuple[int, int, int], reach: int) -> Tensor:
    """The tokens that each place sees directly, int64 (T, S): T stands for "no token".

    First the token just before in raster order, then those of the same channel up to `reach` rows
    above and `reach` columns aside, as far as they come before.
    """
    channels, rows, columns = grid
    number = torch.arange(channels * rows * columns).view(rows, columns, channels)
    outside = number.numel()
    found = [F.pad(number.flatten()[:-1], (1, 0), value=outside)]
    padded = F.pad(number, (0, 0, reach, reach, reach, 0), value=outside)
    near = [(i, j) for i, j in product(range(reach + 1), range(2 * reach + 1))]
    for i, j in near[: -reach - 1]:  # those before the place itself
        if channels > 1 or (i, j) != (reach, reach - 1):  # in one channel it is the one just before
            found.append(padded[i : i + rows, j : j + columns].flatten())
    return torch.stack(found, 1)
