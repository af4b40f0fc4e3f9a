"""The steps of one stage: its updates, their optimizers and the moving average."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor

from gencli.data.order import Order
from gencli.data.store import ResidentStore
from gencli.models.interface import Batch, GenerativeModel, Stage, Step, Update
from gencli.training import optim
from gencli.training.ema import EMA
from gencli.training.metrics import Window
from gencli.training.settings import Settings


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
    ) -> None:
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
        model.train()
        for module in stage.frozen:
            module.eval()

    def take(self, number: int, window: Window) -> int:
        """Run every update of the stage once.

        Args:
            number: Of the step within the stage, from 0.
            window: Takes in the losses.

        Returns:
            How many images were used.
        """
        first = number * self.per_step
        batches = [self._batch(first + r) for r in range(self.per_step)]
        settings = self.settings
        factor = optim.lr_factor(number, self.total, settings.lr_schedule, settings.warmup)
        step = Step(number, self.total)
        for update in self.stage.updates:
            for batch in batches[-update.repeat :]:
                self._update(update, batch, step, self.lr * factor, window)
        if self.ema is not None:
            self.ema.step(number)
        return sum(len(batch.images) for batch in batches)

    def _batch(self, number: int) -> Batch:
        with torch.no_grad():
            batch = self.stage.prepare(self.store.batch(self.order.indices(number)))
            self.store.expect(self.order.indices(number + 1))
        if self.model.channels_last and batch.images.dim() == 4:
            images = batch.images.contiguous(memory_format=torch.channels_last)
            batch = batch._replace(images=images)
        return batch

    def _update(self, update: Update, batch: Batch, step: Step, lr: float, window: Window) -> None:
        optimizer = self._optimizers.get(update.name)
        kind = batch.images.device.type
        with (
            torch.set_grad_enabled(optimizer is not None),
            torch.autocast(kind, torch.bfloat16, enabled=self.precision == "bf16"),
        ):
            loss = update.loss(batch, step)
        if optimizer is not None and update.optimizer is not None:
            optimizer.zero_grad(set_to_none=True)
            loss.total.backward(inputs=update.parameters)  # type: ignore[no-untyped-call]
            of_run = self.settings.clip_norm
            clip = update.clip_norm if of_run is None else of_run
            if clip:
                torch.nn.utils.clip_grad_norm_(update.parameters, clip)
            for group in optimizer.param_groups:
                group["lr"] = lr * update.optimizer.lr_scale
            optimizer.step()
        if update.after is not None:
            with torch.no_grad():
                update.after()
        alone = len(self.stage.updates) == 1
        window.add("loss" if alone else f"{update.name}_loss", loss.total)
        for name, value in loss.metrics.items():
            window.add(name, value)

    @torch.no_grad()
    def end_epoch(self) -> None:
        """Let the updates do what they do once an epoch."""
        for update in self.stage.updates:
            if update.epoch_end is not None:
                update.epoch_end()

    @torch.no_grad()
    def end_stage(self, *, last: bool) -> None:
        """Let the stage finish; what comes after builds on the averaged weights."""
        if self.ema is not None and not last:
            self.ema.adopt()
        if self.stage.finish is not None:
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


def batches_per_step(stage: Stage) -> int:
    """Batches that a step of the stage uses: an update with fewer repeats sees its last ones."""
    return max(update.repeat for update in stage.updates)


def under(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose names start with `prefix`, which is cut off."""
    return {k.removeprefix(prefix): t for k, t in tensors.items() if k.startswith(prefix)}
