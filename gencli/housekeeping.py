"""Runs renamed, removed and thinned out. No torch here.

Each takes the run's lock first, so that nothing is done to a run that is training.
"""

from __future__ import annotations

import os
import secrets
import shutil
from typing import Literal

from gencli import overview
from gencli.atomic import CURE, discard, writing
from gencli.errors import RunError, UsageError
from gencli.new_run import check_name
from gencli.runs import Run

Keep = Literal["best", "last", "both"]


def rename(run: Run, name: str) -> Run:
    """Give a run another name; its directory stays where it is otherwise.

    Raises:
        UsageError: If the name is taken or unusable.
        RunError: If the run is training, or a link.
        GencliError: If the operating system refuses.
    """
    check_name(name)
    held = _held(run)
    target = run.path.with_name(name)
    try:
        with writing(target, cure=CURE):
            try:
                target.mkdir()  # claims the name: another process cannot make it now
                os.rename(run.path, target)
            except FileExistsError:
                raise UsageError(
                    f"There is a run called {name} already.", "Choose another name."
                ) from None
            except OSError:
                target.rmdir()
                raise
        renamed = Run(target)
        renamed.update(name=name)
        return renamed
    finally:
        held.release()


def remove(run: Run) -> int:
    """Remove a run with all that is in it.

    It is set aside under another name first: killed half-way, what is left is no run.

    Returns:
        The bytes freed.

    Raises:
        RunError: If the run is training, or a link.
        GencliError: If the operating system refuses.
    """
    held = _held(run)
    try:
        freed = overview.size(run.path)
        aside = run.path.with_name(f".{run.name}.{secrets.token_hex(6)}.part")
        with writing(run.path, cure=CURE):
            os.rename(run.path, aside)
            shutil.rmtree(aside)
        return freed
    finally:
        held.release()


def prune(run: Run, keep: Keep) -> tuple[list[int], int]:
    """Remove checkpoints but for the best on validation, the last, or both.

    Where nothing was validated the last stands for the best.

    Returns:
        The steps of those removed, and the bytes freed.

    Raises:
        RunError: If the run is training or a link, has no checkpoint, or that to keep is damaged.
        GencliError: If the operating system refuses.
    """
    held = _held(run)
    try:
        last = run.checkpoint("last")
        best = last if last.state["best_step"] is None else run.checkpoint("best")
        kept = {"best": [best], "last": [last], "both": [best, last]}[keep]
        for checkpoint in kept:  # before the others go
            checkpoint.verified("model.safetensors")
            checkpoint.verified("trainer.safetensors")
        gone = [checkpoint for checkpoint in run.checkpoints() if checkpoint not in kept]
        freed = sum(overview.size(checkpoint.path) for checkpoint in gone)
        for checkpoint in gone:
            discard(checkpoint.path)
        return [checkpoint.step for checkpoint in gone], freed
    finally:
        held.release()


def _held(run: Run) -> Run:
    if run.path.is_symlink():
        raise RunError(f"{run.path} is a link.", "Name the directory that it leads to.")
    return run.locked()
