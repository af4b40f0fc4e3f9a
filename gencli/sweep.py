"""Many runs of one model that differ in some options: which, and how far each has come. No torch.

A sweep has a name, and its plan is kept under it: the same command again goes on where it ended.
Its runs are ordinary ones, called NAME-001, NAME-002 and so on.
"""

from __future__ import annotations

import itertools
import json
import math
import random
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gencli import overview, registry
from gencli.atomic import write_json
from gencli.config import fields_of, parse_value
from gencli.data.options import DataOptions
from gencli.errors import GencliError, UsageError
from gencli.home import data_dir, runs_dir
from gencli.new_run import check_name
from gencli.runs import Run
from gencli.training.settings import Settings

_MOST = 10_000


@dataclass(frozen=True)
class Point:
    """One run of a sweep.

    Attributes:
        run: Its name.
        options: The swept options, as typed, and the seed.
    """

    run: str
    options: Mapping[str, str]

    def arguments(self) -> list[str]:
        """Its options on the command line of `train`."""
        return [part for name, value in self.options.items() for part in _flag(name, value)]


def _flag(name: str, value: str) -> list[str]:
    flag = name.replace("_", "-")
    if value in ("true", "false"):
        return [f"--{flag}" if value == "true" else f"--no-{flag}"]
    return [f"--{flag}", value]


def parse_sets(model: str, texts: Sequence[str]) -> dict[str, list[str]]:
    """Values by option, from texts such as `lr=1e-4,1e-3`.

    Values that hold commas themselves are set apart by semicolons: `hidden=512,256;256,128`.

    Raises:
        UsageError: If there is no such option, or a value does not fit.
    """
    groups = (registry.find(model).options(), DataOptions, Settings)
    fields = {f.name: f for group in groups for f in fields_of(group)}
    found: dict[str, list[str]] = {}
    for text in texts:
        name, equals, values = text.partition("=")
        name = name.strip().lstrip("-").replace("-", "_")
        if not equals or not values.strip():
            raise UsageError(f"--set cannot be {text!r}.", "Write it as --set lr=1e-4,1e-3.")
        if name not in fields:
            near = registry.nearest(name, fields)
            hint = f"Did you mean {near}?" if near else f"See `gencli train {model} --help`."
            raise UsageError(f"{model} has no option {name}.", hint)
        if name in found:
            raise UsageError(f"--set gives {name} twice.", "Give all its values in one.")
        parts = [part.strip() for part in values.split(";" if ";" in values else ",")]
        found[name] = list(dict.fromkeys(part for part in parts if part))
        for part in found[name]:
            truth = {"true": True, "false": False}.get(part)
            parse_value(fields[name], part if truth is None else truth)
    return found


def plan(
    name: str, sets: Mapping[str, Sequence[str]], *, at_random: int | None, seeds: int
) -> list[Point]:
    """The runs of a sweep: every combination, or some of them drawn without replacement.

    Args:
        name: Of the sweep.
        sets: Values by option.
        at_random: How many combinations to draw; None takes all.
        seeds: Runs of each combination, of the seeds 0, 1, ....

    Raises:
        UsageError: If these are too many runs, or the seed is swept and repeated at once.
    """
    if seeds > 1 and "seed" in sets:
        raise UsageError("The seed is swept already.", "Leave out --seeds.")
    n = math.prod(len(values) for values in sets.values())
    chosen = n if at_random is None else min(at_random, n)
    if chosen * seeds > _MOST:
        raise UsageError(
            f"These are {chosen * seeds:,} runs.", f"At most {_MOST:,}: draw some with --random N."
        )
    numbers = range(n) if at_random is None else sorted(random.Random(0).sample(range(n), chosen))
    points: list[Point] = []
    for number in numbers:
        options = dict[str, str]()
        for option, values in reversed(list(sets.items())):
            number, which = divmod(number, len(values))
            options[option] = values[which]
        options = {option: options[option] for option in sets}
        for seed in range(seeds):
            more = {"seed": str(seed)} if seeds > 1 else {}
            points.append(Point(f"{name}-{len(points) + 1:03d}", options | more))
    return points


def keep(name: str, model: str, points: Sequence[Point], others: Sequence[str]) -> None:
    """Keep a sweep's plan under its name, or see that it is the one kept there.

    Args:
        name: Of the sweep.
        model: What it trains.
        points: Its runs.
        others: Further arguments of `train`, the same for all.

    Raises:
        UsageError: If another plan has that name, or the name is unusable.
        GencliError: If it cannot be written.
    """
    check_name(name)
    path = data_dir() / "sweeps" / f"{name}.json"
    document = {
        "model": model,
        "runs": {point.run: dict(point.options) for point in points},
        "others": list(others),
    }
    try:
        there = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        there = None
    if there == document:
        return
    taken = [point.run for point in points if (runs_dir() / point.run).exists()]
    if there is not None or taken:
        raise UsageError(
            f"There is another sweep called {name}.",
            "Give this one another --name, or the same options to go on with that one.",
        )
    write_json(path, document)


def run_of(point: Point) -> Run | None:
    """The run of a point, if it was begun."""
    path = runs_dir() / point.run
    return Run(path) if (path / "run.json").is_file() else None


def state_of(point: Point) -> str:
    """`done`, another state of its run, or `new`."""
    run = run_of(point)
    try:
        return "new" if run is None else run.status
    except GencliError:
        return "damaged"


def best_value(point: Point) -> float | None:
    """The smallest validation loss of its run; None where nothing was validated."""
    run = run_of(point)
    value = None if run is None else overview.state(run).get("best_value")
    return float(value) if isinstance(value, int | float) else None


def ranked(points: Sequence[Point]) -> list[dict[str, Any]]:
    """Combinations with the validation loss of their runs, best first; those without one last.

    Seeds of one combination share a row: `val_loss` is their mean, `spread` their standard
    deviation.
    """
    rows = []
    for _, group in itertools.groupby(points, key=_without_seed):
        members = list(group)
        values = [value for point in members if (value := best_value(point)) is not None]
        rows.append(
            {
                "runs": [point.run for point in members],
                "options": dict(_without_seed(members[0])),
                "states": [state_of(point) for point in members],
                "val_loss": statistics.fmean(values) if values else None,
                "spread": statistics.stdev(values) if len(values) > 1 else None,
            }
        )
    return sorted(rows, key=lambda row: (row["val_loss"] is None, row["val_loss"] or 0.0))


def _without_seed(point: Point) -> tuple[tuple[str, str], ...]:
    return tuple(item for item in point.options.items() if item[0] != "seed")


def default_name(model: str, sets: Mapping[str, Sequence[str]]) -> str:
    """Such as `vae-lr-hidden`."""
    return "-".join([model, *(name.replace("_", "-") for name in sets)])
