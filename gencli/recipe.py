"""Recipes: named settings that come with gencli, and what they reach. No torch here.

A recipe is a TOML file of options for `train --config NAME`. Two tables in it are not for training:

    [figures]           what was measured, by which options, and how long the training took
    [[figures.of]]      a figure: metric, value, error, kind; those published, with their sources
    [curve]             losses over its first steps, for `reproduce NAME --quick`
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from gencli import registry
from gencli.errors import UsageError

FOLDER = Path(__file__).parent / "recipes"

TABLES = ("figures", "curve")
"""What in a file is not for training."""


@dataclass(frozen=True)
class Published:
    """A figure of a paper.

    Attributes:
        value: In the unit of ours.
        source: Authors and year.
        note: What is different about it.
    """

    value: float
    source: str
    note: str = ""


@dataclass(frozen=True)
class Figure:
    """A figure that was measured of a recipe.

    Attributes:
        metric: Its key.
        value: As measured.
        error: Its standard error.
        kind: As `evaluate` says.
        by: How it was measured, for people; nothing where the kind says enough.
        published: Figures of papers to hold against it.
    """

    metric: str
    value: float
    error: float
    kind: Literal["exact", "bound", "estimate"]
    by: str = ""
    published: tuple[Published, ...] = ()

    @property
    def text(self) -> str:
        """Such as `85.79 ± 0.23`."""
        return self.told(self.value, self.error)

    @property
    def sources(self) -> str:
        """What papers have, such as `86.34 (by AIS; Salakhutdinov and Murray 2008)`."""
        told = ((each, f"{each.note}; " if each.note else "") for each in self.published)
        return ", ".join(f"{self.rounded(p.value)} ({note}{p.source})" for p, note in told)

    def told(self, value: float, error: float) -> str:
        """A value in its unit and the error of it, with as many decimals."""
        return f"{self.rounded(value)} ± {self.rounded(error)}"

    def rounded(self, value: float) -> str:
        """A value in its unit, with as many decimals as the recorded one."""
        digits = max(len(str(known).partition(".")[2]) for known in (self.value, self.error))
        return f"{value:,.{digits}f}"


@dataclass(frozen=True)
class Figures:
    """What a recipe reaches.

    Attributes:
        title: What was trained, for people.
        training: How long, in epochs or steps.
        seconds: What that took, in one thread.
        evaluate: Options of `gencli evaluate`.
        of: The figures.
        weights: `average` or `raw`.
        reads: How often the test images were read for the first of them.
        beside: What else the machine did then.
        split: `test` or `val`.
        train: Options of `gencli train` beside `--config`.
    """

    title: str
    training: str
    seconds: int
    evaluate: Mapping[str, Any]
    of: tuple[Figure, ...]
    weights: str
    reads: int
    beside: str = ""
    split: Literal["test", "val"] = "test"
    train: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Curve:
    """Losses over the first steps, in one thread on a CPU.

    Attributes:
        loss: Its name in metrics.jsonl; each value is a mean over the steps since the one before.
        steps: Where.
        values: Of seed 0, or of the recipe's own.
        tolerance: How far another training may be from them: see docs/record_curves.py.
    """

    loss: str
    steps: tuple[int, ...]
    values: tuple[float, ...]
    tolerance: float


@dataclass(frozen=True)
class Recipe:
    """A recipe.

    Attributes:
        name: Of its file.
        options: Of `train`.
        figures: What it reaches, where that was measured.
        curve: Its first losses, where they were recorded.
    """

    name: str
    options: Mapping[str, Any]
    figures: Figures | None
    curve: Curve | None

    @property
    def model(self) -> str:
        """The model that it trains."""
        return str(self.options["model"])

    def commands(self) -> list[str]:
        """The lines that train and measure it."""
        lines = [_line("train", self.model, {"config": self.name})]
        if self.figures is not None:
            more = self.figures.train or {}
            lines = [_line("train", self.model, {"config": self.name, **more})]
            lines.append(_line("evaluate", self.model, {**self.figures.evaluate, "json": True}))
        return lines


def _line(command: str, model: str, options: Mapping[str, Any]) -> str:
    flags = ((f"--{name.replace('_', '-')}", value) for name, value in options.items())
    words = [flag if value is True else f"{flag} {value}" for flag, value in flags]
    return " ".join(["gencli", command, model, *words])


def names() -> list[str]:
    """Of the recipes that come with gencli."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def path_of(name: str) -> Path:
    """The file of a recipe.

    Raises:
        UsageError: If there is none.
    """
    there = names()
    if name not in there:
        near = registry.nearest(name, there)
        raise UsageError(
            f"There is no file and no recipe called {name}.",
            f"Did you mean {near}?" if near else f"Recipes: {', '.join(there)}.",
        )
    return FOLDER / f"{name}.toml"


def find(name: str) -> Recipe:
    """The recipe of that name.

    Raises:
        UsageError: If there is none.
    """
    document = tomllib.loads(path_of(name).read_text(encoding="utf-8"))
    figures, curve = (document.pop(table, None) for table in TABLES)
    return Recipe(
        name,
        document,
        None if figures is None else _figures(figures),
        None if curve is None else Curve(**{k: _frozen(v) for k, v in curve.items()}),
    )


def _figures(table: dict[str, Any]) -> Figures:
    of = tuple(
        Figure(**{**row, "published": tuple(Published(**p) for p in row.get("published", ()))})
        for row in table["of"]
    )
    return Figures(**{**table, "of": of})


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
