"""`gencli sweep MODEL --set ...`: many runs, one table."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Annotated, Any

import typer

from gencli import registry
from gencli import sweep as sweeps
from gencli.cli import console
from gencli.cli.arguments import Json, Quiet, be_quiet
from gencli.errors import InterruptedRun, UsageError
from gencli.kinds import Progress
from gencli.sweep import Point
from gencli.wording import counted, spoken

_USAGE = 2


def sweep(
    ctx: typer.Context,
    model: Annotated[str, typer.Argument(metavar="MODEL", show_default=False)],
    sets: Annotated[
        list[str],
        typer.Option(
            "--set",
            help="An option and its values, such as lr=1e-4,1e-3; again for each option.",
            metavar="OPTION=VALUE,...",
            show_default=False,
        ),
    ],
    at_random: Annotated[
        int | None,
        typer.Option("--random", help="Draw so many combinations, instead of all.", min=1),
    ] = None,
    seeds: Annotated[int, typer.Option(help="Runs of each combination.", min=1, max=1000)] = 1,
    jobs: Annotated[
        int, typer.Option(help="Runs at once; with several, a thread each.", min=1, max=64)
    ] = 1,
    name: Annotated[
        str | None, typer.Option(help="Of the sweep; its runs are NAME-001, NAME-002, ...")
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train a model with every combination of some options; prints a table, best first.

    Other options are passed on to `gencli train MODEL`. The same command again continues a sweep
    that was stopped. The best is chosen by the validation loss; the test split is never looked at.
    """
    be_quiet(quiet)
    spec = registry.find(model)
    values = sweeps.parse_sets(spec.name, sets)
    others = list(ctx.args)
    if "--resume" in (argument.split("=")[0] for argument in others):
        raise UsageError("--resume is for one run.", "The same command again continues a sweep.")
    group = name or sweeps.default_name(spec.name, values)
    points = sweeps.plan(group, values, at_random=at_random, seeds=seeds)
    sweeps.keep(group, spec.name, points, others)
    todo = [point for point in points if sweeps.state_of(point) != "done"]
    console.message(
        f"sweep {group}: {counted(len(points), 'run')}, {len(points) - len(todo)} of them done"
    )
    if jobs > 1 and "--threads" not in others:
        others = [*others, "--threads", "1"]
    with (
        console.counting() as progress,
        _children() as children,
        ThreadPoolExecutor(jobs) as pool,
    ):
        begun = _Begun(progress, len(points) - len(todo), len(points))
        list(pool.map(lambda point: _train(spec.name, point, others, children, begun), todo))
    rows = sweeps.ranked(points)
    if json:
        console.emit_json({"sweep": group, "model": spec.name, "combinations": rows})
    else:
        _show(group, rows)


class Children:
    """The trainings that run, and whether no more are to begin."""

    def __init__(self) -> None:
        self.signal: int | None = None
        self._over = False
        self._lock = threading.Lock()
        self._running: set[subprocess.Popen[str]] = set()

    def finish(self, command: list[str]) -> tuple[int, str] | None:
        """Exit code and stderr of a training, from its begin to its end; None once all is over."""
        with self._lock:
            if self._over:
                return None
            child = subprocess.Popen(
                command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                errors="replace", env=os.environ, start_new_session=True,
            )  # fmt: skip
            self._running.add(child)
        told = child.communicate()[1]
        with self._lock:
            self._running.discard(child)
        return child.returncode, told

    def stop(self) -> None:
        """End all of them, each with a checkpoint, and let no other begin."""
        self._over = True  # also seen by one who has the lock and is about to let go of it
        with self._lock:
            for child in self._running:
                child.send_signal(signal.SIGTERM)

    def interrupt(self, number: int) -> None:
        """The same, because of a signal."""
        self.signal = number
        self.stop()


class _Begun:
    """Tells which run is at work, and how many are over."""

    def __init__(self, progress: Progress, over: int, total: int) -> None:
        self._progress, self._over, self._total = progress, over, total
        self._lock = threading.Lock()

    @contextmanager
    def __call__(self, point: Point) -> Iterator[None]:
        with self._lock:
            self._progress(_named(point), self._over, self._total)
        yield
        with self._lock:
            self._over += 1


@contextmanager
def _children() -> Iterator[Children]:
    """Where a stop reaches the trainings, and is told when they have ended."""
    children = Children()
    before = {
        number: signal.signal(number, lambda n, _: children.interrupt(n))
        for number in (signal.SIGINT, signal.SIGTERM)
        if signal.getsignal(number) is not signal.SIG_IGN
    }
    try:
        yield children
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if children.signal is not None:
        raise InterruptedRun(
            "The sweep was stopped.", "The same command again continues it.",
            128 + children.signal,
        )  # fmt: skip


def _train(model: str, point: Point, others: list[str], children: Children, begun: _Begun) -> None:
    """Begin or continue one run; what is wrong with the options ends the whole sweep."""
    began = time.monotonic()
    run = sweeps.run_of(point)
    command = [sys.executable, "-m", "gencli", "train", model, "-q"]
    if run is not None and run.checkpoints():
        command += ["--resume", point.run]
    else:
        command += ["--name", point.run, *point.arguments(), *others]
    with begun(point):
        ended = children.finish(command)
    if ended is None:
        return
    code, told = ended
    if code == _USAGE:
        children.stop()
        problem, _, cure = told.partition("\n")
        raise UsageError(problem.removeprefix("error: "), cure.strip().removeprefix("try: "))
    console.message(_line(point, code, told, time.monotonic() - began))


def _line(point: Point, code: int, told: str, seconds: float) -> str:
    if code:
        why = next(iter(told.splitlines()), f"exit {code}").removeprefix("error: ")
        return f"{_named(point)}: {why}"
    value = sweeps.best_value(point)
    loss = "nothing validated" if value is None else f"val_loss {value:.5g}"
    return f"{_named(point)}: {loss}, {spoken(seconds)}"


def _named(point: Point) -> str:
    options = ", ".join(f"{name} {value}" for name, value in point.options.items())
    return f"{point.run} ({options})"


def _show(group: str, rows: list[dict[str, Any]]) -> None:
    from rich.table import Table

    table = Table()
    names = list(rows[0]["options"]) if rows else []
    for column in names:
        table.add_column(column)
    table.add_column("val_loss", justify="right")
    table.add_column("runs")
    for row in rows:
        value = "-" if row["val_loss"] is None else f"{row['val_loss']:.5g}"
        if row["spread"] is not None:
            value += f" ({row['spread']:.2g} between seeds)"
        states = set(row["states"]) - {"done"}
        runs = row["runs"][0] + (f" to {row['runs'][-1]}" if len(row["runs"]) > 1 else "")
        runs += f" ({', '.join(sorted(states))})" if states else ""
        table.add_row(*(row["options"][column] for column in names), value, runs)
    console.emit(f"sweep {group}, by validation loss")  # a title would be as narrow as the table
    console.emit_table(table)
