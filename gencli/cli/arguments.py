"""Arguments and options that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

from gencli.cli import console, shell_completion

RunArgument = Annotated[
    str,
    typer.Argument(
        metavar="RUN",
        help="A run's directory or name, or a model's name for its newest run.",
        autocompletion=shell_completion.runs,
        show_default=False,
    ),
]
RUNS = typer.Argument(
    metavar="RUN...",
    help="Runs' directories or names, or models' names for their newest runs.",
    autocompletion=shell_completion.runs,
    show_default=False,
)
"""One run or more, for commands that look at them."""

EXACT_RUNS = typer.Argument(
    metavar="RUN...",
    help="Runs' directories or names.",
    autocompletion=shell_completion.run_names,
    show_default=False,
)
"""The same, for commands that cannot be undone."""

Out = Annotated[
    str | None, typer.Option("--out", "-o", help="Where to write; - is stdout.", metavar="PATH|-")
]
Force = Annotated[bool, typer.Option("--force", help="Overwrite an --out that exists.")]
Seed = Annotated[int, typer.Option(help="Seed of the draw.", min=0)]
BatchSize = Annotated[int | None, typer.Option(help="Images per forward pass.", min=1)]
Checkpoint = Annotated[
    str,
    typer.Option(
        help="last, best (on validation), or a step.",
        autocompletion=shell_completion.checkpoints,
    ),
]
Raw = Annotated[bool, typer.Option("--raw", help="The last weights, not their moving average.")]
Device = Annotated[
    str,
    typer.Option(
        help="auto, cpu, cuda, cuda:N or mps.",
        envvar="GENCLI_DEVICE",
        autocompletion=shell_completion.devices,
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
