"""`gencli reproduce RECIPE`: its figures now beside the recorded and the published ones."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from gencli import recipe
from gencli.cli import console
from gencli.errors import GencliError
from gencli.recipe import Recipe
from gencli.wording import spoken

if TYPE_CHECKING:
    from gencli.recipe_runs import OnCurve, Reached


def show_list(json: bool) -> None:
    """The recipes, with what they reach and what that takes."""
    from rich.table import Table

    found = [recipe.find(name) for name in recipe.names()]
    if json:
        console.emit_json([_facts(each) for each in found])
        return
    table = Table(pad_edge=False)
    for column in ("recipe", "figures", "published", "training", "--quick"):
        table.add_column(column, overflow="fold")
    for each in found:
        figures = each.figures
        of = () if figures is None else figures.of
        table.add_row(
            each.name,
            "\n".join(f"{figure.metric} {_plain(figure.text)}" for figure in of),
            "\n".join(figure.sources for figure in of),
            "" if figures is None else f"{figures.training}, {spoken(figures.seconds)}",
            "" if each.curve is None else f"{each.curve.steps[-1]} steps",
        )
    console.emit_table(table)


def _facts(each: Recipe) -> dict[str, Any]:
    return {
        "name": each.name,
        "model": each.model,
        "figures": None if each.figures is None else dataclasses.asdict(each.figures),
        "curve": None if each.curve is None else dataclasses.asdict(each.curve),
        "commands": each.commands(),
    }


def whole(each: Recipe, name: str | None, json: bool) -> None:
    """Train a recipe, measure it, and hold its figures against the recorded ones."""
    from gencli import recipe_runs

    if each.figures is not None:
        took = spoken(each.figures.seconds)
        console.message(f"{each.name}: the training took {took} when it was recorded")
    with console.counting() as progress:
        run, found = recipe_runs.whole(
            each, name=name, reporter=console.the_display(), progress=progress
        )
    passed = all(reached.passed for reached in found)
    if json:
        figures = [{"passed": reached.passed, **dataclasses.asdict(reached)} for reached in found]
        document = {"recipe": each.name, "run": str(run.path), "passed": passed}
        console.emit_json({**document, "figures": figures})
    else:
        _show_figures(each.name, found)
    if not passed:
        raise GencliError(
            f"{each.name} does not reach its figures.", f"Look at the run: gencli info {run.name}"
        )


def _show_figures(name: str, found: Sequence[Reached]) -> None:
    from rich.table import Table

    table = Table(title=name, title_justify="left", pad_edge=False)
    table.add_column("metric")
    for column in ("now", "recorded"):
        table.add_column(column, justify="right")
    table.add_column("published", overflow="fold")
    table.add_column("")
    for reached in found:
        figure = reached.recorded
        now = figure.told(reached.value, reached.error)
        table.add_row(
            f"{figure.metric} ({figure.kind})", _plain(now), _plain(figure.text),
            figure.sources, "pass" if reached.passed else "fail",
        )  # fmt: skip
    console.emit_table(table)


def quick(chosen: Sequence[Recipe], json: bool) -> None:
    """Train the first steps of recipes; runs that are on their recipe's curve are removed again."""
    from gencli import housekeeping, recipe_runs

    found: list[tuple[Recipe, str, OnCurve]] = []
    for each in chosen:
        console.message(f"{each.name}: the first steps")
        with console.counting() as progress:
            run, on = recipe_runs.quick(each, reporter=console.the_display(), progress=progress)
        found.append((each, str(run.path), on))
        if on.passed:
            housekeeping.remove(run)
    if json:
        console.emit_json([_quick_facts(*row) for row in found])
    else:
        _show_curves(found)
    off = [each.name for each, _, on in found if not on.passed]
    if off:
        raise GencliError(
            f"Not on the recorded curve: {', '.join(off)}.",
            "Look at the runs, which are kept: gencli runs list",
        )


def _quick_facts(each: Recipe, run: str, on: OnCurve) -> dict[str, Any]:
    facts = {"recipe": each.name, "passed": on.passed, **dataclasses.asdict(on)}
    return facts if on.passed else {**facts, "run": run}


def _show_curves(found: Sequence[tuple[Recipe, str, OnCurve]]) -> None:
    from rich.table import Table

    table = Table(pad_edge=False)
    for column in ("recipe", "loss"):
        table.add_column(column)
    for column in ("steps", "recorded", "now", "furthest", "tolerance"):
        table.add_column(column, justify="right")
    table.add_column("")
    for each, _, on in found:
        curve = on.curve
        table.add_row(
            each.name, curve.loss, str(curve.steps[-1]), f"{curve.values[-1]:.5g}",
            f"{on.values[-1]:.5g}", f"{on.furthest:.2g}", f"{curve.tolerance:.2g}",
            "pass" if on.passed else "fail",
        )  # fmt: skip
    console.emit_table(table)


def _plain(text: str) -> str:
    """Without a sign that stdout cannot show."""
    return text if console.shows_bars() else text.replace("±", "+-")
