"""`gencli reproduce RUN|RECIPE`: train it again, and say what is the same."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gencli import recipe, runs
from gencli.cli import console, reproduce_recipe, shell_completion
from gencli.cli.arguments import Json, Quiet, be_quiet
from gencli.errors import GencliError, UsageError
from gencli.runs import Run
from gencli.wording import counted

if TYPE_CHECKING:
    from gencli.reproduction import Part, Reproduction

_NAMED = 4


def reproduce(
    which: Annotated[
        str | None,
        typer.Argument(
            metavar="RUN|RECIPE",
            help="A run's directory or name, a model's for its newest run, or a recipe's name.",
            autocompletion=shell_completion.reproducible,
            show_default=False,
        ),
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="All recipes, with --quick.")] = False,
    quick: Annotated[
        bool,
        typer.Option("--quick", help="Only a recipe's first steps, against its recorded losses."),
    ] = False,
    listed: Annotated[
        bool, typer.Option("--list", help="List the recipes and what they reach.")
    ] = False,
    name: Annotated[str | None, typer.Option(help="Name of the new run.")] = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train a run or a recipe again, and say what is the same.

    A run is trained from what it records, into a new one: tensors of the checkpoints are compared
    bit for bit, losses and evaluations within twice their error where bits differ. A recipe is
    trained and measured: its figures now stand beside the recorded and the published ones. Exit
    code 1 if a bit differs, or a figure by more than twice its error.
    """
    be_quiet(quiet)
    if listed:
        reproduce_recipe.show_list(json)
        return
    if (which is None) != every:
        raise UsageError("Again what?", "Name a run or a recipe, or see --list.")
    if every and not quick:
        raise UsageError("All recipes take hours.", "Give --quick with --all, or name one.")
    if every:
        there = [recipe.find(known) for known in recipe.names()]
        reproduce_recipe.quick([each for each in there if each.curve is not None], json)
    elif which in recipe.names():
        if quick:
            reproduce_recipe.quick([recipe.find(which)], json)
        else:
            reproduce_recipe.whole(recipe.find(which), name, json)
    elif which is not None:
        if quick:
            raise UsageError("--quick is for recipes.", "`gencli reproduce --list` shows them.")
        _run_again(runs.find(which), name, json)


def _run_again(old: Run, name: str | None, json: bool) -> None:
    console.begin("loading PyTorch")
    from gencli import reproduction

    console.message(f"{old.model}: run {old.name}, trained again")
    with console.counting() as progress:
        found = reproduction.reproduce(
            old, name=name, reporter=console.the_display(), progress=progress
        )
    if json:
        console.emit_json(_document(found))
    else:
        _show(found)
    if not found.equal:
        raise GencliError(f"{found.new.name} is not {old.name} to the last bit.", _cure(found))


def _cure(found: Reproduction) -> str:
    if found.notes:
        return "Make alike what differs around the two: " + "; ".join(found.notes)
    return f"Look at what differs between the two: gencli compare {found.old.name} {found.new.name}"


def _document(found: Reproduction) -> dict[str, Any]:
    return {
        "run": str(found.old.path),
        "again": str(found.new.path),
        "equal": found.equal,
        "notes": found.notes,
        "tensors": [
            {
                "step": part.step,
                "file": part.file,
                "equal": part.equal,
                "not_equal": {n: d if d < float("inf") else None for n, d in part.others.items()},
            }
            for part in found.parts
        ],
        "figures": [{**dataclasses.asdict(f), "verdict": f.verdict} for f in found.figures],
    }


def _show(found: Reproduction) -> None:
    from rich.table import Table

    table = Table(
        title=f"{found.old.name}, and again as {found.new.name}", title_justify="left",
        pad_edge=False,
    )  # fmt: skip
    table.add_column("what", overflow="fold")
    for column in ("then", "now"):
        table.add_column(column, justify="right")
    table.add_column("verdict", overflow="fold")
    for part in found.parts:
        where = f"{part.file}.safetensors, step {part.step:,}"
        table.add_row(where, "", "", _told(part))
    for figure in found.figures:
        verdict: str = figure.verdict
        if verdict == "within error":
            verdict += f" ({figure.error:.2g})"
        table.add_row(figure.name, f"{figure.before:.6g}", f"{figure.after:.6g}", verdict)
    console.emit_table(table)


def _told(part: Part) -> str:
    told = f"{counted(part.equal, 'tensor')} equal"
    if not part.others:
        return told
    named = [
        f"{name} (by {apart:.2g})" if apart < float("inf") else f"{name} (another shape, or none)"
        for name, apart in list(part.others.items())[:_NAMED]
    ]
    more = f" and {len(part.others) - _NAMED} more" if len(part.others) > _NAMED else ""
    return f"{told}, {len(part.others)} not: {', '.join(named)}{more}"
