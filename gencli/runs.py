"""Run directories: their layout, and finding the one that is meant. No torch here.

<run>/run.json                     what was asked, on what, with which versions; and the status
<run>/lock                         locked while the run is training
<run>/metrics.jsonl                one line per logging window
<run>/checkpoints/step-NNNNNNNN/   see gencli/checkpoint.py
<run>/samples/step-NNNNNNNN.png    previews of training
<run>/outputs/                     what `sample`, `interpolate` and `export` write

A run may come from somebody else: nothing in it is trusted (gencli/guarded.py).
"""

from __future__ import annotations

import os
import re
import time
import warnings
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from gencli import guarded, record
from gencli.atomic import write_json
from gencli.checkpoint import Checkpoint
from gencli.errors import DataError, GencliWarning, RunError, UsageError
from gencli.home import runs_dir, user_path
from gencli.lock import Lock, holder, is_held


@dataclass(frozen=True)
class Run:
    """A run's directory.

    Attributes:
        path: The directory.
        lock: Held while this process trains the run.
    """

    path: Path
    lock: Lock | None = field(default=None, compare=False, repr=False)

    @cached_property
    def record(self) -> dict[str, Any]:
        """The contents of run.json as of the first look.

        Raises:
            RunError: If it cannot be read, or a field is missing or of another type.
        """
        return record.read(self.path)

    @property
    def name(self) -> str:
        """The directory's name."""
        return self.path.name

    @property
    def model(self) -> str:
        """The model's name."""
        return str(self.record["model"])

    @property
    def status(self) -> str:
        """How the run stands now.

        `running`, `done`, `interrupted`, `diverged`, `failed`, or `killed`: recorded as running,
        but no process has its lock.
        """
        if is_held(self.path):
            return "running"
        recorded = str(self.record["status"])
        return "killed" if recorded == "running" else recorded

    def see_that_it_saw(self, data: str, fingerprint: str) -> None:
        """See that data are still those that the run was trained on.

        A file more or less moves others between the splits: training images would be tested on.

        Args:
            data: What they are called.
            fingerprint: Theirs.

        Raises:
            DataError: If they are not.
        """
        if fingerprint != self.record["data"]["fingerprint"]:
            raise DataError(
                f"{data} is not what {self.name} was trained on any more.",
                "Put the files back as they were, or train again.",
            )

    def update(self, **changes: Any) -> None:
        """Change top-level entries of run.json.

        Raises:
            RunError: If run.json cannot be read.
            GencliError: If it cannot be written.
        """
        write_json(self.path / record.FILE, record.read(self.path) | changes)
        self.record.update(changes)

    def locked(self) -> Run:
        """The same run, locked: no other process trains it until `release`.

        Raises:
            RunError: If another process is training it.
        """
        try:
            return Run(self.path, Lock(self.path))
        except BlockingIOError:
            by = holder(self.path)
            raise RunError(
                f"The run {self.name} is training" + (f" (process {by})." if by else "."),
                "Wait for its end, or stop that process first.",
            ) from None

    def release(self) -> None:
        """Let other processes train it."""
        if self.lock is not None:
            self.lock.release()

    def folder(self, name: str) -> Path:
        """One of the run's folders, made where there is none; never a link.

        Raises:
            RunError: If it is a link or no folder, or cannot be made.
        """
        return guarded.folder(self.path / name)

    def checkpoints(self) -> list[Checkpoint]:
        """Whole checkpoints, oldest first."""
        folder = self.path / "checkpoints"
        found = [Checkpoint.at(path) for path in guarded.entries(folder)]
        return sorted((c for c in found if c is not None), key=lambda c: c.step)

    def checkpoint(self, which: str = "last") -> Checkpoint:
        """The checkpoint called `last`, `best` (on validation) or a step's number.

        Raises:
            RunError: If there is none.
            UsageError: If `which` is none of these.
        """
        guarded.refuse_link(self.path / "checkpoints")
        there = self.checkpoints()
        if not there:
            raise RunError(
                f"The run {self.name} has no checkpoint yet.",
                f"Train one: gencli train {self.model}",
            )
        if which == "last":
            return there[-1]
        if which == "best":
            step = there[-1].state["best_step"]
            if step is None:
                raise RunError(
                    f"The run {self.name} has no best checkpoint: nothing was validated.",
                    "Use --checkpoint last, or train with --val above 0.",
                )
        elif re.fullmatch(r"[0-9]{1,18}", which):
            step = int(which)
        else:
            raise UsageError(
                f"--checkpoint cannot be {which}.", "It takes last, best or a step's number."
            )
        for checkpoint in there:
            if checkpoint.step == step:
                return checkpoint
        steps = ", ".join(str(checkpoint.step) for checkpoint in there)
        raise RunError(
            f"The run {self.name} has no checkpoint of step {step}.", f"It has: {steps}."
        )


def known(path: Path, contents: dict[str, Any]) -> Run:
    """A run of which another process has told its path and the contents of its run.json."""
    run = Run(path)
    vars(run)["record"] = contents
    return run


def all_runs() -> list[Run]:
    """The runs there are, newest first.

    Directories without a readable run.json are left out; a warning names those that have one.
    """
    found, damaged = [], []
    for path in guarded.entries(runs_dir().resolve()):
        try:
            run = Run(path)
            found.append((float(run.record["created"]), run.name, run))
        except RunError as error:
            if os.path.lexists(path / "run.json"):
                damaged.append((path.name, error.problem))
    if damaged:
        (name, problem), more = damaged[0], len(damaged) - 1
        what = f"The run {name}" + (f" and {more} more" if more else "")
        warnings.warn(f"{what} cannot be read: {problem}", GencliWarning, stacklevel=1)
    return [run for *_, run in sorted(found, reverse=True, key=lambda row: row[:2])]


def find(reference: str) -> Run:
    """The run meant by a directory, a run's name, or a model's name (its newest with a checkpoint).

    Raises:
        RunError: If there is none; the cure is the command that would make one.
    """
    from gencli import registry

    reference = os.fspath(reference)
    for path in (user_path(reference), runs_dir() / reference):
        if (path / "run.json").is_file():
            return Run(path.resolve())
    if not reference:
        raise RunError("The run's name is empty.", "`gencli list runs` shows the runs there are.")
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


def exactly(reference: str) -> Run:
    """The run meant by a directory or a run's name; a model's name alone is not enough.

    For what cannot be undone.

    Raises:
        UsageError: If it is a model's name.
        RunError: If there is no such run.
    """
    run = find(reference)
    if run.name == reference or (user_path(reference) / "run.json").is_file():
        return run
    raise UsageError(f"{reference} is a model, not a run.", f"Name the run: {run.name}, for one.")


def now() -> float:
    """Seconds since the epoch, as run.json records them."""
    return time.time()
