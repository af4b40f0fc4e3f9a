"""What a training leaves in its run's directory: losses, checkpoints, previews.

Of several processes the first alone leaves anything, by `RunRecords`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from gencli.models.interface import Condition, GenerativeModel, Stage
from gencli.runs import Run
from gencli.training import checkpoint, tensorboard
from gencli.training.ema import EMA
from gencli.training.metrics import MetricsLog
from gencli.training.preview import Preview
from gencli.training.reporter import Reporter
from gencli.training.settings import Settings
from gencli.training.state import State


class Records:
    """Where a training leaves what is kept of it; this leaves nothing."""

    def begin(self, step: int) -> None:
        """Go on after so many steps; what was written of later ones is dropped."""

    def row(self, row: Mapping[str, Any]) -> None:
        """Losses of a step or of several."""

    def save(
        self, model: Mapping[str, Tensor], trainer: Mapping[str, Tensor], state: State, *, ema: bool
    ) -> None:
        """A checkpoint; older ones are removed as the settings have it."""

    def preview(self, stage: Stage, state: State, ema: EMA | None, *, now: bool = False) -> None:
        """A picture at an epoch's end, if it is time for one, or in any case."""


class RunRecords(Records):
    """Those in the directory of a run.

    Args:
        run: This process trains it.
        model: On its device.
        settings: Say how often, and what is kept.
        condition: What a preview's images are told.
        reporter: Is told of previews that fail.
        seen: Given every preview's images, on the CPU.
    """

    def __init__(
        self,
        run: Run,
        model: GenerativeModel,
        settings: Settings,
        condition: Condition,
        reporter: Reporter,
        seen: Callable[[Tensor], None],
    ) -> None:
        self._run, self._settings, self._reporter = run, settings, reporter
        self._preview = Preview(model, run, settings.sample_every, condition, self._seen)
        self._seen_too = seen
        self._told: set[str] = set()

    def begin(self, step: int) -> None:
        """Lines of later steps are cut off metrics.jsonl."""
        followed_by = tensorboard.follower(self._settings.log, self._run, step)
        self._log = MetricsLog(self._run.path / "metrics.jsonl", step, followed_by)

    def row(self, row: Mapping[str, Any]) -> None:
        """A line of metrics.jsonl."""
        self._log.write(row)

    def save(
        self, model: Mapping[str, Tensor], trainer: Mapping[str, Tensor], state: State, *, ema: bool
    ) -> None:
        """Whole, or not there."""
        where = self._run.folder("checkpoints")
        checkpoint.save(where, state.step, model, trainer, {**vars(state), "ema": ema})
        checkpoint.prune(self._run.checkpoints(), self._settings.keep, state.best_step)

    def preview(self, stage: Stage, state: State, ema: EMA | None, *, now: bool = False) -> None:
        """One that fails, for whatever reason, is no reason to stop training."""
        try:
            if now:
                self._preview.draw(stage, state.step, ema)
            else:
                self._preview.epoch_ended(stage, state.step, round(state.epoch), ema)
        except Exception as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            if reason not in self._told:
                self._told.add(reason)
                self._reporter.message(f"no preview: {reason}")

    def _seen(self, images: Tensor) -> None:
        self._reporter.pictures(images)
        self._seen_too(images)
