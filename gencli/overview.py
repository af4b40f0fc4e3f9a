"""What there is to know of a run without loading it: for lists and for people. No torch here."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from gencli import evaluations, guarded, registry
from gencli.config import fields_of
from gencli.curves import NO_LOSSES
from gencli.errors import GencliError
from gencli.runs import Run

_TAIL = 1 << 16
"""Bytes at the end of metrics.jsonl in which the last losses are looked for."""


def state(run: Run) -> dict[str, Any]:
    """The counters of its last checkpoint; empty where there is none that can be read."""
    try:
        return run.checkpoint().state
    except GencliError:
        return {}


def size(folder: Path) -> int:
    """Bytes of the files under a folder; what links lead to is not counted."""
    total = 0
    for entry in _entries(folder):
        total += size(Path(entry.path)) if entry.is_dir(follow_symlinks=False) else _bytes(entry)
    return total


def _entries(folder: Path) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            yield from entries
    except OSError:
        return  # removed meanwhile, or not ours to read


def _bytes(entry: os.DirEntry[str]) -> int:
    try:
        return entry.stat(follow_symlinks=False).st_size
    except OSError:
        return 0


def last_losses(run: Run) -> dict[str, float]:
    """The newest value of each loss in metrics.jsonl."""
    found: dict[str, float] = {}
    with suppress(GencliError, OSError), guarded.reading(run.path / "metrics.jsonl") as file:
        file.seek(max(os.fstat(file.fileno()).st_size - _TAIL, 0))
        for line in file.read().splitlines():
            with suppress(ValueError, TypeError, AttributeError, RecursionError):  # cut in two
                row = json.loads(line).items()
                found |= {str(k): float(v) for k, v in row if k not in NO_LOSSES}
    return found


def differing(run: Run) -> dict[str, Any]:
    """The model's options and the settings that are not the defaults, by name."""
    from gencli.training.settings import resolve

    try:
        config = registry.find(run.model).options()
        own = {field.name: field.default for field in fields_of(config)}
        common = dataclasses.asdict(resolve({}, config.training))
    except GencliError:  # a model that is not there any more
        return {**run.record["config"], **run.record["settings"]}
    given = [*run.record["config"].items(), *run.record["settings"].items()]
    defaults = own | common
    return {
        name: value
        for name, value in given
        if name in defaults and value is not None and _plain(value) != _plain(defaults[name])
    }


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def describe(run: Run) -> dict[str, Any]:
    """All of it: run.json, and what else `gencli info RUN --json` prints."""
    counters = state(run)
    return {
        **run.record,
        "path": str(run.path),  # where it is, and is called, now
        "name": run.name,
        "status": run.status,
        "checkpoints": [checkpoint.step for checkpoint in run.checkpoints()],
        "best_checkpoint": counters.get("best_step"),
        "parameters": run.record.get("parameters"),
        "progress": {
            name: counters.get(name) for name in ("step", "epoch", "seconds", "best_value")
        },
        "images": counters.get("images"),
        "losses": last_losses(run),
        "differing": differing(run),
        "bytes": size(run.path),
        "evaluations": evaluations.of(run),
    }
