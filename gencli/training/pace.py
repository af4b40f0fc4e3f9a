"""How fast a training goes and how long it will take, for the display."""

from __future__ import annotations

import time
from collections import deque

RECENT = 4.0
"""Seconds of training steps over which images per second are taken."""

RECENT_WALL = 60.0
"""Seconds of the clock, validation and previews included, from which the time left is foreseen."""

TOO_EARLY = 10
"""Steps before the time left is foreseen: the first ones are slow, and would promise hours."""


class Pace:
    """Takes note of a session's progress now and then.

    Args:
        step: Steps that were taken before this session.
        images: Images that were used before it.
        work_seconds: Spent in training steps before it.
    """

    def __init__(self, step: int, images: int = 0, work_seconds: float = 0.0) -> None:
        self._first_step = step
        self._line = (work_seconds, images)
        self._began = self._epoch_began = time.monotonic()
        self._work: deque[tuple[float, int]] = deque()
        self._clock: deque[tuple[float, int]] = deque()

    @property
    def seconds(self) -> float:
        """Since the session began."""
        return time.monotonic() - self._began

    def note(self, step: int, images: int, work_seconds: float) -> None:
        """Take note of where the training stands.

        Args:
            step: Steps taken.
            images: Images used.
            work_seconds: Spent in training steps alone.
        """
        self._work.append((work_seconds, images))
        while len(self._work) > 2 and self._work[1][0] < work_seconds - RECENT:
            self._work.popleft()
        now = time.monotonic()
        if step - self._first_step < TOO_EARLY and self._clock:
            self._clock.clear()
        self._clock.append((now, step))
        while len(self._clock) > 2 and self._clock[1][0] < now - RECENT_WALL:
            self._clock.popleft()

    @property
    def images_per_second(self) -> float | None:
        """Over the last few seconds of training steps; None until two notes were taken."""
        (before, images_before), (now, images) = self._ends(self._work)
        return (images - images_before) / (now - before) if now > before else None

    def seconds_to(self, total_steps: int | None) -> float | None:
        """Until so many steps are taken, at the pace of the last minute; None while unknown."""
        (before, first), (now, step) = self._ends(self._clock)
        if total_steps is None or step <= first or first - self._first_step < 1:
            return None
        return max(total_steps - step, 0) * (now - before) / (step - first)

    def since_last_line(self, images: int, work_seconds: float) -> float:
        """Images per second of training steps since this was last asked, or the session began.

        Args:
            images: Used so far.
            work_seconds: Spent in training steps so far.
        """
        (before, images_before), self._line = self._line, (work_seconds, images)
        return (images - images_before) / max(work_seconds - before, 1e-9)

    def steps_in(self, seconds: float) -> int | None:
        """Steps that so much more time will hold, at the pace of the last minute."""
        (before, first), (now, step) = self._ends(self._clock)
        if step <= first or first - self._first_step < 1:
            return None
        return round(seconds * (step - first) / (now - before))

    def epoch_seconds(self) -> float:
        """Since this was last asked."""
        now = time.monotonic()
        taken, self._epoch_began = now - self._epoch_began, now
        return taken

    @staticmethod
    def _ends(notes: deque[tuple[float, int]]) -> tuple[tuple[float, int], tuple[float, int]]:
        return (notes[0], notes[-1]) if notes else ((0.0, 0), (0.0, 0))
