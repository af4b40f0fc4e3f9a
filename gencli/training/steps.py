"""The steps of one stage: its updates, their optimizers and the moving average."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from gencli.data.order import Order
from gencli.data.store import ResidentStore
from gencli.errors import UsageError
from gencli.models.interface import Batch, GenerativeModel, Loss, Stage, Step, Update
from gencli.processes import Processes, named
from gencli.training import optim
from gencli.training.ema import EMA
from gencli.training.metrics import Window
from gencli.training.settings import Settings
from gencli.training.tensors import under
from gencli.training.weights import Weights

_BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)


class Piece(NamedTuple):
    """A part of a batch that goes through a network at once, and its share of the whole batch."""

    batch: Batch
    share: float

    def part_of(self, mean: Tensor) -> Tensor:
        """What a mean over the piece is of the mean over the whole batch."""
        return mean if self.share == 1 else mean.float() * self.share


class Steps:
    """Takes the steps of a stage.

    Args:
        model: On its device.
        stage: What a step does.
        store: The training images.
        order: Theirs.
        settings: Of the run.
        precision: Of the losses' forward pass; weights are fp32 always.
        total: Steps of the stage, for the schedule; None where only the clock decides.
        processes: Those that share each batch; None is this one alone.
        weights: Of the model; None if this process has them whole.

    Raises:
        UsageError: If several processes cannot train this.
    """

    def __init__(
        self,
        model: GenerativeModel,
        stage: Stage,
        store: ResidentStore,
        order: Order,
        settings: Settings,
        *,
        precision: Literal["fp32", "bf16"],
        total: int | None,
        processes: Processes | None = None,
        weights: Weights | None = None,
    ) -> None:
        self.processes = processes or Processes()
        self.weights = weights or Weights(model, self.processes)
        self.model, self.stage, self.store, self.order = model, stage, store, order
        self.settings, self.precision, self.total = settings, precision, total
        self.per_step = batches_per_step(stage)
        self.lr = settings.lr * stage.settings.lr_scale
        self._optimizers = {
            u.name: optim.build(u.optimizer, u.parameters, self.lr)
            for u in stage.updates
            if u.optimizer is not None
        }
        averaged = {p for u in stage.updates if u.ema for p in u.parameters}
        own = stage.settings.ema_decay
        decay = settings.ema_decay if own is None else own
        self.ema = EMA(model, averaged, decay) if decay and averaged else None
        self._sums = [*named(model, "summed").values()]
        self._running = running_statistics(model)
        self._check()
        model.train()
        for module in stage.frozen:
            module.eval()

    def _check(self) -> None:
        parts = self.processes.world * self.settings.grad_accumulation
        smallest = self.order.n // self.order.n_batches
        if parts > 1 and smallest < 2 * parts:
            raise UsageError(
                f"A batch of {smallest} images is too small for {parts} parts.",
                "Use a larger --batch-size, which is that of all parts, or make fewer of them.",
            )
        if smallest < 2 and self._running:
            raise UsageError(
                "A batch of one image is too small for batch normalisation.",
                "Use a larger --batch-size, or more images.",
            )
        gathers = any(u.optimizer is None for u in self.stage.updates)
        if self.processes.world > 1 and gathers and not self._sums:
            raise UsageError(
                f"{type(self.model).__name__} cannot be trained on several processes: it does not "
                "say which of its buffers are sums.",
                "Train it on one process, or name them in its `summed`.",
            )

    def take(self, number: int, window: Window) -> int:
        """Run every update of the stage once.

        Args:
            number: Of the step within the stage, from 0.
            window: Takes in the losses.

        Returns:
            How many images were used, by all processes.
        """
        first = number * self.per_step
        numbers = range(first, first + self.per_step)
        batches = [self._pieces(number) for number in numbers]
        settings = self.settings
        factor = optim.lr_factor(number, self.total, settings.lr_schedule, settings.warmup)
        steps = [Step(number, self.total) for _ in range(settings.grad_accumulation)]
        for update in self.stage.updates:
            for pieces in batches[-update.repeat :]:
                self._update(update, pieces, steps, self.lr * factor, window)
        self.processes.average(self._running)
        if self.ema is not None:
            self.ema.step(number)
        return sum(self.order.size(number) for number in numbers)

    def learning_rates(self) -> dict[str, Any]:
        """Of the last step, as a line of metrics.jsonl has it: by update where they differ."""
        rates = {name: o.param_groups[0]["lr"] for name, o in self._optimizers.items()}
        if not rates:
            return {}
        alike = len(set(rates.values())) == 1
        return {"lr": next(iter(rates.values())) if alike else rates}

    def _pieces(self, number: int) -> list[Piece]:
        """This process's part of a batch."""
        index = self._own(number)
        with torch.no_grad():
            batch = self.weights.prepared(self.stage, self.store.batch(index))
            self.store.expect(self._own(number + 1))
        if self.model.channels_last and batch.images.dim() == 4:
            images = batch.images.contiguous(memory_format=torch.channels_last)
            batch = batch._replace(images=images)
        n, k, whole = len(index), self.settings.grad_accumulation, self.order.size(number)
        ends = [(n * i // k, n * (i + 1) // k) for i in range(k)]
        return [Piece(_rows(batch, a, b), (b - a) / whole) for a, b in ends]

    def _own(self, number: int) -> Tensor:
        """Indices of this process's part of a batch."""
        whole = self.order.indices(number)
        return whole[self.processes.part(len(whole))]

    def _update(
        self, update: Update, pieces: list[Piece], steps: list[Step], lr: float, window: Window
    ) -> None:
        optimizer = self._optimizers.get(update.name)
        if optimizer is not None:
            for p in update.parameters:  # what zero_grad does, at a fraction of its calls
                p.grad = None
        figures: dict[str, Tensor] = {}
        with self.processes.adding(self._sums if optimizer is None else ()):
            for piece, step in zip(pieces, steps, strict=True):
                loss = self._loss(update, piece.batch, step)
                if optimizer is not None:
                    self.weights.backward(piece.part_of(loss.total), update)
                alone = len(self.stage.updates) == 1
                found = {"loss" if alone else f"{update.name}_loss": loss.total, **loss.metrics}
                for name, value in found.items():
                    part = piece.part_of(value.detach())
                    figures[name] = figures[name] + part if name in figures else part
        if optimizer is None or update.optimizer is None:
            self.processes.add([*figures.values()])
        else:
            self.weights.add_gradients(update.parameters, [*figures.values()])
            of_run = self.settings.clip_norm
            clip = update.clip_norm if of_run is None else of_run
            if clip:
                torch.nn.utils.clip_grad_norm_(update.parameters, clip)
            for group in optimizer.param_groups:
                group["lr"] = lr * update.optimizer.lr_scale
            optimizer.step()
        if update.after is not None:
            with torch.no_grad(), self.weights.whole():
                update.after()
        for name, value in figures.items():
            window.add(name, value)

    def _loss(self, update: Update, batch: Batch, step: Step) -> Loss:
        with (
            torch.set_grad_enabled(update.optimizer is not None),
            torch.autocast(
                batch.images.device.type, torch.bfloat16, enabled=self.precision == "bf16"
            ),
        ):
            return self.weights.loss(update, batch, step)

    @torch.no_grad()
    def end_epoch(self) -> None:
        """Let the updates do what they do once an epoch."""
        ends = [u.epoch_end for u in self.stage.updates if u.epoch_end is not None]
        if ends:
            with self.weights.agreed():
                for end in ends:
                    end()

    @torch.no_grad()
    def end_stage(self, *, last: bool) -> None:
        """Let the stage finish; what comes after builds on the averaged weights."""
        if self.ema is not None and not last:
            self.ema.adopt()
        if self.stage.finish is not None:
            with self.weights.agreed():
                self.stage.finish()

    def tensors(self) -> dict[str, Tensor]:
        """What resuming in the middle of the stage needs, beside the model."""
        found: dict[str, Tensor] = {}
        for name, optimizer in self._optimizers.items():
            state = optim.state_tensors(optimizer)
            found |= {f"optimizer/{name}/{key}": t for key, t in state.items()}
        if self.ema is not None:
            found |= {f"ema/{name}": t for name, t in self.ema.average.items()}
        return found

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Put back what `tensors` gave.

        Raises:
            RunError: If a tensor is missing, or has another shape or type.
        """
        for name, optimizer in self._optimizers.items():
            optim.load_state_tensors(optimizer, under(tensors, f"optimizer/{name}/"))
        if self.ema is not None:
            self.ema.load(under(tensors, "ema/"))


def running_statistics(model: nn.Module) -> list[Tensor]:
    """Those of batch normalisation, which follow the batches."""
    return [
        statistic
        for module in model.modules()
        if isinstance(module, _BATCH_NORMS)
        for statistic in (module.running_mean, module.running_var)
        if statistic is not None
    ]


def _rows(batch: Batch, first: int, end: int) -> Batch:
    """Some images of a batch, and what is known of them."""
    if end - first == len(batch.images):
        return batch
    part = slice(first, end)
    return Batch(batch.images[part], batch.condition.rows(part))


def batches_per_step(stage: Stage) -> int:
    """Batches that a step of the stage uses: an update with fewer repeats sees its last ones."""
    return max(update.repeat for update in stage.updates)
