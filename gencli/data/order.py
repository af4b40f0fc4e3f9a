"""Which images training meets, and in which order: pure functions of seeds."""

from __future__ import annotations

import torch
from torch import Tensor

from gencli.random import mix_seed

_HELD_OUT = 1998  # seed of the one choice of held-out images that there is


def hold_out(n: int, k: int) -> tuple[Tensor, Tensor]:
    """Indices (n - k,) to keep and (k,) to hold out, both ascending; the same for every run."""
    generator = torch.Generator().manual_seed(mix_seed(_HELD_OUT, n))
    held = torch.zeros(n, dtype=torch.bool)
    held[torch.randperm(n, generator=generator)[:k]] = True
    return (~held).nonzero().flatten(), held.nonzero().flatten()


class Order:
    """Batches of indices, numbered from the beginning: resuming needs two integers.

    An epoch goes through all images once, in `n_batches` batches whose sizes differ by at most one:
    no small batch is left over at its end.

    Args:
        n: Images, at least 1.
        batch_size: The largest size of a batch.
        seed: Of the permutations, one for each epoch.
        device: Where the indices are wanted.
    """

    def __init__(
        self, n: int, batch_size: int, seed: int, device: torch.device | str = "cpu"
    ) -> None:
        if n < 1 or batch_size < 1:
            raise ValueError(f"no order of {n} images in batches of {batch_size}")
        self.n = n
        self.n_batches = -(-n // batch_size)
        self.seed = seed
        self.device = torch.device(device)
        self._epoch = -1
        self._permutation = torch.empty(0, dtype=torch.int64)

    def size(self, batch: int) -> int:
        """Images of a batch."""
        b = batch % self.n_batches
        return (b + 1) * self.n // self.n_batches - b * self.n // self.n_batches

    def indices(self, batch: int) -> Tensor:
        """The indices (B,), int64, of a batch; `batch` counts from the beginning of training."""
        epoch, b = divmod(batch, self.n_batches)
        if epoch != self._epoch:
            generator = torch.Generator().manual_seed(mix_seed(self.seed, epoch))
            drawn = torch.randperm(self.n, generator=generator)
            self._epoch, self._permutation = epoch, drawn.to(self.device)
        return self._permutation[b * self.n // self.n_batches : (b + 1) * self.n // self.n_batches]
