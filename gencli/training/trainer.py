"""The one training loop.

It knows stages, updates and losses, and nothing of any model. `Steps` takes the steps of a stage;
here they are counted, logged, validated and saved. The order of images is a function of (seed,
stage, epoch), so a run's place in its data is one integer.
"""

from __future__ import annotations

import math
import time
from collections.abc import Collection
from typing import Any, Literal

import torch
from torch import Tensor

from gencli.data.conditions import in_turn
from gencli.data.order import Order
from gencli.data.splits import ImageData
from gencli.data.store import store_of
from gencli.errors import DivergedError
from gencli.models.interface import GenerativeModel, Stage
from gencli.processes import Processes, saved
from gencli.random import mix_seed
from gencli.runs import Run
from gencli.training import checkpoint, summary
from gencli.training.budget import Budget
from gencli.training.ema import averaged
from gencli.training.initial import kept
from gencli.training.metrics import Window
from gencli.training.pace import Pace
from gencli.training.preview import N_IMAGES
from gencli.training.records import Records, RunRecords
from gencli.training.reporter import Epoch, Reporter, Standing
from gencli.training.settings import Settings
from gencli.training.signals import StopRequest
from gencli.training.state import State, own_tensors, restore, restore_own
from gencli.training.steps import Steps
from gencli.training.tensors import check_names, under
from gencli.training.validation import figure_of, validate
from gencli.training.watch import Watch
from gencli.training.weights import placed, weights_of

CHECKPOINT_SECONDS = 30.0
"""Without --checkpoint-every, an epoch's end writes one when the last is older than this."""

SETTLED = 5.0
"""Seconds after which the time that a training will take is foretold, once."""

SHOW_SECONDS = 0.1
"""Progress is shown no more often than this."""


class Trainer:
    """Trains a model on a data set into a run's directory.

    Args:
        model: On the CPU; moved to `device`.
        data: Its training and validation splits are used, the test split never.
        settings: With every default filled in.
        run: Where checkpoints, metrics and previews go.
        device: Where to train.
        precision: Of the losses' forward pass; weights are fp32 always.
        reporter: Shows progress.
        stop: Polled after every step.
        processes: Those that train it together; None is this one alone.
        taken_over: Names of tensors that another run gave, which no stage's start may change.
    """

    def __init__(
        self,
        model: GenerativeModel,
        data: ImageData,
        settings: Settings,
        run: Run,
        *,
        device: torch.device,
        precision: Literal["fp32", "bf16"],
        reporter: Reporter,
        stop: StopRequest,
        processes: Processes | None = None,
        taken_over: Collection[str] = (),
    ) -> None:
        self.processes = processes = processes or Processes()
        self.model = placed(model, device)
        self.weights = weights_of(self.model, settings, processes)
        self.settings, self.run, self.device = settings, run, device
        self.precision, self.reporter, self.stop = precision, reporter, stop
        self.taken_over = taken_over
        kind = data.info, device, model.conditions
        self.train_store = store_of(data.train, *kind)
        self.val_store = store_of(data.val, *kind) if len(data.val) else None
        shown = next((self.val_store or self.train_store).in_order(N_IMAGES))
        condition = in_turn(data.info, model.conditions, N_IMAGES, shown.condition)
        self.stages = model.stages()
        self.watch = Watch(self, shown.images)
        self.records = Records()
        if processes.rank == 0:
            seen = self.watch.pictures
            self.records = RunRecords(run, model, settings, condition, reporter, seen)
        self.state = State()
        self.window = Window()
        self.last_metrics: dict[str, float] = {}
        self.batch_size = min(settings.batch_size, len(self.train_store))
        self.budget = Budget(
            settings, self.stages, len(self.train_store), [*map(self.batch_of, self.stages)]
        )
        self._last_checkpoint = self._last_shown = time.monotonic()
        if settings.compile:
            model.compile_networks()

    def batch_of(self, stage: Stage) -> int:
        """Images per batch of a stage."""
        return min(stage.settings.batch_size or self.settings.batch_size, len(self.train_store))

    def fit(self, resume: bool = False) -> State:
        """Train to the end of the budget, from the last checkpoint when resuming.

        Raises:
            DivergedError: If a loss is not finite; the last good checkpoint stays.
            InterruptedRun: If a stop was asked for; a checkpoint was written.
            RunError: If the checkpoint to resume from is damaged.
        """
        torch.manual_seed(self._seed())
        restored: dict[str, Tensor] | None = None
        with self.weights.agreed():
            if resume:
                self.state, restored = restore(self.model, self.stages, self.run, self.processes)
        state = self.state
        self.pace, self._foretold = Pace(state.step, state.images, state.seconds), False
        self.records.begin(state.step)
        for index in range(state.stage, len(self.stages)):
            if index > state.stage:
                state.stage, state.stage_step = index, 0
                state.best_step = state.best_value = None  # the best is of the newest stage
            self._run_stage(index, restored)
            restored = None
        if self.window.tensors():
            self._write_metrics(partial=True)
        self._save()  # before the last preview, which may fail or take long
        self._show()
        self._preview(now=True)
        return state

    def _run_stage(self, index: int, restored: dict[str, Tensor] | None) -> None:
        stage, state = self.stages[index], self.state
        if restored is None and stage.start is not None:
            with torch.no_grad(), self.weights.agreed(), kept(self.model, self.taken_over):
                stage.start(self.train_store.in_order(self.batch_of(stage)))
        seed = mix_seed(self.settings.seed, 3, index)
        order = Order(len(self.train_store), self.batch_of(stage), seed, self.device)
        total = self.budget.steps(index)
        self.steps = steps = Steps(
            self.model, stage, self.train_store, order, self.settings,
            precision=self.precision, total=total, processes=self.processes,
            weights=self.weights,
        )  # fmt: skip
        if restored is not None:
            if state.stage_step:
                steps.restore(restored)
                check_names(restored, steps.tensors())
            self.window = Window(under(restored, "window/"))
            restore_own(restored, self.model, self.processes, self._seed(), self.reporter)
        ended, last = self._is_over(), index == len(self.stages) - 1
        while not ended:
            began = time.perf_counter()
            self.window.step = state.step + 1
            state.images += steps.take(state.stage_step, self.window)
            epoch_ended = self._count(order.n_batches)
            ended = self._is_over()
            if epoch_ended:
                steps.end_epoch()
            if ended:
                steps.end_stage(last=last)
            state.seconds += time.perf_counter() - began
            if epoch_ended or state.step % self.settings.log_every == 0:
                self._write_metrics()
            self._after_step(epoch_ended, all_done=ended and last)

    def _seed(self) -> int:
        """Of the random numbers from here on, unless a checkpoint has their state."""
        begun = (self.state.step,) if self.state.step else ()
        return mix_seed(self.settings.seed, 2, *self.processes.part_of_seed, *begun)

    def _is_over(self) -> bool:
        over = self.budget.spent(self.state.stage, self.state.stage_step)
        return any(self.processes.largest(int(over)))  # their clocks may differ

    def _count(self, n_batches: int) -> bool:
        """Advance the counters; returns whether an epoch of the stage ended in this step."""
        state, per_step = self.state, self.steps.per_step
        before = state.stage_step * per_step // n_batches
        state.step, state.stage_step = state.step + 1, state.stage_step + 1
        used = state.stage_step * per_step
        state.epoch = round(self.budget.epochs_before(state.stage) + used / n_batches, 4)
        return used // n_batches > before

    def _after_step(self, epoch_ended: bool, all_done: bool) -> None:
        improved = epoch_ended and self._validate()
        due, asked = self._is_checkpoint_due(epoch_ended, improved), self.stop.due(self.state.step)
        save, stop, signal = self.processes.largest(int(due), int(asked), self.stop.number)
        if stop or save:
            self._save()
        if stop and not all_done:
            raise self.stop.error(self.run, signal)
        if epoch_ended:
            self._tell_epoch()
            self._preview()
        if epoch_ended or time.monotonic() - self._last_shown > SHOW_SECONDS:
            self._show()

    def _show(self) -> None:
        state, pace, total = self.state, self.pace, self.budget.total_steps
        pace.note(state.step, state.images, state.seconds)
        ahead, clock = pace.seconds_to(total), self.budget.seconds_left(0.0)
        left = min((s for s in (ahead, clock) if s is not None), default=None)
        share = state.step / total if total else None
        if clock is not None:
            share = pace.seconds / max(pace.seconds + clock, 1e-9)
        metrics = self.last_metrics.copy() or self.window.means()  # there is no line of them yet
        self.reporter.show(
            Standing(
                self.stages[state.stage].name, state.step, total, state.epoch,
                self.settings.epochs, pace.images_per_second, pace.seconds, left, share, metrics,
            )
        )  # fmt: skip
        self._last_shown = time.monotonic()
        if not self._foretold and left is not None and pace.seconds > SETTLED:
            self._foretold = True
            for line in summary.expected(self, left):
                self.reporter.message(line)

    def _preview(self, now: bool = False) -> None:
        with self.weights.shown(self.steps.ema) as ema:
            self.records.preview(self.steps.stage, self.state, ema, now=now)

    def _tell_epoch(self) -> None:
        number, losses = round(self.state.epoch), self.last_metrics.copy()
        epoch = Epoch(number, self.settings.epochs, losses, self.pace.epoch_seconds())
        self.reporter.epoch_ended(epoch)

    def _write_metrics(self, partial: bool = False) -> None:
        self._check_finite()
        state, means = self.state, self.window.means()
        self.last_metrics |= means
        self.watch.figures(means)
        row: dict[str, Any] = {"step": state.step, "epoch": state.epoch, **means}
        row |= self.steps.learning_rates()
        row["images_per_second"] = round(self.pace.since_last_line(state.images, state.seconds), 1)
        if partial:
            row["partial"] = True
        else:
            self.window.clear()
        self.records.row(row)

    def _check_finite(self) -> None:
        if (bad := self.window.first_non_finite()) is not None:
            raise self._diverged(f"{bad[0]} is not finite at step {bad[1]}")

    def _diverged(self, problem: str) -> DivergedError:
        return checkpoint.diverged(problem, self.run.checkpoints())

    def _validate(self) -> bool:
        """Validate the weights that would be used; returns whether they are the best so far."""
        stage, state = self.steps.stage, self.state
        if self.val_store is None or figure_of(self.model, stage) is None:
            return False
        with averaged(self.model, self.steps.ema), self.weights.whole(changed=False):
            value = validate(self.model, stage, self.val_store, self.settings.seed, self.processes)
        self.last_metrics["val_loss"] = value
        if not math.isfinite(value):
            raise self._diverged(f"The validation loss is not finite at step {state.step}")
        self.records.row({"step": state.step, "epoch": state.epoch, "val_loss": value})
        self.watch.validated(value)
        if state.best_value is not None and value >= state.best_value:
            return False
        state.best_step, state.best_value = state.step, value
        return True

    def _is_checkpoint_due(self, epoch_ended: bool, improved: bool) -> bool:
        every = self.settings.checkpoint_every
        if improved or (every is not None and self.state.step % every == 0):
            return True
        old = time.monotonic() - self._last_checkpoint > CHECKPOINT_SECONDS
        return every is None and epoch_ended and old

    def _save(self) -> None:
        self._check_finite()
        averages = self.steps.ema.average.values() if self.steps.ema is not None else ()
        sound = checkpoint.is_sound(self.model, averages)
        if any(self.processes.largest(int(not sound))):  # it is to replace no other
            raise self._diverged(f"A weight is not finite after step {self.state.step}")
        tensors = self.steps.tensors()
        tensors |= own_tensors(self.model, self.processes)
        tensors |= {f"window/{name}": t for name, t in self.window.tensors().items()}
        model, tensors = (self.weights.full(t) for t in (saved(self.model), tensors))
        self.records.save(model, tensors, self.state, ema=self.steps.ema is not None)
        self._last_checkpoint = time.monotonic()
