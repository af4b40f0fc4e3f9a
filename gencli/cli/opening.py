"""A command's run: torch is loaded, the model is found, and people are told which it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gencli.cli import console

if TYPE_CHECKING:
    from gencli.loaded import LoadedModel


def open_run(run: str, *, checkpoint: str, raw: bool, device: str) -> LoadedModel:
    """The model that RUN and the options mean; stderr says which one that is.

    Args:
        run: A run's directory or name, or a model's name.
        checkpoint: `last`, `best` or a step's number.
        raw: The last weights, not their moving average.
        device: auto, cpu, cuda, cuda:N or mps.

    Raises:
        RunError: If there is no such run or checkpoint, or its files are damaged.
        UsageError: If the device is not there.
    """
    console.begin("loading PyTorch")
    from gencli import loaded

    model = loaded.load(run, checkpoint=checkpoint, ema=not raw, device=device)
    console.message(which(model))
    return model


def which(model: LoadedModel) -> str:
    """Such as `vae: run vae-glyphs-0001, step 1,720, averaged weights`."""
    weights = "averaged" if model.weights == "ema" else "last"
    return f"{model.run.model}: run {model.run.name}, step {model.step:,}, {weights} weights"
