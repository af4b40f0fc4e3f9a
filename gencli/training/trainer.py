"""The one training loop.

It knows stages, updates and losses, and nothing of any model. A step runs every update of the stage
in order, update u `u.repeat` times; repeat r sees the step's r-th fresh batch. The order of images
is a function of (seed, stage, epoch), so a run's place in its data is one integer.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from gencli.core.model import Batch, GenerativeModel, Stage, Update
from gencli.data.load import ImageData
from gencli.data.order import Order
from gencli.data.store import ResidentStore
from gencli.errors import DivergedError, RunError
from gencli.runs import Run
from gencli.sampling.generator import mix_seed
from gencli.training import checkpoint, optim
from gencli.training.budget import Budget
from gencli.training.ema import EMA, evaluating
from gencli.training.log import MetricsLog, Progress, Reporter, Window
from gencli.training.preview import Preview
from gencli.training.settings import Settings
from gencli.training.signals import StopRequest
from gencli.training.validation import can_validate, validate

CHECKPOINT_SECONDS = 30.0
"""Without --checkpoint-every, an epoch's end writes one when the last is older than this."""

SHOW_SECONDS = 0.1
"""Progress is shown no more often than this."""


@dataclass
class State:
    """The counters of a run, as state.json has them; `seconds` are of training steps alone."""

    step: int = 0
    stage: int = 0
    stage_step: int = 0
    epoch: float = 0.0
    images: int = 0
    seconds: float = 0.0
    best_step: int | None = None
    best_value: float | None = None


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
    ) -> None:
        layout = torch.channels_last if model.channels_last else torch.preserve_format
        self.model = model.to(device).to(memory_format=layout)
        self.settings, self.run, self.device = settings, run, device
        self.precision, self.reporter, self.stop = precision, reporter, stop
        self.train_store = ResidentStore(data.train, data.info, device)
        self.val_store = ResidentStore(data.val, data.info, device) if len(data.val) else None
        self.preview = Preview(model, run, settings.sample_every)
        self.stages = model.stages()
        self.state = State()
        self.window = Window()
        self.last_metrics: dict[str, float] = {}
        self._last_checkpoint = self._last_shown = time.monotonic()
        if settings.compile:
            for module in model.compilable():
                module.compile()

    def fit(self, resume: bool = False) -> State:
        """Train to the end of the budget, from the last checkpoint when resuming.

        Raises:
            DivergedError: If a loss is not finite; the last good checkpoint stays.
            InterruptedRun: If a stop was asked for; a checkpoint was written.
            RunError: If the checkpoint to resume from is damaged.
        """
        torch.manual_seed(mix_seed(self.settings.seed, 2))
        restored = self._load() if resume else None
        self.log = MetricsLog(self.run.path / "metrics.jsonl", self.state.step)
        self.budget = Budget(self.settings, self.stages, len(self.train_store))
        self._first_step = self.state.step
        self._total_steps = self.budget.total_steps(self.batch_size)
        for index in range(self.state.stage, len(self.stages)):
            if index > self.state.stage:
                self.state.stage, self.state.stage_step = index, 0
            self._run_stage(self.stages[index], index, restored)
            restored = None
        if self.window.tensors():
            self._write_metrics(partial=True)
        self._show(self.stages[-1])
        self.preview.draw(self.state.step, self._ema)
        self._save()
        return self.state

    # -- one stage -------------------------------------------------------------------------------

    def _run_stage(self, stage: Stage, index: int, restored: dict[str, Tensor] | None) -> None:
        state, settings = self.state, self.settings
        order = Order(len(self.train_store), self.batch_size, mix_seed(settings.seed, 3, index), self.device)
        per_step = max(update.repeat for update in stage.updates)
        total = self.budget.steps(index, self.batch_size)
        self._optimizers = {
            u.name: optim.build(u.optimizer, u.parameters, settings.lr)
            for u in stage.updates
            if u.optimizer is not None
        }
        averaged = {p for u in stage.updates if u.ema for p in u.parameters}
        if state.stage_step == 0 and restored is None and stage.start is not None:
            stage.start(self.train_store.in_order(self.batch_size))
        decay = settings.ema_decay
        self._ema = EMA(self.model, averaged, decay) if decay and averaged else None
        if restored is not None:
            self._restore_stage(restored)
        self._set_modes(stage)
        done = self.budget.spent(index, state.stage_step, total)
        while not done:
            began = time.perf_counter()
            n_images = self._step(stage, order, per_step, total)
            epoch_ended = self._count(n_images, order, per_step)
            done = self.budget.spent(index, state.stage_step, total)
            if epoch_ended or done:
                self._end(stage, epoch_ended, done)
            if state.step % settings.log_every == 0 or epoch_ended:
                self._write_metrics()
            state.seconds += time.perf_counter() - began
            self._after_step(stage, epoch_ended)

    def _step(self, stage: Stage, order: Order, per_step: int, total: int | None) -> int:
        """Run every update of the stage once; returns the images used."""
        first = self.state.stage_step * per_step
        batches = [
            self._prepare(stage, self.train_store.batch(order.indices(first + r)))
            for r in range(per_step)
        ]
        settings = self.settings
        factor = optim.lr_factor(
            self.state.stage_step, total, settings.lr_schedule, settings.warmup
        )
        for update in stage.updates:
            if self.state.stage_step % update.every == 0:
                for batch in batches[: update.repeat]:
                    self._update(update, batch, settings.lr * factor, alone=len(stage.updates) == 1)
        if self._ema is not None:
            self._ema.step(self.state.stage_step)
        return sum(len(batch.images) for batch in batches)

    def _update(self, update: Update, batch: Batch, lr: float, alone: bool) -> None:
        optimizer = self._optimizers.get(update.name)
        with (
            torch.set_grad_enabled(optimizer is not None),
            torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16"),
        ):
            loss = update.loss(batch)
        if optimizer is not None and update.optimizer is not None:
            optimizer.zero_grad(set_to_none=True)
            loss.total.backward(inputs=update.parameters)  # type: ignore[no-untyped-call]
            clip = update.clip_norm or self.settings.clip_norm
            if clip:
                torch.nn.utils.clip_grad_norm_(update.parameters, clip)
            for group in optimizer.param_groups:
                group["lr"] = lr * update.optimizer.lr_scale
            optimizer.step()
        if update.after is not None:
            with torch.no_grad():
                update.after()
        self.window.add("loss" if alone else f"{update.name}_loss", loss.total)
        for name, value in loss.metrics.items():
            self.window.add(name, value)

    def _prepare(self, stage: Stage, batch: Batch) -> Batch:
        with torch.no_grad():
            images = stage.prepare(batch.images)
        if self.model.channels_last and images.dim() == 4:
            images = images.contiguous(memory_format=torch.channels_last)
        return Batch(images, batch.labels)

    def _count(self, n_images: int, order: Order, per_step: int) -> bool:
        """Advance the counters; returns whether an epoch of the stage ended in this step."""
        state = self.state
        before = state.stage_step * per_step // order.n_batches
        state.step, state.stage_step = state.step + 1, state.stage_step + 1
        state.images += n_images
        epochs = state.stage_step * per_step / order.n_batches
        state.epoch = round(self.budget.epochs_before(state.stage) + epochs, 4)
        return state.stage_step * per_step // order.n_batches > before

    @torch.no_grad()
    def _end(self, stage: Stage, epoch_ended: bool, stage_ended: bool) -> None:
        if epoch_ended:
            for update in stage.updates:
                if update.epoch_end is not None:
                    update.epoch_end()
        if stage_ended:
            if self._ema is not None and stage is not self.stages[-1]:
                self._ema.adopt()  # the next stage builds on the better weights
            if stage.finish is not None:
                stage.finish()

    # -- between steps ---------------------------------------------------------------------------

    def _after_step(self, stage: Stage, epoch_ended: bool) -> None:
        improved = epoch_ended and self._validate()
        if epoch_ended:
            self.preview.epoch_ended(self.state.step, round(self.state.epoch), self._ema)
        if self._is_checkpoint_due(epoch_ended, improved):
            self._save()
        if epoch_ended or time.monotonic() - self._last_shown > SHOW_SECONDS:
            self._show(stage)
        if self.stop.requested:
            self._save()
            raise self.stop.error(self.run)

    def _show(self, stage: Stage) -> None:
        state, total = self.state, self._total_steps
        done = (state.step - self._first_step) / max(total - self._first_step, 1) if total else 0.0
        rate = state.images / state.seconds if state.seconds else 0.0
        left = self.budget.seconds_left(done)
        self.reporter.show(
            Progress(stage.name, state.step, total, state.epoch, rate, left, self.last_metrics)
        )
        self._last_shown = time.monotonic()

    def _is_checkpoint_due(self, epoch_ended: bool, improved: bool) -> bool:
        every = self.settings.checkpoint_every
        if improved or (every is not None and self.state.step % every == 0):
            return True
        old = time.monotonic() - self._last_checkpoint > CHECKPOINT_SECONDS
        return every is None and epoch_ended and old

    def _write_metrics(self, partial: bool = False) -> None:
        self._check_finite()
        state = self.state
        self.last_metrics |= self.window.means()
        row: dict[str, Any] = {"step": state.step, "epoch": state.epoch}
        row |= self.window.means()
        row |= {"images_per_second": round(state.images / max(state.seconds, 1e-9), 1)}
        self.log.write(row | ({"partial": True} if partial else {}))
        if not partial:
            self.window.clear()

    def _check_finite(self) -> None:
        bad = self.window.first_non_finite()
        if bad is None:
            return
        name, back = bad
        there = self.run.checkpoints()
        kept = f"; the checkpoint of step {int(there[-1].name[5:])} is kept" if there else ""
        raise DivergedError(
            f"{name} is not finite around step {max(self.state.step - back + 1, 1)}{kept}.",
            "Try a lower --lr, --clip-norm 1 or --precision fp32.",
        )

    def _validate(self) -> bool:
        """Validate the weights that would be used; returns whether they are the best so far."""
        if self.val_store is None or not can_validate(self.model):
            return False
        with evaluating(self.model, self._ema):
            value = validate(self.model, self.val_store, self.settings.seed, 500)
        self.last_metrics["val_loss"] = value
        self.log.write({"step": self.state.step, "epoch": self.state.epoch, "val_loss": value})
        if not math.isfinite(value):
            raise DivergedError(
                f"The validation loss is not finite at step {self.state.step}.",
                "Try a lower --lr, --clip-norm 1 or --precision fp32.",
            )
        if self.state.best_value is not None and value >= self.state.best_value:
            return False
        self.state.best_step, self.state.best_value = self.state.step, value
        return True

    def _set_modes(self, stage: Stage) -> None:
        self.model.train()
        for module in stage.frozen:
            module.eval()

    @property
    def batch_size(self) -> int:
        """Images per update."""
        return min(self.settings.batch_size, len(self.train_store))

    # -- checkpoints -----------------------------------------------------------------------------

    def _save(self) -> None:
        self._check_finite()
        tensors: dict[str, Tensor] = {}
        for name, optimizer in self._optimizers.items():
            state = optim.state_tensors(optimizer)
            tensors |= {f"optimizer/{name}/{key}": t for key, t in state.items()}
        if self._ema is not None:
            tensors |= {f"ema/{name}": t for name, t in self._ema.average.items()}
        tensors |= {f"random/{k}": t for k, t in checkpoint.random_state(self.device).items()}
        tensors |= {f"window/{name}": t for name, t in self.window.tensors().items()}
        folder = self.run.path / "checkpoints"
        checkpoint.save(folder, self.state.step, self.model.state_dict(), tensors, vars(self.state))
        checkpoint.prune(folder, self.settings.keep, self.state.best_step)
        self._last_checkpoint = time.monotonic()

    def _load(self) -> dict[str, Tensor]:
        """Restore model and counters; the rest waits for its stage's optimizers."""
        checkpoint.clean(self.run.path / "checkpoints")
        latest = self.run.checkpoint("last")
        state = self.run.state(latest)
        try:
            self.state = State(**{name: state[name] for name in vars(State())})
        except KeyError as error:
            raise RunError(
                f"{latest} lacks {error} in state.json.",
                "Remove this checkpoint and resume again.",
            ) from None
        checkpoint.restore(
            self.model, checkpoint.load_tensors(latest / "model.safetensors"), latest
        )
        return checkpoint.load_tensors(latest / "trainer.safetensors")

    def _restore_stage(self, tensors: dict[str, Tensor]) -> None:
        def under(prefix: str) -> dict[str, Tensor]:
            return {k.removeprefix(prefix): t for k, t in tensors.items() if k.startswith(prefix)}

        for name, optimizer in self._optimizers.items():
            optim.load_state_tensors(optimizer, under(f"optimizer/{name}/"))
        if self._ema is not None:
            self._ema.load(under("ema/"))
        self.window = Window(under("window/"))
        checkpoint.set_random_state(under("random/"), self.device)
