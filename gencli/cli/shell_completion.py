"""Shell completion of models, runs, data sets, recipes and values. No torch here.

What goes wrong while a line is typed is nothing to show there: then there is nothing to complete.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from pathlib import Path

from gencli import recipe, registry
from gencli import runs as run_directory
from gencli.data import catalogue
from gencli.evaluation.results import DESCRIPTIONS

Completion = list[str] | list[tuple[str, str]]


def _quiet(complete: Callable[[str], Completion]) -> Callable[[str], Completion]:
    @functools.wraps(complete)
    def attempt(incomplete: str) -> Completion:
        try:
            return complete(incomplete)
        except Exception:  # a folder of runs that cannot be read, a plug-in that fails
            return []

    return attempt


def _beginning(incomplete: str, names: Iterable[str]) -> list[str]:
    return [name for name in names if name.startswith(incomplete)]


@_quiet
def runs(incomplete: str) -> Completion:
    """Run names, and models that have a run."""
    there = run_directory.all_runs()
    names = [run.name for run in there] + sorted({run.model for run in there})
    return _beginning(incomplete, names)


@_quiet
def run_names(incomplete: str) -> Completion:
    """Run names alone."""
    return _beginning(incomplete, [run.name for run in run_directory.all_runs()])


@_quiet
def recipes(incomplete: str) -> Completion:
    """The recipes that come with gencli."""
    return _beginning(incomplete, recipe.names())


@_quiet
def reproducible(incomplete: str) -> Completion:
    """Runs and recipes."""
    names = [run.name for run in run_directory.all_runs()]
    return _beginning(incomplete, [*names, *recipe.names()])


@_quiet
def anything(incomplete: str) -> Completion:
    """Models, data sets and runs: what `info` takes."""
    names = [*registry.names(), *catalogue.names(), *(run.name for run in run_directory.all_runs())]
    return _beginning(incomplete, names)


@_quiet
def datasets(incomplete: str) -> Completion:
    """Named data sets, and folders, which --data takes as well."""
    head, _, start = incomplete.rpartition("/")
    folder = Path(f"{head}/" if "/" in incomplete else ".")
    there = sorted(
        path.name for path in folder.iterdir() if path.is_dir() and path.name.startswith(start)
    )
    prefix = incomplete[: len(incomplete) - len(start)]
    folders = [f"{prefix}{name}/" for name in there if start or not name.startswith(".")]
    return [*_beginning(incomplete, catalogue.names()), *folders]


@_quiet
def outliers(incomplete: str) -> Completion:
    """Data sets and folders, and images that are made."""
    return [*_beginning(incomplete, catalogue.MADE), *datasets(incomplete)]


@_quiet
def devices(incomplete: str) -> Completion:
    """The kinds of devices; which of them are there only torch knows."""
    return _beginning(incomplete, ("auto", "cpu", "cuda", "cuda:0", "mps"))


@_quiet
def metrics(incomplete: str) -> Completion:
    """The last of the keys that --metrics takes, separated by commas."""
    before, comma, last = incomplete.rpartition(",")
    given = before.split(",")
    return [
        (f"{before}{comma}{key}", description)
        for key, description in DESCRIPTIONS.items()
        if key.startswith(last) and key not in given
    ]


@_quiet
def checkpoints(incomplete: str) -> Completion:
    """Which checkpoint."""
    return _beginning(incomplete, ("last", "best"))


OF_FIELD: dict[str, Callable[[str], Completion]] = {"data": datasets, "device": devices}
"""Completion of the options of a config or of the training settings, by the field's name."""
