"""stdout carries data, stderr is for people; everything printed goes through here."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gencli.kinds import Progress

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from gencli.cli.progress import Display
    from gencli.errors import GencliError


@dataclass
class _Output:
    quiet: bool = False
    display: Display | None = None


_output = _Output()


def set_quiet(quiet: bool) -> None:
    """Silence stderr but for errors."""
    _output.quiet = quiet


def is_quiet() -> bool:
    """Whether stderr is silenced."""
    return _output.quiet


def emit(text: str) -> None:
    """One line of data on stdout, once the display is off the screen."""
    end()
    print(text, flush=True)


def emit_json(document: Any) -> None:
    """One JSON document on stdout, in ASCII."""
    emit(json.dumps(document, indent=2))


def emit_table(table: RenderableType) -> None:
    """A table on stdout, for commands whose data are tables."""
    end()
    stdout().print(table)


def shows_bars() -> bool:
    """Whether stdout's encoding has block characters and the like."""
    try:
        "▁█±".encode(sys.stdout.encoding or "ascii")
    except (UnicodeError, LookupError):
        return False
    return True


def stdout() -> Console:
    """The rich console of stdout; wide and without colours where that is no terminal.

    What is in square brackets or between colons is shown as it is: names may hold anything.
    """
    from rich.console import Console

    terminal = sys.stdout.isatty()
    return Console(
        width=None if terminal else 160, force_terminal=None if terminal else False,
        highlight=False, markup=False, emoji=False,
    )  # fmt: skip


def stderr() -> Console:
    """The rich console of stderr, silent when quiet."""
    from rich.console import Console

    return Console(stderr=True, quiet=_output.quiet, highlight=False, markup=False, emoji=False)


def message(text: str) -> None:
    """A line for people."""
    if _output.display is not None:
        _output.display.message(text)
    elif not _output.quiet:
        print(text, file=sys.stderr, flush=True)


def warning(text: str) -> None:
    """One line that begins with `warning:`; none while a shell completes what is typed."""
    if "_GENCLI_COMPLETE" not in os.environ:
        message(f"warning: {_one_line(text)}")


def error(failure: GencliError, cause: BaseException | None = None) -> None:
    """What is wrong and what to do, in two lines; with GENCLI_DEBUG=1 the traceback before them.

    Args:
        failure: What is said.
        cause: What was raised, where that is another exception.
    """
    end()
    if os.environ.get("GENCLI_DEBUG") == "1":
        import traceback

        traceback.print_exception(cause or failure)
    print(f"error: {_one_line(failure.problem)}", file=sys.stderr)
    print(f"  try: {_one_line(failure.cure)}", file=sys.stderr, flush=True)


def _one_line(text: str) -> str:
    """Line feeds and control characters, which names of files may hold, as escapes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def begin(what: str) -> None:
    """Put the command's one display on stderr, busy with `what`; it stays until `end`.

    To be called before torch is imported: a person sees at once that something goes on.
    """
    display = the_display()
    if sys.stderr.isatty():  # elsewhere a line would say nothing of use
        display.job(what, 0, 0)


def the_display() -> Display:
    """The one display of this command, begun if need be."""
    if _output.display is None:
        from gencli.cli.progress import SilentDisplay, choose

        _output.display = SilentDisplay() if _output.quiet else choose(sys.stderr)
    return _output.display


def end() -> None:
    """Take the display off the screen; what it left as history stays."""
    display, _output.display = _output.display, None
    if display is not None:
        display.close()


@contextmanager
def counting() -> Iterator[Progress]:
    """Progress as a callback (what, done, total), on the one display.

    A bar on a terminal, of what was last told; elsewhere one plain line when a long job begins.
    """
    display = the_display()
    try:
        yield display.job
    finally:
        display.job_over()
