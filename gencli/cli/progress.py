"""The one display of a command: what it is busy with, then the training, at the terminal's foot.

Where stderr is no terminal, or one that cannot move its cursor, a plain line now and then.
"""

from __future__ import annotations

import io
import os
import sys
import textwrap
import time
from typing import TYPE_CHECKING, Protocol, TextIO

from gencli.cli import frames
from gencli.cli.previews import Previews
from gencli.cli.region import Region
from gencli.training.reporter import Epoch, Reporter, Silent, Standing

if TYPE_CHECKING:
    from torch import Tensor

PLAIN_SECONDS = 10.0
"""Without a terminal, where a training stands is a plain line this often."""

EPOCH_SECONDS = 5.0
"""Without a terminal, epochs are told of no more often than this."""

HISTORY_SECONDS = 1.0
"""On a terminal, epochs that follow each other faster than this do not all get their line."""


class Display(Reporter, Protocol):
    """Shows a command to a person: a training, which takes the place of every job, and jobs."""

    def job(self, what: str, done: int, total: int) -> None:
        """Say how much of what is done; a total of 0 is unknown."""

    def job_over(self) -> None:
        """Let the last job vanish."""

    def show_previews(self) -> None:
        """From now on, show the images of previews, where they can be shown."""

    def close(self) -> None:
        """Leave the terminal as it is."""


def can_rewrite(stream: TextIO) -> bool:
    """Whether a stream is a terminal whose lines can be rewritten."""
    return stream.isatty() and os.environ.get("TERM", "dumb") not in ("dumb", "unknown")


def choose(stream: TextIO) -> Display:
    """The display that suits a stream."""
    return LiveDisplay(stream) if can_rewrite(stream) else PlainDisplay(stream)


class SilentDisplay(Silent):
    """Says nothing of jobs either."""

    def job(self, what: str, done: int, total: int) -> None:
        """Say nothing."""

    def job_over(self) -> None:
        """Say nothing."""

    def show_previews(self) -> None:
        """Show nothing."""

    def close(self) -> None:
        """There is nothing to do."""


class PlainDisplay:
    """A line every so often, one when a long job begins, and one at the end."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._begun: set[str] = set()
        self._next = time.monotonic() + PLAIN_SECONDS / 2
        self._next_epoch = time.monotonic() + EPOCH_SECONDS
        self._shown: tuple[int, str] | None = None

    def job(self, what: str, done: int, total: int) -> None:
        """A line when it begins."""
        if what not in self._begun:
            self._begun.add(what)
            self.message(f"{what} ...")

    def job_over(self) -> None:
        """Its line stays."""

    def show(self, standing: Standing) -> None:
        """A line when it is time to, and at the last step."""
        last = standing.step == standing.total_steps
        told = (standing.step, frames.figures(standing.metrics))
        if told == self._shown or (time.monotonic() < self._next and not last):
            return
        self._shown = told
        self._next = time.monotonic() + PLAIN_SECONDS
        self.message(frames.plain_standing(standing))

    def epoch_ended(self, epoch: Epoch) -> None:
        """A line when the last is some time ago, and at the last epoch."""
        if time.monotonic() >= self._next_epoch or epoch.number == epoch.total:
            self._next_epoch = time.monotonic() + EPOCH_SECONDS
            self.message(frames.plain_epoch(epoch))

    def message(self, text: str) -> None:
        """The line; where nobody reads it any more, nothing."""
        try:
            self._stream.write(text + "\n")
            self._stream.flush()
        except (OSError, ValueError):
            self._stream = io.StringIO()

    def show_previews(self) -> None:
        """Say that it cannot."""
        self.message("no previews here: stderr is no terminal that can show them")

    def pictures(self, images: Tensor) -> None:
        """Show nothing."""

    def close(self) -> None:
        """Its lines stay."""


class LiveDisplay:
    """Lines at the terminal's foot that are rewritten in place, and history above them."""

    def __init__(self, stream: TextIO) -> None:
        self._style = frames.Style(
            colour=not os.environ.get("NO_COLOR"), unicode=_has_unicode(stream)
        )
        self._job: tuple[str, int, int] | None = None
        self._standing: Standing | None = None
        self._stage_width, self._tick = 5, 0
        self._next_epoch = 0.0
        self._previews: Previews | None = None
        self._region = Region(stream, self._frame)
        self._stderr: TextIO | None = sys.stderr
        sys.stderr = _Above(self, stream)  # what others write must not tear the region

    def _frame(self, width: int) -> list[str]:
        self._tick += 1
        if self._job is not None:
            return [frames.job(*self._job, width, self._style, self._tick)]
        if self._standing is not None:
            lines = frames.training(self._standing, width, self._style, self._stage_width)
            if self._previews is None:
                return lines
            return [*self._previews.lines(width, self._region.height - len(lines)), *lines]
        return []

    def job(self, what: str, done: int, total: int) -> None:
        """A bar, or a spinner where the total is 0."""
        new = self._job is None or self._job[0] != what
        self._job = (what, done, total)
        if new:
            self._region.draw()

    def job_over(self) -> None:
        """The bar vanishes."""
        if self._job is not None:
            self._job = None
            self._region.draw()

    def show(self, standing: Standing) -> None:
        """The columns and losses; drawn at the next turn."""
        first = self._standing is None or self._job is not None
        self._job, self._standing = None, standing
        self._stage_width = max(self._stage_width, len(standing.stage))
        if first:
            self._region.draw()

    def epoch_ended(self, epoch: Epoch) -> None:
        """A line that stays."""
        now = time.monotonic()
        if now >= self._next_epoch or epoch.number == epoch.total:
            self._next_epoch = now + HISTORY_SECONDS
            self._region.draw(frames.epoch_line(epoch, self._region.width) + "\n")

    def message(self, text: str) -> None:
        """A line above what is rewritten, broken at words where it must be."""
        width = self._region.width
        lines = textwrap.wrap(
            text, width, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False
        )
        self.above("\n".join(lines or [""]))

    def above(self, text: str) -> None:
        """Text above what is rewritten, as it is."""
        self._region.draw(text + "\n")

    def show_previews(self) -> None:
        """Above the columns, from the first preview on."""
        self._previews = Previews(self._style)

    def pictures(self, images: Tensor) -> None:
        """In place of the preview before; drawn at the next turn."""
        if self._previews is not None:
            self._previews.images = images

    def close(self) -> None:
        """Erase the lines at the foot; history stays, and the last preview with it."""
        if self._previews is not None:
            last = self._previews.lines(self._region.width, self._region.height - 2)
            self._previews = None
            if last:
                self.above("\n".join(last))
        self._region.close()
        if self._stderr is not None:
            sys.stderr, self._stderr = self._stderr, None


class _Above(io.TextIOBase):
    """Stands in for sys.stderr: whole lines go above the region."""

    def __init__(self, display: LiveDisplay, stream: TextIO) -> None:
        self._display, self._stream, self._part = display, stream, ""

    def write(self, text: str) -> int:
        """Keep what is no whole line yet."""
        *lines, self._part = (self._part + text).split("\n")
        for line in lines:
            self._display.above(line)
        return len(text)

    def isatty(self) -> bool:
        """As the terminal behind it."""
        return self._stream.isatty()

    def fileno(self) -> int:
        """As the terminal behind it."""
        return self._stream.fileno()

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """As the terminal behind it."""
        return self._stream.encoding


def _has_unicode(stream: TextIO) -> bool:
    try:
        ("━─" + frames.SPINNER).encode(stream.encoding or "ascii")
    except UnicodeEncodeError:
        return False
    return True
