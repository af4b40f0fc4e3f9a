"""How long to train: epochs, steps or time, shared out over the stages."""

from __future__ import annotations

import math
import time
from itertools import pairwise

from gencli.models.interface import Stage
from gencli.training.settings import Settings, parse_duration
from gencli.training.steps import batches_per_step


class Budget:
    """The lengths of the stages.

    Args:
        settings: Holds `epochs` or `steps`, and perhaps `max_time`.
        stages: Their `share`s divide the budget.
        n_images: In the training split.
        batch_size: Images per batch.
    """

    def __init__(
        self, settings: Settings, stages: tuple[Stage, ...], n_images: int, batch_size: int
    ) -> None:
        shares = [stage.share for stage in stages]
        self._until = [sum(shares[: i + 1]) / sum(shares) for i in range(len(shares))]
        self._seconds = parse_duration(settings.max_time) if settings.max_time else None
        self._began = time.monotonic()
        n_batches = math.ceil(n_images / batch_size)
        self._epochs = self._parts(settings.epochs)
        self._steps = self._parts(settings.steps)
        if settings.steps is None:
            self._steps = [
                None if e is None else math.ceil(e * n_batches / batches_per_step(stage))
                for e, stage in zip(self._epochs, stages, strict=True)
            ]

    def _parts(self, whole: int | None) -> list[int | None]:
        """A whole number for each stage; together they are `whole`."""
        if whole is None:
            return [None] * len(self._until)
        ends = [0, *(round(whole * until) for until in self._until)]
        return [b - a for a, b in pairwise(ends)]

    def steps(self, index: int) -> int | None:
        """Steps of a stage; None where only the clock decides."""
        return self._steps[index]

    @property
    def total_steps(self) -> int | None:
        """Steps of all stages; None where only the clock decides."""
        known = [steps for steps in self._steps if steps is not None]
        return sum(known) if len(known) == len(self._steps) else None

    def epochs_before(self, index: int) -> int:
        """Epochs given to the stages before this one."""
        return sum(epochs or 0 for epochs in self._epochs[:index])

    def spent(self, index: int, stage_step: int) -> bool:
        """Whether a stage is over."""
        total = self._steps[index]
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
