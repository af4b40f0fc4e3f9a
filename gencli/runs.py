"""Run directories: naming, layout, and finding the one that is meant. No torch here.

<run>/run.json                     what was asked, on what, with which versions; and the status
<run>/metrics.jsonl                one line per logging window
<run>/checkpoints/step-NNNNNNNN/   model.safetensors, trainer.safetensors, state.json
<run>/samples/step-NNNNNNNN.png    previews of training
<run>/outputs/                     what `sample`, `interpolate` and `export` write
"""

from __future__ import annotations

import json
import os
import re
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from gencli.errors import RunError, UsageError
from gencli.home import runs_dir

FORMAT = 1
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def write_json(path: Path, document: Any) -> None:
    """Write JSON so that the file is either the old one or the new one, never half of it."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with temporary.open("w", encoding="utf-8") as file:
        json.dump(document, file, indent=2, ensure_ascii=False)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


@dataclass(frozen=True)
class Run:
    """A run's directory."""

    path: Path

    @cached_property
    def record(self) -> dict[str, Any]:
        """The contents of run.json as of the first look.

        Raises:
            RunError: If the file is missing, is no JSON, or has another format version.
        """
        try:
            record = json.loads((self.path / "run.json").read_text(encoding="utf-8"))
            version = record["format"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RunError(
                f"{self.path} is not a readable run: {error}.",
                "`gencli list runs` shows the runs there are.",
            ) from None
        if version != FORMAT:
            raise RunError(
                f"{self.path} has format {version}; this gencli reads format {FORMAT}.",
                "Upgrade gencli: pip install -U gencli.",
            )
        return record  # type: ignore[no-any-return]

    @property
    def name(self) -> str:
        """The directory's name."""
        return self.path.name

    @property
    def model(self) -> str:
        """The model's name."""
        return str(self.record["model"])

    def update(self, **changes: Any) -> None:
        """Change top-level entries of run.json."""
        record = json.loads((self.path / "run.json").read_text(encoding="utf-8")) | changes
        write_json(self.path / "run.json", record)
        self.record.update(changes)

    def checkpoints(self) -> list[Path]:
        """Whole checkpoints, oldest first."""
        found = (self.path / "checkpoints").glob("step-*")
        return sorted(path for path in found if re.fullmatch(r"step-\d{8,}", path.name))

    def checkpoint(self, which: str = "last") -> Path:
        """The checkpoint called `last`, `best` (on validation) or a step's number.

        Raises:
            RunError: If there is none.
        """
        there = self.checkpoints()
        if not there:
            raise RunError(
                f"The run {self.name} has no checkpoint yet.",
                f"Train one: gencli train {self.model}",
            )
        if which == "last":
            return there[-1]
        if which == "best":
            step = self.state(there[-1])["best_step"]
            if step is None:
                raise RunError(
                    f"The run {self.name} has no best checkpoint: nothing was validated.",
                    "Use --checkpoint last, or train with --val above 0.",
                )
        elif which.isdigit():
            step = int(which)
        else:
            raise UsageError(
                f"--checkpoint cannot be {which}.", "It takes last, best or a step's number."
            )
        path = self.path / "checkpoints" / f"step-{step:08d}"
        if path not in there:
            steps = ", ".join(str(int(p.name[5:])) for p in there)
            raise RunError(
                f"The run {self.name} has no checkpoint of step {step}.", f"It has: {steps}."
            )
        return path

    def state(self, checkpoint: Path) -> dict[str, Any]:
        """The state.json of a checkpoint.

        Raises:
            RunError: If it is missing, damaged or of another format.
        """
        try:
            state: dict[str, Any] = json.loads((checkpoint / "state.json").read_text("utf-8"))
            version = state["format"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RunError(
                f"{checkpoint / 'state.json'} cannot be read: {error}.",
                "Use another checkpoint: --checkpoint STEP.",
            ) from None
        if version != FORMAT:
            raise RunError(
                f"{checkpoint} has format {version}; this gencli reads format {FORMAT}.",
                "Upgrade gencli: pip install -U gencli.",
            )
        return state

    def new_output(self, stem: str, suffix: str) -> Path:
        """A path under outputs/ that nothing has; `suffix` may be empty for a folder."""
        folder = self.path / "outputs"
        folder.mkdir(exist_ok=True)
        number = 1
        while (path := folder / f"{stem}-{number:03d}{suffix}").exists():
            number += 1
        return path


def create(model: str, data: str, record: dict[str, Any], name: str | None = None) -> Run:
    """Make a run's directory with its run.json.

    Raises:
        UsageError: If the name is taken or unusable.
    """
    home = runs_dir()
    home.mkdir(parents=True, exist_ok=True)
    if name is not None and not _NAME.fullmatch(name):
        raise UsageError(
            f"A run cannot be called {name!r}.",
            "Use letters, digits, dots, dashes and underscores.",
        )
    if name is not None:
        path = home / name
        try:
            path.mkdir()
        except FileExistsError:
            raise UsageError(
                f"There is a run called {name} already.",
                f"Choose another --name, or continue it: gencli train {model} --resume {name}",
            ) from None
    else:
        stem = re.sub(r"[^A-Za-z0-9._-]+", "-", f"{model}-{Path(data).name}")
        path = _first_free(home, stem)
    for folder in ("checkpoints", "samples"):
        (path / folder).mkdir()
    write_json(path / "run.json", {"format": FORMAT, "name": path.name, **record})
    return Run(path)


def _first_free(home: Path, stem: str) -> Path:
    number = 1
    while True:
        path = home / f"{stem}-{number:04d}"
        try:
            path.mkdir()
            return path
        except FileExistsError:
            number += 1


def all_runs() -> list[Run]:
    """The runs there are, newest first; directories without a readable run.json are left out."""
    found = []
    for file in runs_dir().glob("*/run.json"):
        run = Run(file.parent)
        try:
            found.append((float(run.record["created"]), run.name, run))
        except (RunError, KeyError, TypeError, ValueError):
            continue
    return [run for *_, run in sorted(found, reverse=True, key=lambda row: row[:2])]


def find(reference: str) -> Run:
    """The run meant by a directory, a run's name, or a model's name (its newest with a checkpoint).

    Raises:
        RunError: If there is none; the cure is the command that would make one.
    """
    from gencli import registry

    for path in (Path(reference).expanduser(), runs_dir() / reference):
        if (path / "run.json").is_file():
            return Run(path.resolve())
    known = registry.names()
    if reference in known:
        model = registry.find(reference).name
        for run in all_runs():
            if run.model == model and run.checkpoints():
                return run
        raise RunError(f"There is no trained {model} yet.", f"Train one: gencli train {reference}")
    near = registry.nearest(reference, [*known, *(run.name for run in all_runs())])
    hint = f"Did you mean {near}?" if near else "`gencli list runs` shows the runs there are."
    raise RunError(f"There is no run {reference}.", hint)


def now() -> float:
    """Seconds since the epoch, as run.json records them."""
    return time.time()
