"""From a run on disk to a model that is ready to use."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gencli import runs
from gencli.errors import RunError
from gencli.loaded import LoadedModel
from gencli.models.build import build_model
from gencli.models.interface import GenerativeModel
from gencli.processes import ALONE, Processes, saved
from gencli.runs import Run
from gencli.training.checkpoint import load_model

_ATTEMPTS = 5
"""Times that a checkpoint is looked for while a training prunes those that it has."""


def load(
    reference: str,
    *,
    checkpoint: str = "last",
    ema: bool = True,
    device: str = "auto",
    processes: Processes = ALONE,
) -> LoadedModel:
    """The model of a run, ready to sample, encode and decode.

        gencli.load("vae").sample(64)

    Args:
        reference: A run's directory or name, or a model's name for its newest run.
        checkpoint: `last`, `best` (on validation), or a step's number.
        ema: Prefer averaged weights, where there are any.
        device: auto, cpu, cuda, cuda:N or mps.
        processes: Those that draw together: the first reads, the others get the same weights.

    Raises:
        RunError: If there is no such run or checkpoint, or its files are damaged.
        UsageError: If the device is not there.
    """
    chosen = processes.device(device)
    read: list[tuple[GenerativeModel, Run]] = []

    def found() -> dict[str, Any]:
        run = runs.find(reference)
        model, weights, step = _read(run, checkpoint, ema)
        read.append((model, run))
        return {
            "path": str(run.path), "record": run.record, "weights": weights, "step": step
        }  # fmt: skip

    told = processes.told(found)
    if read:
        model, run = read[0]
    else:
        run = runs.known(Path(told["path"]), told["record"])
        model = _fresh(run)
    processes.agree(saved(model).values())
    model.to(chosen).eval()
    return LoadedModel(model, run, told["weights"], told["step"], processes)


def _read(run: Run, checkpoint: str, ema: bool) -> tuple[GenerativeModel, str, int]:
    """The model on the CPU, which weights it has, and of which step."""
    attempts = 0
    while True:
        there = run.checkpoints()
        try:
            saved = run.checkpoint(checkpoint)
            model = _fresh(run)
            return model, load_model(model, saved, ema=ema), saved.step
        except RunError:
            attempts += 1
            pruned = not set(there) <= set(run.checkpoints())
            if not pruned or attempts == _ATTEMPTS:
                raise


def _fresh(run: Run) -> GenerativeModel:
    return build_model(run.model, run.record["config"], run.record["data"]["info"])
