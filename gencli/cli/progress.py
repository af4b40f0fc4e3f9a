"""How `train` shows itself: live bars on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from gencli.cli import console

if TYPE_CHECKING:
    from rich.progress import Progress as Bars
    from rich.progress import TaskID

    from gencli.training.reporter import Reporter, Standing


def duration(seconds: float | None) -> str:
    """A time left, such as 1:05 or 2:10:00; a dash where it is unknown."""
    if seconds is None:
        return "-"
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02d}:{second:02d}" if hours else f"{minute}:{second:02d}"


def figures(metrics: Mapping[str, float]) -> str:
    """Losses as `name value` pairs."""
    return "  ".join(f"{name} {value:.4g}" for name, value in metrics.items())


class PlainReporter:
    """A line every so often, and one at the end."""

    def __init__(self) -> None:
        self._next = time.monotonic() + console.PLAIN_SECONDS / 2
        self._shown = -1

    def show(self, standing: Standing) -> None:
        """Print a line when it is time to."""
        done = standing.step == standing.total_steps
        if standing.step == self._shown or (time.monotonic() < self._next and not done):
            return
        self._shown = standing.step
        self._next = time.monotonic() + console.PLAIN_SECONDS
        of = f"/{standing.total_steps}" if standing.total_steps else ""
        console.message(
            f"{standing.stage}: epoch {standing.epoch:.2f}  step {standing.step}{of}  "
            f"{standing.images_per_second:.0f} images/s  "
            f"left {duration(standing.seconds_left)}  {figures(standing.metrics)}"
        )

    def message(self, text: str) -> None:
        """Print a line."""
        console.message(text)


class LiveReporter:
    """A bar with stage, epoch, step, speed, time left and every loss."""

    def __init__(self, bars: Bars) -> None:
        self._bars = bars
        self._task: TaskID | None = None

    def show(self, standing: Standing) -> None:
        """Refresh the bar."""
        fields: dict[str, Any] = {
            "epoch": f"{standing.epoch:.2f}",
            "rate": f"{standing.images_per_second:.0f}",
            "left": duration(standing.seconds_left),
            "figures": figures(standing.metrics),
        }
        if self._task is None:
            self._task = self._bars.add_task(standing.stage, total=standing.total_steps, **fields)
        self._bars.update(
            self._task, description=standing.stage, completed=standing.step,
            total=standing.total_steps, **fields,
        )  # fmt: skip

    def message(self, text: str) -> None:
        """Print a line above the bar."""
        self._bars.console.print(text)


@contextmanager
def reporting() -> Iterator[Reporter]:
    """The reporter that suits stderr."""
    if not sys.stderr.isatty() or console.is_quiet():
        yield PlainReporter()
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    with Progress(
        TextColumn("{task.description}"), BarColumn(bar_width=24), MofNCompleteColumn(),
        TextColumn("epoch {task.fields[epoch]}  {task.fields[rate]} images/s  "
                   "left {task.fields[left]}\n{task.fields[figures]}"),
        console=console.stderr(),
    ) as bars:  # fmt: skip
        yield LiveReporter(bars)
