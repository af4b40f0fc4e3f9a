"""`gencli info MODEL|DATASET|RUN`: one of them in full."""

from __future__ import annotations

import dataclasses
import sys
import textwrap
from typing import Annotated, Any

import typer

from gencli import overview, registry, runs
from gencli.cli import console, run_sheet, shell_completion
from gencli.cli.arguments import Force, Json, Quiet, be_quiet
from gencli.cli.outputs import announce, target
from gencli.config import fields_of, takes
from gencli.data import catalogue
from gencli.errors import RunError, UsageError


def info(
    subject: Annotated[
        str,
        typer.Argument(
            metavar="MODEL|DATASET|RUN",
            autocompletion=shell_completion.anything,
            show_default=False,
        ),
    ],
    filters: Annotated[
        str | None,
        typer.Option(help="Write a run's filters (rbm, ppca, ...) as a picture.", metavar="PATH|-"),
    ] = None,
    force: Force = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Show a model, a data set or a run in full."""
    be_quiet(quiet)
    if filters is not None:
        _filters(subject, filters, force)
        return
    document = _describe(subject)
    if json:
        console.emit_json(document)
    elif "path" in document:
        for line in run_sheet.lines(document):
            _emit(line, run_sheet.HEAD)
    else:
        _show(document)


def _describe(subject: str) -> dict[str, Any]:
    if subject in registry.names():
        return _model(registry.find(subject))
    if subject in catalogue.names():
        return dataclasses.asdict(catalogue.find(subject))
    try:
        run = runs.find(subject)
    except RunError as error:
        known = [*registry.names(), *catalogue.names(), *(run.name for run in runs.all_runs())]
        near = registry.nearest(subject, known)
        raise UsageError(
            f"{subject} is no model, data set or run.",
            f"Did you mean {near}?" if near else error.cure,
        ) from None
    return overview.describe(run)


def _model(spec: registry.ModelSpec) -> dict[str, Any]:
    config = spec.options()
    return {
        "name": spec.name,
        "family": spec.family,
        "summary": spec.summary,
        "paper": spec.paper,
        "abilities": sorted(spec.abilities),
        "aliases": list(spec.aliases),
        "options": {
            field.name: {
                "default": field.default,
                "type": takes(field),
                "help": field.help,
            }
            for field in fields_of(config)
        },
        "training": dataclasses.asdict(config.training),
    }


def _filters(reference: str, out: str, force: bool) -> None:
    from gencli import loading
    from gencli.models.abilities import HasFilters, having
    from gencli.viz.filters import filter_sheet
    from gencli.viz.grid import write_png

    model = loading.load(reference, device="cpu")
    if not isinstance(model.model, HasFilters):
        raise UsageError(
            f"{model.run.model} has no filters to show.", f"These do: {having('filters')}."
        )
    where = target(out, force, model.run, "filters", ".png")
    write_png(filter_sheet(model.model.filters()), where)
    announce(where)


def _show(document: dict[str, Any], indent: str = "") -> None:
    for key, value in document.items():
        if isinstance(value, dict):
            console.emit(f"{indent}{key}:")
            _show(value, indent + "  ")
        elif isinstance(value, list | tuple):
            _emit(f"{indent}{key}: {', '.join(map(str, value)) or '-'}", len(indent) + 2)
        else:
            _emit(f"{indent}{key}: {_word(value)}", len(indent) + 2)


def _word(value: object) -> str:
    """As a person types it: true and false as in a TOML file."""
    return "-" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _emit(line: str, indent: int) -> None:
    """A line; on a terminal that is narrower it is broken at words, the rest indented."""
    if not sys.stdout.isatty():
        console.emit(line)
        return
    parts = textwrap.wrap(
        line, console.stdout().width,
        subsequent_indent=" " * indent,
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip
    for part in parts or [""]:
        console.emit(part)
