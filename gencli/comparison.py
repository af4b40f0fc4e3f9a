"""Figures of several runs side by side, only where they can be. No torch here.

A table is of one set of images: data, split and binarisation. A column is of one measure: exact
figures, bounds and estimates never share one, nor do different judges, units or numbers of samples.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from gencli import curves, evaluations, overview, registry
from gencli.errors import UsageError
from gencli.evaluation.results import (
    INCEPTION,
    JUDGED,
    KEYS,
    LOWER_IS_BETTER,
    NEITHER_IS_BETTER,
    OUTLIERS,
    SURE,
)
from gencli.runs import Run
from gencli.wording import counted


class Images(NamedTuple):
    """What was measured on: a data set as its files were, a split, a binarisation.

    Figures that tell the images from others (`--outliers`) are those of a table of their own.
    """

    data: str
    split: str
    binarization: str
    fingerprint: str
    told_from: str = ""

    def __str__(self) -> str:
        name = Path(self.data).name
        how = "" if self.binarization == "none" else f", {self.binarization} binarisation"
        others = f", told from {Path(self.told_from).name}" if self.told_from else ""
        return f"{name}, {self.split} split{how}{others}"


class Measure(NamedTuple):
    """A column: a metric's key with its judge, exact or not, its unit, and how it was taken."""

    key: str
    kind: str
    unit: str
    how: str

    @property
    def title(self) -> str:
        """Such as `nll (exact)`; measures of samples are all estimates."""
        kind = "" if self.key.split("@")[0] in JUDGED | INCEPTION else f" ({self.kind})"
        return f"{self.key}{kind}{self.how}"

    @property
    def lower_is_better(self) -> bool:
        """Whether a smaller figure is the better one."""
        return self.key.split("@")[0] in LOWER_IS_BETTER


@dataclass(frozen=True)
class Figure:
    """A measured value, with its standard error where it is known."""

    value: float
    standard_error: float | None
    step: int | None
    weights: str


@dataclass(frozen=True)
class Row:
    """A run in a table.

    Attributes:
        run: Its name.
        model: Its model's.
        differs: The options in which it is not as the others, by name.
        loss: Its training loss, as a line of small bars.
        figures: The newest figure of each measure.
    """

    run: str
    model: str
    differs: Mapping[str, Any]
    loss: str
    figures: Mapping[Measure, Figure]


@dataclass(frozen=True, repr=False)
class Table:
    """Runs that were measured on the same images.

    Attributes:
        images: On what.
        measures: Its columns.
        rows: Its runs.
        best: The run that is better than all others by more than the error, by measure.
    """

    images: Images
    measures: Sequence[Measure]
    rows: Sequence[Row]
    best: Mapping[Measure, str] = field(default_factory=dict)

    def __repr__(self) -> str:
        """Such as `<2 runs on glyphs, test split: nll_bound (bound), reconstruction (exact)>`."""
        measures = ", ".join(measure.title for measure in self.measures)
        return f"<{counted(len(self.rows), 'run')} on {self.images}: {measures}>"

    def __str__(self) -> str:
        """A line for each run: its name, its figures, and in what it is not as the others."""
        head = ["run", *(measure.title for measure in self.measures), "differs"]
        lines = [head]
        for row in self.rows:
            figures = [row.figures.get(measure) for measure in self.measures]
            told = ["-" if figure is None else f"{figure.value:.5g}" for figure in figures]
            differs = ", ".join(f"{name}={value}" for name, value in row.differs.items())
            lines.append([row.run, *told, differs])
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        return "\n".join(
            "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip()
            for line in lines
        )


def compare(runs: Sequence[Run], data: str | None = None) -> list[Table]:
    """Tables of runs, one for all images that at least one was measured on.

    Args:
        runs: Two or more make a comparison; one has a table, too. Those without evaluations are in
            none.
        data: Only this data set.

    Raises:
        UsageError: If nothing was measured, or no two of several that were share a measure.
    """
    found = {run: _figures(run, data) for run in runs}
    measured = {run: figures for run, figures in found.items() if figures}
    if not measured:
        where = f" on {data}" if data else ""
        first = runs[0].name if runs else "RUN"
        raise UsageError(
            f"None of these runs was evaluated{where} yet.",
            f"Measure them: gencli evaluate {first}",
        )
    options = _differing(list(measured))
    rows: dict[Images, list[Row]] = {}
    for run, by_images in measured.items():
        loss = curves.main_loss(curves.curves(run))
        drawn = curves.sparkline(loss[1]) if loss else ""
        for images, figures in by_images.items():
            row = Row(run.name, run.model, options[run], drawn, figures)
            rows.setdefault(images, []).append(row)
    tables = [_table(images, there) for images, there in rows.items()]
    if len(measured) > 1 and not any(_shares(table) for table in tables):
        told = "; ".join(f"{t.rows[0].run}: {t.images}" for t in tables[:3])
        raise UsageError(
            f"These runs have no measure in common ({told}).",
            f"Evaluate them alike: gencli evaluate {runs[0].name} --data NAME --metrics KEY,...",
        )
    return sorted(tables, key=lambda table: (-len(table.rows), table.images))


def _shares(table: Table) -> bool:
    return any(sum(m in row.figures for row in table.rows) > 1 for m in table.measures)


def _table(images: Images, rows: list[Row]) -> Table:
    apart = _told_apart({m for row in rows for m in row.figures})
    rows = [
        replace(row, figures={apart[m]: figure for m, figure in row.figures.items()})
        for row in rows
    ]
    measures = sorted(apart.values(), key=_order)
    best = {m: name for m in measures if (name := _best(m, rows)) is not None}
    return Table(images, measures, rows, best)


def _told_apart(measures: Collection[Measure]) -> dict[Measure, Measure]:
    """Each measure by a title that no other has: with its unit, where that is what differs."""
    titles = Counter(measure.title for measure in measures)
    return {m: m._replace(how=f"{m.how}, {m.unit}") if titles[m.title] > 1 else m for m in measures}


def _order(measure: Measure) -> tuple[int, Measure]:
    key = measure.key.split("@")[0]
    return KEYS.index(key) if key in KEYS else len(KEYS), measure


def _best(measure: Measure, rows: Sequence[Row]) -> str | None:
    """The run that is better than every other by twice the standard error of the difference."""
    if measure.key.split("@")[0] in NEITHER_IS_BETTER:
        return None
    sign = 1 if measure.lower_is_better else -1
    there = [(sign * r.figures[measure].value, r) for r in rows if measure in r.figures]
    there.sort(key=lambda pair: pair[0])
    if len(there) < 2:
        return None
    (value, first), others = there[0], there[1:]
    for other, row in others:
        errors = [r.figures[measure].standard_error for r in (first, row)]
        if None in errors or other - value <= SURE * math.hypot(*(e for e in errors if e)):
            return None
    return first.run


def _figures(run: Run, data: str | None) -> dict[Images, dict[Measure, Figure]]:
    own = run.record["data"]
    found: dict[Images, dict[Measure, Figure]] = {}
    for evaluation in evaluations.of(run):  # the newest comes last and stays
        on = evaluation["data"]
        name = str(on.get("name"))
        if data is not None and data not in (name, Path(name).name):
            continue
        default = own.get("fingerprint", "") if name == own.get("name") else ""
        images = Images(
            name, str(on.get("split")), str(on.get("binarization")),
            str(evaluation.get("fingerprint", default)),
        )  # fmt: skip
        for key, metric in evaluation["metrics"].items():
            if key == "judge_accuracy":
                continue  # of the judge, not of the model
            measure = Measure(
                evaluations.with_judge(key, evaluation), str(metric.get("kind")),
                str(metric.get("unit")), _how(key, metric, evaluation["settings"], run),
            )  # fmt: skip
            error = metric.get("standard_error")
            others = measure.key.partition("@")[2] if key in OUTLIERS else ""
            found.setdefault(images._replace(told_from=others), {})[measure] = Figure(
                float(metric["value"]),
                float(error) if isinstance(error, int | float) else None,
                evaluation.get("step"),
                str(evaluation.get("weights")),
            )
    return found


def _how(key: str, metric: Mapping[str, Any], settings: Mapping[str, Any], run: Run) -> str:
    """What else the figure depends on: its bias shrinks with the samples."""
    if key in JUDGED | INCEPTION:
        return f", {settings.get('samples', metric.get('n'))} samples"
    spec = registry.models().get(run.model)  # None of a plug-in that is no longer there
    if key == "nll_estimate" and (spec is None or "log_partition" not in spec.abilities):
        return f", k = {settings.get('k')}"
    return ""


def _differing(runs: Sequence[Run]) -> dict[Run, dict[str, Any]]:
    """For each run, the options in which not all of them agree."""
    changed = {run: overview.differing(run) for run in runs}
    names = {name for options in changed.values() for name in options}
    unequal = {n for n in names if len({repr(o.get(n)) for o in changed.values()}) > 1}
    return {
        run: {name: value for name, value in options.items() if name in unequal}
        for run, options in changed.items()
    }
