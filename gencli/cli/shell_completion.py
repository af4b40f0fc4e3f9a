"""Shell completion of models, runs, data sets and recipes."""

from __future__ import annotations

from pathlib import Path

from gencli import registry
from gencli import runs as run_directory
from gencli.data import catalogue


def runs(incomplete: str) -> list[str]:
    """Run names, and models that have a run."""
    there = run_directory.all_runs()
    names = [run.name for run in there] + sorted({run.model for run in there})
    return [name for name in names if name.startswith(incomplete)]


def recipes(incomplete: str) -> list[str]:
    """The recipes that come with gencli."""
    folder = Path(__file__).parent.parent / "recipes"
    return sorted(p.stem for p in folder.glob("*.toml") if p.stem.startswith(incomplete))


def anything(incomplete: str) -> list[str]:
    """Models, data sets and runs: what `info` takes."""
    names = [*registry.names(), *catalogue.names(), *(run.name for run in run_directory.all_runs())]
    return [name for name in names if name.startswith(incomplete)]
