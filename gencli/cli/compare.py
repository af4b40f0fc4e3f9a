"""`gencli compare RUN...`: one table over runs."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from gencli import comparison, runs
from gencli.cli import console, shell_completion
from gencli.cli.arguments import RUNS, Json, Quiet, be_quiet
from gencli.cli.run_sheet import flag
from gencli.comparison import Figure, Measure, Row, Table
from gencli.errors import UsageError

_BORDER = 3  # characters between two cells


def compare(
    references: Annotated[list[str] | None, RUNS] = None,
    every: Annotated[bool, typer.Option("--all", help="All runs that were evaluated.")] = False,
    data: Annotated[
        str | None,
        typer.Option(
            help="Only figures on this data set.", autocompletion=shell_completion.datasets
        ),
    ] = None,
    csv: Annotated[bool, typer.Option("--csv", help="Print comma-separated values.")] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown tables.")] = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Put the figures of runs side by side, as `evaluate` left them.

    A table is of one data set, split and binarisation; exact figures, bounds and estimates have
    columns of their own. The best is marked (*) where it is better by twice the standard error.
    """
    be_quiet(quiet)
    if csv + markdown + json > 1:
        raise UsageError("One form at a time.", "Give one of --json, --csv and --markdown.")
    chosen = _chosen(references or [], every, data)
    tables = comparison.compare(chosen, data)
    shown = {row.run for table in tables for row in table.rows}
    missing = [run.name for run in chosen if run.name not in shown]
    if missing and references:
        where = f" on {data}" if data else ""
        console.message(f"not evaluated{where}: {', '.join(missing)}")
    if json:
        console.emit_json([_document(table) for table in tables])
    elif csv:
        console.emit(_csv(tables))
    elif markdown:
        console.emit("\n\n".join(_markdown(table) for table in tables))
    else:
        for table in tables:
            _show(table)


def _chosen(references: list[str], every: bool, data: str | None) -> list[runs.Run]:
    if every and references:
        raise UsageError("Runs are named beside --all.", "Give either.")
    if references:
        return list(dict.fromkeys(runs.find(reference) for reference in references))
    if every or data is not None:
        there = runs.all_runs()
        if not there:
            raise UsageError("There are no runs yet.", "Make one: gencli train vae")
        return there
    raise UsageError("Which runs?", "Name two or more, or give --all or --data NAME.")


def _show(table: Table) -> None:
    """One table, or as many as it takes for figures not to be cut short."""
    from rich.table import Table as Grid

    bars, width = console.shows_bars(), console.stdout().width
    for i, measures in enumerate(_that_fit(table, width)):
        title = f"{table.images}, continued" if i else str(table.images)
        grid = Grid(title=title, title_justify="left", pad_edge=False)
        grid.add_column("run", overflow="fold", max_width=width // 4)
        for measure in measures:
            grid.add_column(measure.title, justify="right", max_width=_width(table, measure))
        if i == 0:
            grid.add_column("differs", overflow="fold", max_width=width // 4)
        if i == 0 and bars:
            grid.add_column("loss", no_wrap=True)
        for row in table.rows:
            about = [] if i else [_flags(row), *([row.loss] if bars else [])]
            grid.add_row(row.run, *(_told(table, measure, row) for measure in measures), *about)
        console.emit_table(grid)


def _that_fit(table: Table, width: int) -> list[list[Measure]]:
    """The columns of each table: the first has also what differs and the loss."""

    def widest(*texts: str) -> int:
        return min(max(map(len, texts)), width // 4) + _BORDER

    room = width - widest("run", *(row.run for row in table.rows))
    left = room - widest("differs", *map(_flags, table.rows))
    left -= widest("loss", *(row.loss for row in table.rows))
    groups: list[list[Measure]] = [[]]
    for measure in table.measures:
        needs = _width(table, measure) + _BORDER
        if groups[-1] and needs > left:
            groups.append([])
            left = room
        groups[-1].append(measure)
        left -= needs
    return groups


def _width(table: Table, measure: Measure) -> int:
    """Of a column whose title may be broken between words, and whose figures may not."""
    return max(
        *map(len, measure.title.split()), *(len(_told(table, measure, row)) for row in table.rows)
    )


def _told(table: Table, measure: Measure, row: Row) -> str:
    figure = row.figures.get(measure)
    if figure is None:
        return "-"
    mark = "*" if table.best.get(measure) == row.run else ""
    return f"{_rounded(figure)}{mark}"


def _rounded(figure: Figure) -> str:
    """To two digits of the standard error where that is known: `85.79 ± 0.23`."""
    error = figure.standard_error
    if not error:
        return f"{figure.value:.5g}"
    digits = max(1 - _exponent(error), 0)
    sign = "±" if console.shows_bars() else "+-"
    return f"{figure.value:.{digits}f} {sign} {error:.{digits}f}"


def _exponent(value: float) -> int:
    return int(f"{value:e}".split("e")[1])


def _flags(row: Row) -> str:
    return " ".join(flag(*item) for item in row.differs.items())


def _document(table: Table) -> dict[str, Any]:
    return {
        "data": dict(table.images._asdict()),
        "runs": [
            {
                "run": row.run,
                "model": row.model,
                "differs": row.differs,
                "metrics": [
                    {
                        "key": measure.key,
                        "kind": measure.kind,
                        "unit": measure.unit,
                        "value": figure.value,
                        "standard_error": figure.standard_error,
                        "step": figure.step,
                        "weights": figure.weights,
                        "best": table.best.get(measure) == row.run,
                    }
                    for measure, figure in row.figures.items()
                ],
            }
            for row in table.rows
        ],
    }


def _csv(tables: list[Table]) -> str:
    """A line for each figure: what is compared differs from table to table."""
    import csv
    import io

    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    where = ("data", "split", "binarization")
    writer.writerow(
        ("run", "model", *where, "metric", "kind", "unit", "value", "standard_error", "step")
    )
    for table in tables:
        for row in table.rows:
            for m, figure in row.figures.items():
                error = "" if figure.standard_error is None else figure.standard_error
                writer.writerow(
                    (row.run, row.model, *table.images[:3], m.key, m.kind, m.unit, figure.value,
                     error, figure.step)
                )  # fmt: skip
    return text.getvalue().rstrip("\n")


def _markdown(table: Table) -> str:
    head = ["run", *(measure.title for measure in table.measures), "differs"]
    lines = [f"**{table.images}**", "", _cells(head), _cells(["---"] * len(head))]
    for row in table.rows:
        cells = [_told(table, measure, row).replace("*", " (best)") for measure in table.measures]
        lines.append(_cells([row.run, *cells, _flags(row)]))
    return "\n".join(lines)


def _cells(texts: list[str]) -> str:
    return "| " + " | ".join(text.replace("|", "\\|") for text in texts) + " |"
