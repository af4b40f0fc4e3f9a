"""The command line's entry: the tree of commands, and errors as two lines and an exit code."""

from __future__ import annotations

import sys
from typing import Annotated

import typer
from typer.core import TyperGroup

import gencli
from gencli.cli import console
from gencli.cli.doctor import doctor
from gencli.cli.evaluate import evaluate
from gencli.cli.export import export
from gencli.cli.info import info
from gencli.cli.interpolate import interpolate
from gencli.cli.list import list_
from gencli.cli.sample import sample
from gencli.cli.streams import lasting
from gencli.cli.train import ModelGroup
from gencli.errors import GencliError, UsageError


class Commands(TyperGroup):
    """The commands in the order of their use."""

    def list_commands(self, ctx: typer.Context) -> list[str]:  # type: ignore[override]
        """Training comes first."""
        return sorted(self.commands, key=lambda name: name != "train")


app = typer.Typer(
    name="gencli",
    cls=Commands,
    help="Train, sample, interpolate, evaluate and export deep generative models of images.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
train = typer.Typer(
    cls=ModelGroup,
    help="Train a model; prints the run's directory.",
    no_args_is_help=True,
    subcommand_metavar="MODEL [OPTIONS]",
)


@train.callback()
def _train() -> None:
    """Train a model; prints the run's directory."""


app.add_typer(train, name="train")
app.command("sample")(sample)
app.command("interpolate")(interpolate)
app.command("evaluate")(evaluate)
app.command("export")(export)
app.command("list")(list_)
app.command("info")(info)
app.command("doctor")(doctor)


def _version(wanted: bool) -> None:
    if wanted:
        console.emit(f"gencli {gencli.__version__}")
        raise typer.Exit


@app.callback()
def _main(
    quiet: Annotated[
        bool, typer.Option("-q", "--quiet", help="Nothing on stderr but errors.")
    ] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    console.set_quiet(quiet)


def run(arguments: list[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: Without the program's name; None takes the process's own.

    Returns:
        The exit code: 0 done, 1 run-time failure, 2 usage, 3 data or network, 4 run or checkpoint,
        5 diverged, 129 SIGHUP, 130 Ctrl-C, 143 SIGTERM.
    """
    with lasting():
        return _run(arguments)


def _run(arguments: list[str] | None) -> int:
    try:
        return app(arguments, prog_name="gencli", standalone_mode=False) or 0
    except GencliError as failure:
        console.error(failure)
        return failure.exit_code
    except typer.TyperException as failure:
        return _usage(failure)
    except (KeyboardInterrupt, typer.Abort):
        console.error(GencliError("Stopped.", "Run the command again to start over."))
        return 130
    except OSError as failure:
        problem = f"{failure.strerror or failure}: {failure.filename or 'input or output'}."
        console.error(GencliError(problem, "Check the path, its permissions and the free space."))
        return 1
    finally:
        console.end()


def _usage(failure: typer.TyperException) -> int:
    context = getattr(failure, "ctx", None)
    path = context.command_path if context is not None else "gencli"
    text = failure.format_message() if hasattr(failure, "format_message") else str(failure)
    if type(failure).__name__ == "NoArgsIsHelpError":  # a bare `gencli train` shows its help
        print(text, file=sys.stderr)
        return 2
    near = getattr(failure, "possibilities", None)  # of an option that there is not
    if near:
        text = text.partition(" (")[0] + "."
        console.error(UsageError(text, f"Did you mean {' or '.join(near)}? See {path} --help"))
    else:
        console.error(UsageError(" ".join(text.split()), f"{path} --help"))
    return 2
