"""How long to train: epochs, steps or time, shared out over the stages."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from itertools import pairwise

from gencli.models.interface import Stage
from gencli.training.settings import Settings, parse_duration
from gencli.training.steps import batches_per_step


class Budget:
    """The lengths of the stages.

    Args:
        settings: Holds `epochs` or `steps`, and perhaps `max_time`.
        stages: Those with `epochs` of their own take them out of the run's, the others share the
            rest.
        n_images: In the training split.
        batch_sizes: Images per batch, of each stage.
    """

    def __init__(
        self,
        settings: Settings,
        stages: tuple[Stage, ...],
        n_images: int,
        batch_sizes: Sequence[int],
    ) -> None:
        self._seconds = parse_duration(settings.max_time) if settings.max_time else None
        self._began = time.monotonic()
        self._first: dict[int, int] = {}
        shares = [stage.settings.share for stage in stages]
        self._until = [sum(shares[: i + 1]) / sum(shares) for i in range(len(shares))]
        own = [stage.settings.epochs for stage in stages]
        rates = [  # steps that an epoch takes
            math.ceil(n_images / size) / batches_per_step(stage)
            for size, stage in zip(batch_sizes, stages, strict=True)
        ]
        self._epochs = _shared_out(settings.epochs, own, shares)
        fixed = [None if e is None else math.ceil(e * r) for e, r in zip(own, rates, strict=True)]
        self._steps = _shared_out(settings.steps, fixed, shares)
        if settings.steps is None:
            self._steps = [
                None if e is None else math.ceil(e * r)
                for e, r in zip(self._epochs, rates, strict=True)
            ]

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
        """Whether a stage is over; however short the time, one step of it is taken before."""
        total = self._steps[index]
        if total is not None and stage_step >= total:
            return True
        if self._seconds is None or self._first.setdefault(index, stage_step) == stage_step:
            return False
        return time.monotonic() - self._began >= self._seconds * self._until[index]

    def seconds_left(self, done: float) -> float | None:
        """An estimate from the share of this session's steps that is done, or from the clock."""
        elapsed = time.monotonic() - self._began
        clock = math.inf if self._seconds is None else max(self._seconds - elapsed, 0.0)
        left = min(clock, elapsed / done * (1 - done) if done > 0 else math.inf)
        return None if math.isinf(left) else left


def _shared_out(
    whole: int | None, own: Sequence[int | None], shares: Sequence[float]
) -> list[int | None]:
    """A whole number for each stage, together `whole`: its own if it has one, else its share."""
    if whole is None:
        return [None] * len(own)
    parts: list[int | None] = []
    left = whole
    for length in own:
        parts.append(None if length is None else min(length, left))
        left -= parts[-1] or 0
    open_shares = [0.0 if length is not None else s for length, s in zip(own, shares, strict=True)]
    total = sum(open_shares)
    ends = [
        round(left * sum(open_shares[: i + 1]) / total) if total else 0 for i in range(len(own))
    ]
    spans = [b - a for a, b in pairwise([0, *ends])]
    return [s if length is None else length for length, s in zip(parts, spans, strict=True)]
