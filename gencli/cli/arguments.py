"""Arguments and options that several commands share."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, BinaryIO

import typer

from gencli.cli import console, shell_completion
from gencli.errors import UsageError
from gencli.home import user_path
from gencli.runs import Run

RunArgument = Annotated[
    str,
    typer.Argument(
        metavar="RUN",
        help="A run's directory or name, or a model's name for its newest run.",
        autocompletion=shell_completion.runs,
        show_default=False,
    ),
]
Out = Annotated[
    str | None, typer.Option("--out", "-o", help="Where to write; - is stdout.", metavar="PATH|-")
]
Force = Annotated[bool, typer.Option("--force", help="Overwrite an --out that exists.")]
Seed = Annotated[int, typer.Option(help="Seed of the draw.", min=0)]
BatchSize = Annotated[int | None, typer.Option(help="Images per forward pass.", min=1)]
Checkpoint = Annotated[str, typer.Option(help="last, best (on validation), or a step.")]
Raw = Annotated[bool, typer.Option("--raw", help="The last weights, not their moving average.")]
Device = Annotated[
    str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.", envvar="GENCLI_DEVICE")
]
SOME_MODELS = "Options of some models"
Temperature = Annotated[
    float | None, typer.Option(help="Below 1: safer, alike.", min=0, rich_help_panel=SOME_MODELS)
]
Steps = Annotated[
    int | None,
    typer.Option(
        help="Steps of a diffusion sampler or a chain.", min=1, rich_help_panel=SOME_MODELS
    ),
]
Sampler = Annotated[
    str | None,
    typer.Option(help="Diffusion: ddpm, ddim, dpm++ or sde-dpm++.", rich_help_panel=SOME_MODELS),
]
Guidance = Annotated[
    float | None,
    typer.Option(
        help="Conditional diffusion: 0 ignores the label, 1 is plain, more insists.",
        rich_help_panel=SOME_MODELS,
    ),
]
Caption = Annotated[
    bool, typer.Option("--caption", help="Write run, step and seed under the picture.")
]
Json = Annotated[bool, typer.Option("--json", help="Print a JSON document.")]
Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="Nothing on stderr but errors.")]


def be_quiet(quiet: bool) -> None:
    """Apply a command's own -q; the one before the command stays in force."""
    console.set_quiet(quiet or console.is_quiet())


def target(out: str | None, force: bool, run: Run, stem: str, suffix: str) -> Path | BinaryIO:
    """Where a command writes: --out, stdout for `-`, or a new path under the run's outputs/.

    Args:
        out: What --out says.
        force: Whether an existing path may be overwritten.
        run: The run.
        stem: Of a new file's name.
        suffix: Of a new file's name, or empty for a folder.

    Raises:
        UsageError: If the path exists, or stdout is a terminal.
    """
    if out == "-":
        if suffix == "":
            raise UsageError("A folder of images cannot go to stdout.", "Use --format npz --out -.")
        if sys.stdout.isatty():
            raise UsageError("stdout is a terminal.", "Redirect it: --out - > FILE.")
        return sys.stdout.buffer
    if out is None:
        return run.new_output(stem, suffix)
    path = user_path(out)
    if path.exists() and not force:
        raise UsageError(f"{path} exists.", "Choose another --out, or overwrite it with --force.")
    if not path.parent.is_dir():
        raise UsageError(f"There is no folder {path.parent}.", f"mkdir -p {path.parent}")
    return path


def announce(written: Path | BinaryIO) -> None:
    """Print the path written; data that went to stdout speak for themselves."""
    if isinstance(written, Path):
        console.emit(str(written))
