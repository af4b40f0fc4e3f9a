"""`gencli list models|datasets|runs`: what there is."""

from __future__ import annotations

import time
from typing import Annotated, Any, Literal

import typer

from gencli import registry, runs
from gencli.cli import console
from gencli.cli.arguments import Json, Quiet, be_quiet
from gencli.data import catalogue


def list_(
    what: Annotated[Literal["models", "datasets", "runs"], typer.Argument(help="What to list.")],
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """List models, data sets or runs."""
    be_quiet(quiet)
    rows = {"models": _models, "datasets": _datasets, "runs": _runs}[what]()
    if json:
        console.emit_json(rows)
        return
    from rich.table import Table

    grid = Table(box=None, header_style="bold")
    for name in rows[0] if rows else ():
        grid.add_column(name, no_wrap=name in ("name", "model"))
    for row in rows:
        grid.add_row(*(_text(value) for value in row.values()))
    if rows:
        console.emit_table(grid)
    else:
        console.message("No runs yet. Make one: gencli train vae")


def _text(value: Any) -> str:
    if isinstance(value, tuple):
        return "x".join(map(str, value))
    return " ".join(value) if isinstance(value, list) else str(value)


def _models() -> list[dict[str, Any]]:
    return [
        {
            "name": spec.name,
            "family": spec.family,
            "summary": spec.summary,
            "paper": spec.paper,
            "capabilities": sorted(spec.capabilities),
        }
        for spec in registry.models().values()
    ]


def _datasets() -> list[dict[str, Any]]:
    shown = ("name", "summary", "shape", "n_train", "n_val", "n_test", "source")
    return [{key: getattr(entry, key) for key in shown} for entry in catalogue.DATASETS]


def _runs() -> list[dict[str, Any]]:
    found = []
    for run in runs.all_runs():
        checkpoints = run.checkpoints()
        created = time.strftime("%Y-%m-%d %H:%M", time.localtime(run.record["created"]))
        found.append(
            {
                "name": run.name,
                "model": run.model,
                "data": run.record["data"]["name"],
                "status": run.status,
                "step": checkpoints[-1].step if checkpoints else 0,
                "created": created,
            }
        )
    return found
