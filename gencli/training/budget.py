"""How long to train: epochs, steps or time, shared out over the stages."""

from __future__ import annotations

import math
import time

from gencli.core.model import Stage
from gencli.training.settings import Settings, parse_duration


class Budget:
    """The lengths of the stages.

    Args:
        settings: Holds `epochs` or `steps`, and perhaps `max_time`.
        stages: Their `share`s divide the budget.
        n_images: In the training split.
    """

    def __init__(self, settings: Settings, stages: tuple[Stage, ...], n_images: int) -> None:
        self._settings, self._stages, self._n_images = settings, stages, n_images
        shares = [stage.share for stage in stages]
        self._until = [sum(shares[: i + 1]) / sum(shares) for i in range(len(shares))]
        self._seconds = parse_duration(settings.max_time) if settings.max_time else None
        self._began = time.monotonic()

    def _part(self, whole: int, index: int) -> int:
        """The whole number of units of `whole` that stage `index` gets."""
        before = self._until[index - 1] if index else 0.0
        return round(whole * self._until[index]) - round(whole * before)

    def steps(self, index: int, batch_size: int) -> int | None:
        """Steps of a stage; None where only the clock decides."""
        settings = self._settings
        if settings.steps is not None:
            return self._part(settings.steps, index)
        if settings.epochs is None:
            return None
        n_batches = math.ceil(self._n_images / batch_size)
        per_step = max(update.repeat for update in self._stages[index].updates)
        return math.ceil(self._part(settings.epochs, index) * n_batches / per_step)

    def epochs_before(self, index: int) -> int:
        """Epochs given to the stages before this one."""
        return sum(self._part(self._settings.epochs or 0, i) for i in range(index))

    def total_steps(self, batch_size: int) -> int | None:
        """Steps of all stages."""
        steps = [self.steps(i, batch_size) for i in range(len(self._stages))]
        return None if None in steps else sum(s for s in steps if s is not None)

    def spent(self, index: int, stage_step: int, total: int | None) -> bool:
        """Whether a stage is over."""
        if total is not None and stage_step >= total:
            return True
        if self._seconds is None:
            return False
        return time.monotonic() - self._began >= self._seconds * self._until[index]

    def seconds_left(self, done: float) -> float | None:
        """An estimate from the share of this session's steps that is done, or from the clock."""
        elapsed = time.monotonic() - self._began
        clock = math.inf if self._seconds is None else max(self._seconds - elapsed, 0.0)
        left = min(clock, elapsed / done * (1 - done) if done > 0 else math.inf)
        return None if math.isinf(left) else left
