"""`gencli runs list|show|rename|rm|prune|path`: the directories of runs."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from gencli import housekeeping
from gencli import runs as directories
from gencli.cli import console, help_style, shell_completion
from gencli.cli.arguments import EXACT_RUNS, Json, Quiet, RunArgument, be_quiet
from gencli.cli.info import info
from gencli.cli.list import list_
from gencli.errors import UsageError
from gencli.runs import Run
from gencli.wording import counted, readable_bytes

ExactRun = Annotated[
    str,
    typer.Argument(
        metavar="RUN",
        help="A run's directory or name.",
        autocompletion=shell_completion.run_names,
        show_default=False,
    ),
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do it without asking.")]

group = typer.Typer(
    cls=help_style.WholeGroup,
    help="List, show, rename, remove and thin out runs.",
    no_args_is_help=True,
    rich_markup_mode=help_style.markup_mode(),
)


@group.command("list")
def list_runs(json: Json = False, quiet: Quiet = False) -> None:
    """List the runs, newest first: state, main figure, time trained, size on disk."""
    list_("runs", json=json, quiet=quiet)


@group.command()
def show(run: RunArgument, json: Json = False, quiet: Quiet = False) -> None:
    """Show a run in full."""
    info(str(directories.find(run).path), json=json, quiet=quiet)


@group.command()
def path(run: RunArgument, quiet: Quiet = False) -> None:
    """Print a run's directory."""
    be_quiet(quiet)
    console.emit(str(directories.find(run).path))


@group.command()
def rename(
    run: ExactRun,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The new name.")],
    quiet: Quiet = False,
) -> None:
    """Give a run another name; prints its directory."""
    be_quiet(quiet)
    console.emit(str(housekeeping.rename(directories.exactly(run), name).path))


@group.command()
def rm(names: Annotated[list[str], EXACT_RUNS], yes: Yes = False, quiet: Quiet = False) -> None:
    """Remove runs with all that is in them, after asking."""
    be_quiet(quiet)
    chosen = _chosen(names)
    _ask(f"Remove {_listed(chosen)} and all files in them?", yes)
    freed = 0
    for run in chosen:
        freed += housekeeping.remove(run)
    console.message(f"removed {counted(len(chosen), 'run')}, {readable_bytes(freed)} freed")


@group.command()
def prune(
    names: Annotated[list[str] | None, EXACT_RUNS] = None,
    every: Annotated[bool, typer.Option("--all", help="All runs that are not training.")] = False,
    keep: Annotated[
        housekeeping.Keep, typer.Option(help="Which checkpoints stay; to resume takes the last.")
    ] = "both",
    yes: Yes = False,
    quiet: Quiet = False,
) -> None:
    """Remove checkpoints but for the best on validation and the last, after asking."""
    be_quiet(quiet)
    if bool(names) == every:
        raise UsageError("Which runs?", "Name some, or give --all.")
    if every:
        there = directories.all_runs()
        chosen = [run for run in there if run.status != "running" and run.checkpoints()]
    else:
        chosen = _chosen(names or [])
    what = "the best and the last checkpoint" if keep == "both" else f"the {keep} checkpoint"
    _ask(f"Remove all but {what} of {_listed(chosen)}?", yes)
    steps, freed = 0, 0
    for run in chosen:
        gone, size = housekeeping.prune(run, keep)
        steps, freed = steps + len(gone), freed + size
    console.message(f"removed {counted(steps, 'checkpoint')}, {readable_bytes(freed)} freed")


def _chosen(names: list[str]) -> list[Run]:
    return list(dict.fromkeys(directories.exactly(name) for name in names))


def _listed(chosen: list[Run]) -> str:
    if len(chosen) > 3:
        return counted(len(chosen), "run")
    return ", ".join(run.name for run in chosen) or "no run"


def _ask(question: str, yes: bool) -> None:
    """Go on only with a person's consent.

    Raises:
        UsageError: If there is no one to ask, or the answer is no.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise UsageError("There is no one to ask.", "Give --yes.")
    if not typer.confirm(question, err=True):
        raise UsageError("Nothing was removed.", "Answer y, or give --yes.")
