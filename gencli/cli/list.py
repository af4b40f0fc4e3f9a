"""`gencli list models|datasets|runs`: what there is."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from gencli import evaluations, overview, registry, runs
from gencli.cli import console
from gencli.cli.arguments import Json, Quiet, be_quiet
from gencli.data import catalogue
from gencli.runs import Run
from gencli.wording import readable_bytes, spoken


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
    if what != "runs":
        _print_catalogue(rows)
    elif rows:
        _print_table([_for_people(row) for row in rows])
    else:
        console.message("No runs yet. Make one: gencli train vae")


_ROOM = {
    **dict.fromkeys(("name", "summary", "shape", "n_train"), 0),
    **{"n_test": 80, "n_val": 90, "paper": 90, "source": 110},
}
"""Cells that a terminal must have for a column of models or data sets; 130 for one not named."""


def _print_catalogue(rows: list[dict[str, Any]]) -> None:
    """Models by family, or data sets: names and summaries at any width, the rest where it fits."""
    from rich.table import Table

    width = console.stdout().width
    wanted = [name for name in rows[0] if _ROOM.get(name, 130) <= width and name != "family"]
    families = list(dict.fromkeys(row.get("family", "") for row in rows))
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in wanted:
        right = name.startswith("n_")
        table.add_column(
            name, no_wrap=name not in ("summary", "paper", "source"), overflow="fold",
            justify="right" if right else "left",
        )  # fmt: skip
    for family in families:
        if family:
            table.add_row(family, style="bold")
        for row in rows:
            if row.get("family", "") == family:
                name, *others = (_text(row[column]) for column in wanted)
                table.add_row("  " * bool(family) + name, *others)
    console.emit_table(table)


def _print_table(rows: list[dict[str, Any]]) -> None:
    """As many of the columns as the terminal holds; what is not a terminal gets them all."""
    from rich.measure import Measurement
    from rich.table import Table

    def grid(columns: list[str]) -> Table:
        table = Table(box=None, header_style="bold", pad_edge=False)
        for name in columns:
            right = name in ("step", "value", "size", "trained")
            table.add_column(name, no_wrap=True, justify="right" if right else "left")
        for row in rows:
            table.add_row(*(_text(row[name]) for name in columns))
        return table

    columns = list(rows[0])
    printer = console.stdout()
    for name in ("", *_LEAST_WANTED):
        if name in columns:
            columns.remove(name)
        table = grid(columns)
        natural = Measurement.get(printer, printer.options.update(width=1000), table).maximum
        if natural <= printer.width:
            break
    console.emit_table(table)


def _for_people(row: dict[str, Any]) -> dict[str, str]:
    value = "-" if row["value"] is None else f"{row['value']:.4g}"
    shown = {
        "value": value,
        "metric": row["metric"] or "-",
        "trained": spoken(row["trained"]),
        "size": readable_bytes(row["size"]),
    }
    return row | shown


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
            "abilities": sorted(spec.abilities),
        }
        for spec in registry.models().values()
    ]


def _datasets() -> list[dict[str, Any]]:
    shown = ("name", "summary", "shape", "n_train", "n_val", "n_test", "source")
    return [{key: getattr(entry, key) for key in shown} for entry in catalogue.DATASETS]


_LEAST_WANTED = ("created", "data", "model", "size", "trained", "step")
"""Columns of runs that go first where the terminal is narrow."""


def _runs() -> list[dict[str, Any]]:
    return [_run(run) for run in runs.all_runs()]


def _run(run: Run) -> dict[str, Any]:
    state, figure = overview.state(run), evaluations.main_figure(run)
    return {
        "name": run.name,
        "model": run.model,
        "data": Path(str(run.record["data"]["name"])).name,
        "status": run.status,
        "step": max((checkpoint.step for checkpoint in run.checkpoints()), default=0),
        "metric": figure[0] if figure else None,
        "value": figure[1] if figure else None,
        "trained": round(float(state.get("seconds", 0.0)), 1),
        "size": overview.size(run.path),
        "created": time.strftime("%Y-%m-%d %H:%M", time.localtime(run.record["created"])),
    }
