"""Exponential moving average of weights, and of the running statistics that belong to them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext

import torch
from torch import Tensor, nn

from gencli.models.drawing import evaluating
from gencli.processes import saved
from gencli.training.tensors import check, own_shard, put


def live_tensors(model: nn.Module, parameters: set[nn.Parameter]) -> dict[str, Tensor]:
    """What is averaged, by its name in the model's state dict.

    Floating-point buffers of a module with averaged parameters of its own (the running statistics
    of batch normalisation) are averaged too, if they are saved with the model.
    """
    live: dict[str, Tensor] = {name: p for name, p in model.named_parameters() if p in parameters}
    kept = saved(model)
    for prefix, module in model.named_modules():
        own = set(module.parameters(recurse=False))
        if own and own <= parameters:
            live |= {
                name: b
                for name, b in module.named_buffers(prefix, recurse=False)
                if b.is_floating_point() and name in kept
            }
    return live


class EMA:
    """A moving average of some parameters of a model, and of what `live_tensors` finds with them.

    The decay warms up as min(decay, (1 + t) / (10 + t)), so that a short training is not an average
    of its beginning.

    Args:
        model: The whole model.
        parameters: Which of its parameters to average.
        decay: Weight of the past in each step.
    """

    def __init__(self, model: nn.Module, parameters: set[nn.Parameter], decay: float) -> None:
        self.decay = decay
        self.live = live_tensors(model, parameters)
        self.average = {name: t.detach().clone() for name, t in self.live.items()}

    @torch.no_grad()
    def step(self, t: int) -> None:
        """Take in the weights after step `t` (from 0)."""
        decay = min(self.decay, (1 + t) / (10 + t))
        live = [own_shard(tensor.detach()) for tensor in self.live.values()]
        average = [own_shard(tensor) for tensor in self.average.values()]
        torch._foreach_lerp_(average, live, 1 - decay)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Put the averages into the model for a while."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    @torch.no_grad()
    def _swap(self) -> None:
        for name, live in self.live.items():
            kept = live.detach().clone()
            live.copy_(self.average[name])
            self.average[name].copy_(kept)

    @torch.no_grad()
    def adopt(self) -> None:
        """Make the averages the model's weights."""
        for name, live in self.live.items():
            live.copy_(self.average[name])

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Put back averages saved under their names.

        Raises:
            RunError: If they are not the averages of this model.
        """
        check(tensors, self.average, "The moving average")
        for name, value in tensors.items():
            put(self.average[name], value)


@contextmanager
def averaged(model: nn.Module, ema: EMA | None) -> Iterator[None]:
    """Evaluation mode and, where there are any, averaged weights, for a while."""
    with evaluating(model), ema.applied() if ema is not None else nullcontext():
        yield
