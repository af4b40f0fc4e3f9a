"""Ctrl-C, SIGTERM and a closed terminal: finish the step, write a checkpoint, say how to resume."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from gencli.errors import InterruptedRun
from gencli.runs import Run

_AGAIN = 0.1
"""Seconds after which a Ctrl-C that came during an import is tried again."""


@contextmanager
def sparing_imports() -> Iterator[None]:
    """Within the block, let a Ctrl-C that comes while a module is imported wait for its end.

    A KeyboardInterrupt in the middle of torch's import aborts the process, or comes to nothing.
    """

    def interrupt(number: int, frame: FrameType | None) -> None:
        while frame is not None:
            if frame.f_code.co_filename == "<frozen importlib._bootstrap>":
                later = threading.Timer(_AGAIN, signal.raise_signal, (number,))
                later.daemon = True
                later.start()
                return
            frame = frame.f_back
        raise KeyboardInterrupt

    own = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if not own or threading.current_thread() is not threading.main_thread():
        yield  # whoever ignores Ctrl-C, or does something else, keeps doing so
        return
    signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


class StopRequest:
    """Whether a stop was asked for. A second signal is not caught: it stops at once.

    Args:
        after: The step after which to stop in any case; None for no such step.
    """

    def __init__(self, after: int | None = None) -> None:
        self._after = after
        self._signal: int | None = None

    @property
    def requested(self) -> bool:
        """Whether training should stop after this step."""
        return self._signal is not None

    @property
    def number(self) -> int:
        """The signal that asked; 0 while none has."""
        return self._signal or 0

    @property
    def planned(self) -> bool:
        """Whether a stop after some step was wanted from the beginning, and no signal came."""
        return self._after is not None and self._signal is None

    def due(self, step: int) -> bool:
        """Whether training should stop after step `step`."""
        return self.requested or step == self._after

    def request(self, number: int = signal.SIGINT) -> None:
        """Ask for a stop, as a signal would."""
        self._signal = number

    def error(self, run: Run, number: int) -> InterruptedRun:
        """What to raise once the checkpoint is written.

        Args:
            run: The run.
            number: The signal; 0 for none.
        """
        return InterruptedRun(
            f"Stopped; a checkpoint of {run.name} was written.",
            f"Continue with: gencli train {run.model} --resume {run.name}",
            128 + number if number else 0,
        )

    @contextmanager
    def listening(self) -> Iterator[StopRequest]:
        """Catch SIGINT, SIGTERM and SIGHUP within the block.

        Where signals cannot be caught (outside of the main thread) none are; a SIGHUP that is
        ignored (`nohup`) stays so.
        """
        if threading.current_thread() is not threading.main_thread():
            yield self
            return

        def catch(number: int, frame: FrameType | None) -> None:
            self.request(number)
            for caught, handler in previous.items():
                signal.signal(caught, handler)

        wanted = [signal.SIGINT, signal.SIGTERM]
        hang_up = getattr(signal, "SIGHUP", None)  # not on Windows
        if hang_up is not None and signal.getsignal(hang_up) is not signal.SIG_IGN:
            wanted.append(hang_up)
        previous = {number: signal.getsignal(number) for number in wanted}
        for number in previous:
            signal.signal(number, catch)
        try:
            yield self
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)
