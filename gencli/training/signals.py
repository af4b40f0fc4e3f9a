"""Ctrl-C and SIGTERM: finish the step, write a checkpoint, say how to resume."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from gencli.errors import InterruptedRun
from gencli.runs import Run


class StopRequest:
    """Whether a stop was asked for. A second signal is not caught: it stops at once."""

    def __init__(self) -> None:
        self._signal: int | None = None

    @property
    def requested(self) -> bool:
        """Whether training should stop after this step."""
        return self._signal is not None

    def request(self, number: int = signal.SIGINT) -> None:
        """Ask for a stop, as a signal would."""
        self._signal = number

    def error(self, run: Run) -> InterruptedRun:
        """What to raise once the checkpoint is written."""
        assert self._signal is not None
        return InterruptedRun(
            f"Stopped; a checkpoint of {run.name} was written.",
            f"Continue with: gencli train {run.model} --resume {run.name}",
            128 + self._signal,
        )

    @contextmanager
    def listening(self) -> Iterator[StopRequest]:
        """Catch SIGINT and SIGTERM within the block."""

        def catch(number: int, frame: FrameType | None) -> None:
            self.request(number)
            for caught, handler in previous.items():
                signal.signal(caught, handler)

        previous = {s: signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)}
        for number in previous:
            signal.signal(number, catch)
        try:
            yield self
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)
