"""The command line's entry: the tree of commands, and errors as two lines and an exit code."""

from __future__ import annotations

import os
import sys
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from typing import Annotated, Any

import typer

import gencli
from gencli.cli import conditions, console, environment, help_style, outputs, own_options, runs
from gencli.cli.compare import compare
from gencli.cli.doctor import doctor
from gencli.cli.evaluate import evaluate
from gencli.cli.export import export
from gencli.cli.failures import described, stopped
from gencli.cli.info import info
from gencli.cli.inspect import inspect
from gencli.cli.interpolate import interpolate
from gencli.cli.list import list_
from gencli.cli.parameters import with_parameters
from gencli.cli.reconstruct import reconstruct
from gencli.cli.report import report
from gencli.cli.reproduce import reproduce
from gencli.cli.sample import sample
from gencli.cli.streams import lasting
from gencli.cli.sweep import sweep
from gencli.cli.train import ModelGroup
from gencli.errors import (
    DivergedError,
    GencliError,
    GencliWarning,
    InterruptedRun,
    LostProcess,
    RunError,
    UsageError,
)
from gencli.place import Place, place_in
from gencli.training.signals import sparing_imports

_SAID_BY_THE_FIRST = (UsageError, DivergedError, InterruptedRun, LostProcess)
"""Failures that all processes have together."""

_FOR_THE_FIRST = 30
"""Seconds that a process waits with a failure that the first one tells.

`torchrun` ends all others when one of them fails. If that one is not the first, the first may not
have told it yet. If it is, these seconds are cut short.
"""

_SHARED = ("train", "sample", "evaluate")
"""Commands whose work several processes share."""

OF_A_RUN: dict[str, tuple[Callable[..., None], own_options.Kinds, own_options.Told | None]] = {
    "sample": (sample, own_options.sampling, conditions.parameters),
    "reconstruct": (reconstruct, own_options.decoding, conditions.parameters),
    "interpolate": (interpolate, own_options.decoding, conditions.of_a_walk),
    "evaluate": (evaluate, own_options.sampling_and_measuring, None),
}
"""Commands with options of the run's own model: which, and by what it is told conditions."""


class Commands(help_style.WholeGroup):
    """The commands in the order of their use."""

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """A command of RUN is built with the options of that run's model."""
        if args and args[0] in OF_A_RUN:
            name, *rest = args
            return name, own_options.command(name, *OF_A_RUN[name], rest), rest
        return super().resolve_command(ctx, args)

    def list_commands(self, ctx: typer.Context) -> list[str]:  # type: ignore[override]
        """Training comes first."""
        return sorted(self.commands, key=lambda name: name != "train")


app = typer.Typer(
    name="gencli",
    cls=Commands,
    help="Train, sample, interpolate, evaluate and export deep generative models of images.",
    no_args_is_help=True,
    rich_markup_mode=help_style.markup_mode(),
    context_settings={"help_option_names": ["-h", "--help"]},
)
train = typer.Typer(
    cls=ModelGroup,
    help="Train a model; prints the run's directory.",
    no_args_is_help=True,
    rich_markup_mode=help_style.markup_mode(),
    subcommand_metavar="MODEL [OPTIONS]",
)


@train.callback()
def _train() -> None:
    """Train a model; prints the run's directory."""


app.add_typer(train, name="train")
for _name, (_function, *_) in OF_A_RUN.items():
    app.command(_name, cls=help_style.GroupedCommand)(with_parameters(_function, ()))
app.command("export", cls=help_style.GroupedCommand)(export)
app.command(
    "sweep",
    cls=help_style.GroupedCommand,
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
)(sweep)
app.command("compare", cls=help_style.GroupedCommand)(compare)
app.command("report", cls=help_style.GroupedCommand)(report)
app.command("reproduce", cls=help_style.GroupedCommand)(reproduce)
app.command("list", cls=help_style.GroupedCommand)(list_)
app.add_typer(runs.group, name="runs")
app.command("inspect", cls=help_style.GroupedCommand)(inspect)
app.command("info", cls=help_style.GroupedCommand)(info)
app.command("doctor", cls=help_style.GroupedCommand)(doctor)


def _version(wanted: bool) -> None:
    if wanted:
        console.emit(f"gencli {gencli.__version__}")
        raise typer.Exit


@app.callback()
def _main(
    ctx: typer.Context,
    quiet: Annotated[
        bool, typer.Option("-q", "--quiet", help="Nothing on stderr but errors.")
    ] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    here = _place()
    if here.world > 1 and ctx.invoked_subcommand not in _SHARED:
        raise UsageError(f"{ctx.invoked_subcommand} is for one process.", "Leave torchrun out.")
    console.set_quiet(quiet or here.rank > 0)
    if (told := environment.without_meaning(os.environ)) is not None:
        console.warning(told)


def run(arguments: list[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: Without the program's name; None takes the process's own.

    Returns:
        The exit code: 0 done, 1 run-time failure, 2 usage, 3 data or network, 4 run or checkpoint,
        5 diverged, 129 SIGHUP, 130 Ctrl-C, 143 SIGTERM.
    """
    console.end()  # a display that somebody else in this process left would take what we say
    with lasting(), sparing_imports(), warnings.catch_warnings():
        others = warnings.showwarning

        def show(message: Warning | str, category: type[Warning], *where: Any) -> None:
            if issubclass(category, GencliWarning):
                console.warning(str(message))
            else:
                others(message, category, *where)

        warnings.showwarning = show  # type: ignore[assignment]
        return _run(sys.argv[1:] if arguments is None else arguments)


def _run(arguments: list[str]) -> int:
    try:
        code = app(arguments, prog_name="gencli", standalone_mode=False) or 0
        return _told(stopped()) if code == 130 else code  # Typer turns Ctrl-C into a number
    except (Exception, KeyboardInterrupt) as failure:
        if type(failure).__name__ == "NoArgsIsHelpError":  # a bare `gencli train` shows its help
            print(failure, file=sys.stderr)
            return 2
        return _told(described(failure, arguments), failure)
    finally:
        outputs.release()
        console.end()


def _told(failure: GencliError, cause: BaseException | None = None) -> int:
    here = _place()
    seen_by_the_first = isinstance(failure, RunError) and here.rank == here.local_rank
    if here.rank and (seen_by_the_first or isinstance(failure, _SAID_BY_THE_FIRST)):
        if isinstance(failure, UsageError | RunError):
            with suppress(KeyboardInterrupt):
                time.sleep(_FOR_THE_FIRST)
        return failure.exit_code
    if here.rank:
        failure.problem = f"process {here.rank}: {failure.problem}"
    console.error(failure, cause)
    return failure.exit_code


def _place() -> Place:
    """This process's; what the environment says wrongly is the command's to tell."""
    try:
        return place_in(os.environ)
    except UsageError:
        return Place()
