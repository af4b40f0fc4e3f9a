"""Making a run's directory: a name that is free, or one that may be taken over. No torch here."""

from __future__ import annotations

import re
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

from gencli import guarded, record
from gencli.atomic import write_json, writing
from gencli.checkpoint import FORMAT
from gencli.errors import RunError, UsageError
from gencli.home import runs_dir
from gencli.lock import FILE as LOCK_FILE
from gencli.runs import Run

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_LONGEST = 100
"""Characters of a run's name; file systems allow 255 bytes, and more is put behind it."""


def create(model: str, data: str, about: dict[str, Any], name: str | None = None) -> Run:
    """Make a run's directory with its run.json; the run is locked.

    Args:
        model: Its name.
        data: The data set's name or path.
        about: The rest of run.json.
        name: Of the run; None makes one up. That of a run which is not training and never wrote a
            checkpoint may be taken over.

    Raises:
        UsageError: If the name is taken or unusable.
        GencliError: If the operating system refuses.
    """
    home = runs_dir()
    if name is not None:
        check_name(name)
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", f"{model}-{Path(data).name}")[:_LONGEST]
    cure = "Make room or permission there, or set GENCLI_HOME to another folder."
    with writing(home, cure=cure):
        home.mkdir(parents=True, exist_ok=True)
        run = _first_free(home, stem) if name is None else _named(home / name, model)
        for folder in ("checkpoints", "samples"):
            run.folder(folder)
        write_json(run.path / record.FILE, {"format": FORMAT, "name": run.name, **about})
    return run


def check_name(name: str) -> None:
    """See that a run can be called so.

    Raises:
        UsageError: If it cannot.
    """
    if not _NAME.fullmatch(name) or len(name) > _LONGEST:
        shown = repr(name if len(name) <= _LONGEST else f"{name[:40]}...")
        raise UsageError(
            f"A run cannot be called {shown}.",
            f"Use letters, digits, dots, dashes and underscores, at most {_LONGEST} of them.",
        )


def _named(path: Path, model: str) -> Run:
    with suppress(FileExistsError):
        path.mkdir()
        return Run(path).locked()
    taken = UsageError(
        f"There is a run called {path.name} already.",
        f"Choose another --name, or continue it: gencli train {model} --resume {path.name}",
    )
    if path.is_symlink():
        raise taken
    known = {record.FILE, LOCK_FILE, "metrics.jsonl", "samples", "checkpoints", "tensorboard"}
    there = {entry.name for entry in guarded.entries(path) if not entry.name.startswith(".")}
    if not there <= known or Run(path).checkpoints():
        raise taken
    try:
        run = Run(path).locked()
    except RunError:
        raise taken from None
    if run.checkpoints():  # written since
        raise taken
    for entry in path.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        elif entry.name != LOCK_FILE:
            entry.unlink()
    return run


def _first_free(home: Path, stem: str) -> Run:
    number = 1
    while True:
        path = home / f"{stem}-{number:04d}"
        try:
            path.mkdir()
            return Run(path).locked()
        except FileExistsError:
            number += 1
