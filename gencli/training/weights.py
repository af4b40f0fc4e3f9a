"""Where the weights of a training are: whole in each process, or in shards (`--shard`).

In shards, each process keeps a part of every weight, gradient, moment and average, by torch's
`fully_shard`. A loss puts the weights together as it goes: the networks' blocks, where a module
names them in `blocks_in`, one after another, and all others at once. Whatever else looks at a
model, or changes it, does so inside of `whole`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from gencli.errors import UsageError
from gencli.models.interface import Batch, GenerativeModel, Loss, Stage, Step, Update
from gencli.processes import Processes, common
from gencli.training.ema import EMA
from gencli.training.settings import Settings
from gencli.training.tensors import own_shard, put


def placed(model: GenerativeModel, device: torch.device) -> GenerativeModel:
    """A model on a device, in the order of memory that is fastest for it."""
    layout = torch.channels_last if model.channels_last else torch.preserve_format
    return model.to(device).to(memory_format=layout)


class Weights:
    """Weights that each process has whole.

    Args:
        model: On its device.
        processes: Those that train it together.
    """

    def __init__(self, model: GenerativeModel, processes: Processes) -> None:
        self.model, self.processes = model, processes

    def prepared(self, stage: Stage, batch: Batch) -> Batch:
        """The stage's `prepare`."""
        return stage.prepare(batch)

    def loss(self, update: Update, batch: Batch, step: Step) -> Loss:
        """The update's loss, of this process's part of a batch."""
        return update.loss(batch, step)

    def backward(self, total: Tensor, update: Update) -> None:
        """Add the gradients of a loss to those that are there."""
        total.backward(inputs=update.parameters)  # type: ignore[no-untyped-call]

    def add_gradients(self, parameters: Sequence[nn.Parameter], figures: Sequence[Tensor]) -> None:
        """Make gradients and 0-d figures the sums of those of all processes."""
        self.processes.add_gradients(parameters, figures)

    @contextmanager
    def whole(self, *, changed: bool = True) -> Iterator[None]:
        """The model with all of its weights, for a while; all processes come here.

        Args:
            changed: Whether what the block makes of the weights is kept. It is to do the same in
                all processes.
        """
        yield

    @contextmanager
    def agreed(self) -> Iterator[None]:
        """The same, and afterwards the model's tensors are the first process's in all."""
        with self.whole():
            yield
            self.processes.agree(common(self.model))

    @contextmanager
    def shown(self, ema: EMA | None) -> Iterator[EMA | None]:
        """The model with all of its weights to draw by, with averages.

        Yields:
            Those that are still to be applied.
        """
        yield ema

    def full(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Tensors as one process alone would have them; only the first process has them."""
        return dict(tensors)


class ShardedWeights(Weights):
    """Weights of which each process keeps a part."""

    def __init__(self, model: GenerativeModel, processes: Processes) -> None:
        super().__init__(model, processes)
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import fully_shard

        model.to(memory_format=torch.contiguous_format)  # torch splits no other
        processes.agree(common(model))  # each keeps its part of the first one's
        mesh = init_device_mesh(model.device.type, (processes.world,))
        self._root = _Called(model)
        for block in blocks(model):
            fully_shard(block, mesh=mesh)
        fully_shard(self._root, mesh=mesh)
        self._units: list[Any] = [m for m in self._root.modules() if hasattr(m, "unshard")]
        for unit in self._units:  # each process's loss is weighted by its share of the batch
            unit.set_gradient_divide_factor(1.0)
            unit.set_force_sum_reduction_for_comms(True)  # gloo cannot multiply
        self._root(_nothing)  # so that no block takes itself for the root
        self._apart()
        self._shards = dict(model.named_parameters())

    def prepared(self, stage: Stage, batch: Batch) -> Batch:
        """A frozen network may be asked."""
        found: Batch = self._root(stage.prepare, batch)
        return found

    def loss(self, update: Update, batch: Batch, step: Step) -> Loss:
        """Weights of other updates are left out of the gradient."""
        learnt = set(update.parameters)
        for name, now in self.model.named_parameters():  # `prepared` may have put it together
            for p in (self._shards[name], now):
                p.requires_grad_(self._shards[name] in learnt)

        def parts() -> tuple[Tensor, dict[str, Tensor]]:
            found = update.loss(batch, step)
            return found.total, found.metrics

        total, metrics = self._root(parts)  # torch looks for tensors in what comes out
        return Loss(total, **metrics)

    def backward(self, total: Tensor, update: Update) -> None:
        """Gradients are summed over the processes on the way."""
        total.backward()  # type: ignore[no-untyped-call]

    def add_gradients(self, parameters: Sequence[nn.Parameter], figures: Sequence[Tensor]) -> None:
        """Gradients are sums already."""
        self.processes.add(figures)

    @contextmanager
    def whole(self, *, changed: bool = True) -> Iterator[None]:
        """Put together here; forward passes inside then send nothing."""
        for unit in self._units:
            unit.set_reshard_after_forward(False, recurse=False)
            unit.unshard()
        try:
            yield
            if changed:
                for name, p in self.model.named_parameters():
                    put(self._shards[name], p)
        finally:
            self._apart()

    def _apart(self) -> None:
        for unit in self._units:
            unit.reshard()
            unit.set_reshard_after_forward(unit is not self._root, recurse=False)

    @contextmanager
    def shown(self, ema: EMA | None) -> Iterator[EMA | None]:
        """Averages are in shards, too, and are applied before these are put together."""
        if ema is None:
            with self.whole(changed=False):
                yield None
        else:
            with ema.applied(), self.whole(changed=False):
                yield None

    def full(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """One after another, on the CPU."""
        found = {}
        for name, tensor in tensors.items():
            if own_shard(tensor) is not tensor:
                tensor = tensor.full_tensor().cpu()  # type: ignore[attr-defined]
            if self.processes.rank == 0:
                found[name] = tensor
        return found


class _Called(nn.Module):
    """Calls what it is given: torch puts a module's weights together when it is called."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, function: Callable[..., Any], *arguments: Any) -> Any:
        return function(*arguments)


def _nothing() -> None:
    pass


def blocks(model: nn.Module) -> list[nn.Module]:
    """Modules with weights that the modules of a model name in their attribute `blocks_in`."""
    return [
        block
        for module in model.modules()
        for name in getattr(module, "blocks_in", ())
        for block in getattr(module, name)
        if any(True for _ in block.parameters())
    ]


def weights_of(model: GenerativeModel, settings: Settings, processes: Processes) -> Weights:
    """Those of a model on its device, as the settings have it; one process has them whole."""
    kind = ShardedWeights if settings.shard and processes.world > 1 else Weights
    return kind(model, processes)


def check_shards(model: GenerativeModel, settings: Settings, processes: Processes) -> None:
    """See that a training that is asked to keep shards can.

    Raises:
        UsageError: If it cannot.
    """
    if not settings.shard:
        return
    if processes.world == 1:
        raise UsageError(
            "--shard needs several processes.",
            "Start them: torchrun --nproc-per-node 2 -m gencli train ... --shard",
        )
    if settings.compile:
        raise UsageError("--shard and --compile do not go together.", "Leave one of them out.")
    if any(len(stage.updates) > 1 for stage in model.stages()):
        raise UsageError(
            "--shard is for models that are one network's work in each step.",
            "Leave it out: here one network's gradient passes through another's.",
        )
    if any(p.dim() == 0 for p in model.parameters()):
        raise UsageError("--shard cannot split weights of a single number.", "Leave it out.")
