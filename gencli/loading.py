"""From a run on disk to a model that is ready to use."""

from __future__ import annotations

from gencli import runs
from gencli.device import choose_device
from gencli.errors import RunError
from gencli.loaded import LoadedModel
from gencli.models.build import build_model
from gencli.training.checkpoint import load_model

_ATTEMPTS = 5
"""Times that a checkpoint is looked for while a training prunes those that it has."""


def load(
    reference: str, *, checkpoint: str = "last", ema: bool = True, device: str = "auto"
) -> LoadedModel:
    """The model of a run, ready to sample, encode and decode.

        gencli.load("vae").sample(64)

    Args:
        reference: A run's directory or name, or a model's name for its newest run.
        checkpoint: `last`, `best` (on validation), or a step's number.
        ema: Prefer averaged weights, where there are any.
        device: auto, cpu, cuda, cuda:N or mps.

    Raises:
        RunError: If there is no such run or checkpoint, or its files are damaged.
        UsageError: If the device is not there.
    """
    run = runs.find(reference)
    chosen = choose_device(device)
    attempts = 0
    while True:
        there = run.checkpoints()
        try:
            saved = run.checkpoint(checkpoint)
            model = build_model(run.model, run.record["config"], run.record["data"]["info"])
            weights = load_model(model, saved, ema=ema)
            break
        except RunError:
            attempts += 1
            pruned = not set(there) <= set(run.checkpoints())
            if not pruned or attempts == _ATTEMPTS:
                raise
    model.to(chosen).eval()
    return LoadedModel(model, run, weights, saved.step)
