"""stdout carries data, stderr is for people; everything printed goes through here."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from gencli.errors import GencliError

PLAIN_SECONDS = 10.0
"""Without a terminal, progress is a plain line this often."""


@dataclass
class _Output:
    quiet: bool = False


_output = _Output()


def set_quiet(quiet: bool) -> None:
    """Silence stderr but for errors."""
    _output.quiet = quiet


def is_quiet() -> bool:
    """Whether stderr is silenced."""
    return _output.quiet


def emit(text: str) -> None:
    """One line of data on stdout."""
    print(text, flush=True)


def emit_json(document: Any) -> None:
    """One JSON document on stdout."""
    emit(json.dumps(document, indent=2, ensure_ascii=False))


def emit_table(table: RenderableType) -> None:
    """A table on stdout, for commands whose data are tables."""
    from rich.console import Console

    width = None if sys.stdout.isatty() else 160
    Console(width=width, highlight=False).print(table)


def stderr() -> Console:
    """The rich console of stderr, silent when quiet."""
    from rich.console import Console

    return Console(stderr=True, quiet=_output.quiet, highlight=False)


def message(text: str) -> None:
    """A line for people."""
    if not _output.quiet:
        print(text, file=sys.stderr, flush=True)


def error(failure: GencliError) -> None:
    """What is wrong and what to do, in two lines; with GENCLI_DEBUG=1 the traceback before them."""
    if os.environ.get("GENCLI_DEBUG") == "1":
        import traceback

        traceback.print_exception(failure)
    print(f"error: {failure.problem}", file=sys.stderr)
    print(f"  try: {failure.cure}", file=sys.stderr, flush=True)


@contextmanager
def counting() -> Iterator[Callable[[str, int, int], None]]:
    """A progress display as a callback (what, done, total), on stderr.

    A bar for each `what` on a terminal; elsewhere one plain line when a long job begins.
    """
    if _output.quiet:
        yield lambda what, done, total: None
    elif sys.stderr.isatty():
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

        with Progress(
            "{task.description}", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
            console=stderr(), transient=True,
        ) as bars:  # fmt: skip
            tasks: dict[str, Any] = {}

            def show(what: str, done: int, total: int) -> None:
                if what not in tasks:
                    tasks[what] = bars.add_task(what, total=total)
                bars.update(tasks[what], completed=done, total=total)

            yield show
    else:
        begun: set[str] = set()

        def say(what: str, done: int, total: int) -> None:
            if what not in begun:
                begun.add(what)
                message(f"{what} ...")

        yield say
