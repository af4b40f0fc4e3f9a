"""What the processes of one command tell one another; where there is one, nothing.

Weights are the same in all processes at all times: they begin as the first's and take the same
steps. Each process takes its part of every batch. What it finds there (gradients, losses, sums) is
weighted by its share of the batch and added up over all, which gives the mean over the whole batch.
What may be drawn at random where a stage starts or an epoch ends is the first's. Decisions that
hang on a clock or a signal are taken together. The first process alone writes and prints.

Random numbers of losses differ between processes, and so do the buffers that a model names in
`per_process` (Markov chains).

Images that are drawn or measured are dealt out by whole batches, each with random numbers of its
own: what comes out is what one process alone gives.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from gencli.device import choose_device

T = TypeVar("T")

PREFIX = "process/"
"""Of tensors in a checkpoint that are another process's than the first's: `process/RANK/NAME`."""


class Processes:
    """One process alone; gencli/several.py has the others' way.

    Attributes:
        rank: This process's number; the first is 0.
        world: How many there are.
    """

    rank: int = 0
    world: int = 1

    def device(self, name: str) -> torch.device:
        """The device of that name for this process.

        Raises:
            UsageError: If there is none.
        """
        return choose_device(name)

    def part(self, n: int) -> slice:
        """Which of `n` images of a batch are this process's."""
        return slice(n * self.rank // self.world, n * (self.rank + 1) // self.world)

    @property
    def part_of_seed(self) -> tuple[int, ...]:
        """What makes a seed another in each process."""
        return (self.rank,) if self.rank else ()

    def add(self, tensors: Sequence[Tensor]) -> None:
        """Make each tensor the sum of those of all processes, in place."""

    def average(self, tensors: Sequence[Tensor]) -> None:
        """Make each tensor the mean of those of all processes, in place."""

    def add_gradients(self, parameters: Sequence[nn.Parameter], figures: Sequence[Tensor]) -> None:
        """The same for gradients and for 0-d figures.

        A parameter has a gradient afterwards if it had one in any process.
        """

    @contextmanager
    def adding(self, sums: Sequence[Tensor]) -> Iterator[None]:
        """Add to `sums` what the block adds to them in all processes together."""
        yield

    def agree(self, tensors: Iterable[Tensor]) -> None:
        """Make the tensors those of the first process."""

    def largest(self, *numbers: int) -> tuple[int, ...]:
        """Each number where it is largest."""
        return numbers

    def told(self, find: Callable[[], Any]) -> Any:
        """What the first process finds, a JSON document; the others do not look."""
        return find()

    def tensors(self, find: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
        """What the first process finds, tensors by name; the others do not look."""
        return find()

    def exchanged(self, own: Tensor, sizes: Sequence[int]) -> list[Tensor]:
        """What all processes have, by their ranks, on the CPU.

        Args:
            own: (B, ...), on the CPU.
            sizes: B of each process; the other dimensions are the same in all.
        """
        return [own]

    def gathered(self, own: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Tensors of this process, and those of the same names of the others under `PREFIX`.

        Only the first process has the others'.
        """
        return dict(own)

    def in_turn(self, work: Callable[[], T]) -> T:
        """Do what fills a cache: on each machine one process before the others."""
        return work()


ALONE = Processes()
"""One process, which is all there are."""


def own_part(tensors: Mapping[str, Tensor], rank: int) -> dict[str, Tensor]:
    """Of what `gathered` gave the part of one process; empty if there was none of that rank."""
    if rank == 0:
        return {name: t for name, t in tensors.items() if not name.startswith(PREFIX)}
    prefix = f"{PREFIX}{rank}/"
    return {k.removeprefix(prefix): t for k, t in tensors.items() if k.startswith(prefix)}


def world_of(tensors: Iterable[str]) -> int:
    """Of how many processes `gathered` gave these names."""
    ranks = [name.split("/")[1] for name in tensors if name.startswith(PREFIX)]
    return 1 + max((int(rank) for rank in ranks if rank.isdecimal()), default=0)


def named(model: nn.Module, kind: str) -> dict[str, Tensor]:
    """Buffers that the modules of a model name in their attribute `kind`, by their full names.

    Args:
        model: With its sub-modules.
        kind: `summed` or `per_process`.
    """
    return {
        f"{prefix}.{name}".lstrip("."): buffer
        for prefix, module in model.named_modules()
        for name, buffer in module.named_buffers(recurse=False)
        if name in getattr(module, kind, ())
    }


def common(model: nn.Module) -> list[Tensor]:
    """The saved tensors of a model that are the same in all processes."""
    own = named(model, "per_process")
    return [t for name, t in saved(model).items() if name not in own]


def saved(model: nn.Module) -> dict[str, Tensor]:
    """What a model's state dict has, by the same names.

    `state_dict` itself parts weights that are in shards, even where they are put together.
    """
    return {
        f"{prefix}.{name}".lstrip("."): tensor.detach()
        for prefix, module in model.named_modules(remove_duplicate=False)
        for name, tensor in (module._parameters | module._buffers).items()
        if tensor is not None and name not in module._non_persistent_buffers_set
    }
