"""Recipes tried: trained whole and measured, or trained for their first steps."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from gencli import curves, registry
from gencli.config import Options, parse_groups
from gencli.data.options import DataOptions
from gencli.errors import UsageError
from gencli.evaluation.results import SURE
from gencli.kinds import Progress
from gencli.measured import measure
from gencli.recipe import Curve, Figure, Recipe
from gencli.runs import Run
from gencli.training import session
from gencli.training.reporter import Reporter
from gencli.training.settings import Settings
from gencli.training.state import State
from gencli.training.trainer import Trainer


@dataclass(frozen=True)
class Reached:
    """A figure of a recipe, and what it is now.

    Attributes:
        recorded: The recipe's, with those of papers.
        value: Now.
        error: Its standard error.
    """

    recorded: Figure
    value: float
    error: float

    @property
    def passed(self) -> bool:
        """Whether it is the recorded one within two standard errors of the difference."""
        apart = abs(self.value - self.recorded.value)
        return apart <= SURE * math.hypot(self.error, self.recorded.error)


@dataclass(frozen=True)
class OnCurve:
    """The first losses of a recipe, and what they are now.

    Attributes:
        curve: The recipe's.
        values: Now, at its steps; NaN where there is none.
    """

    curve: Curve
    values: tuple[float, ...]

    @property
    def furthest(self) -> float:
        """The largest distance from the curve."""
        pairs = zip(self.values, self.curve.values, strict=True)
        apart = [abs(now - then) for now, then in pairs]
        return math.nan if any(map(math.isnan, apart)) else max(apart)

    @property
    def passed(self) -> bool:
        """Whether all are within the tolerance."""
        return self.furthest <= self.curve.tolerance


def whole(
    recipe: Recipe, *, name: str | None, reporter: Reporter, progress: Progress | None = None
) -> tuple[Run, list[Reached]]:
    """Train a recipe and measure it by the options that its figures were measured by.

    Args:
        recipe: One with figures.
        name: Of the run; None makes one up.
        reporter: Shows the training.
        progress: Told of the loading of the data and of what is measured.

    Raises:
        UsageError: If the recipe has no figures.
        GencliError: As a training may fail.
    """
    figures = recipe.figures
    if figures is None:
        raise UsageError(
            f"{recipe.name} has no recorded figures.", "`gencli reproduce --list` shows which have."
        )
    run, *_ = _start(recipe, figures.train or {}, name, reporter, progress)
    options = dict(figures.evaluate)
    checkpoint = str(options.pop("checkpoint", "last"))
    options["metrics"] = options["metrics"].split(",")
    found = measure(
        run, options, checkpoint=checkpoint, split=figures.split, raw=False, progress=progress
    )
    return run, [
        Reached(figure, found[figure.metric].value, found[figure.metric].standard_error or 0.0)
        for figure in figures.of
    ]


def quick(
    recipe: Recipe, *, reporter: Reporter, progress: Progress | None = None
) -> tuple[Run, OnCurve]:
    """Train a recipe's first steps and hold their losses against its curve.

    Args:
        recipe: One with a curve.
        reporter: Shows the training.
        progress: Told of the loading of the data.

    Raises:
        UsageError: If the recipe has no curve.
        GencliError: As a training may fail.
    """
    curve = recipe.curve
    if curve is None:
        raise UsageError(
            f"{recipe.name} has no recorded curve.", "`gencli reproduce --list` shows which have."
        )
    trainer, found = first_losses(
        recipe, curve.steps[-1], curve.steps[0], reporter=reporter, progress=progress
    )
    there = dict(found.get(curve.loss, ()))
    return trainer.run, OnCurve(curve, tuple(there.get(step, math.nan) for step in curve.steps))


def first_losses(
    recipe: Recipe,
    steps: int,
    every: int,
    *,
    reporter: Reporter,
    progress: Progress | None = None,
    **settings: Any,
) -> tuple[Trainer, dict[str, list[tuple[int, float]]]]:
    """The losses of a recipe's first steps, by name, as (step, mean since the step before).

    The learning rate and all else go their way towards the recipe's own end.

    Args:
        recipe: Any.
        steps: How many.
        every: Steps between two values.
        reporter: Shows the training.
        progress: Told of the loading of the data.
        **settings: More of the training's settings.
    """
    given = {"log_every": every, "sample_every": 0, **settings}
    _, trainer, _ = _start(recipe, given, None, reporter, progress, stop_after=steps)
    series = curves.curves(trainer.run)
    return trainer, {name: list(_multiples(points, every)) for name, points in series.items()}


def _multiples(points: list[tuple[int, float]], every: int) -> Iterator[tuple[int, float]]:
    """Without those at the ends of epochs."""
    yield from (point for point in points if point[0] % every == 0)


def _start(
    recipe: Recipe,
    more: Mapping[str, Any],
    name: str | None,
    reporter: Reporter,
    progress: Progress | None,
    stop_after: int | None = None,
) -> tuple[Run, Trainer, State]:
    spec = registry.find(recipe.model)
    groups: tuple[type[Options], ...] = (spec.options(), DataOptions, Settings)
    options = {**recipe.options, **more}
    del options["model"]
    if "steps" in more:
        options.pop("epochs", None)
    own, about_data, settings = parse_groups(groups, options)
    return session.start(
        spec.name,
        own,
        DataOptions(**about_data),
        settings,
        name=name,
        reporter=reporter,
        progress=progress,
        origins={"sources": {}, "file": {"name": recipe.name, "text": ""}},
        stop_after=stop_after,
    )
