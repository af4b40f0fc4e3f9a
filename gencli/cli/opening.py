"""A command's run: it is opened, people are told which it is, and its evaluations stay with it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from gencli import evaluations
from gencli.cli import console
from gencli.errors import GencliError, UsageError
from gencli.place import place_in

if TYPE_CHECKING:
    from gencli.data.splits import ImageData
    from gencli.loaded import LoadedModel
    from gencli.processes import Processes


@contextmanager
def together(alone: Mapping[str, object]) -> Iterator[Processes]:
    """The processes that share a command's work, as torchrun has started them; mostly one alone.

    The first of them alone writes and prints.

    Args:
        alone: Options that are for one process, with what was given.

    Raises:
        UsageError: If there are several, and one of these was given.
        LostProcess: If another one ends.
    """
    place = place_in(os.environ)
    if place.world > 1:
        given = [name for name, value in alone.items() if value]
        if given:
            raise UsageError(f"{given[0]} is for one process.", "Leave torchrun out.")
    console.begin("loading PyTorch")
    from gencli.several import joined

    with joined(place) as processes:
        yield processes


def open_run(
    run: str, *, checkpoint: str, raw: bool, device: str, processes: Processes | None = None
) -> LoadedModel:
    """The model that RUN and the options mean; stderr says which one that is.

    Args:
        run: A run's directory or name, or a model's name.
        checkpoint: `last`, `best` or a step's number.
        raw: The last weights, not their moving average.
        device: auto, cpu, cuda, cuda:N or mps.
        processes: Those that share the work; None is this one alone.

    Raises:
        RunError: If there is no such run or checkpoint, or its files are damaged.
        UsageError: If the device is not there.
    """
    console.begin("loading PyTorch")
    from gencli import loading
    from gencli.processes import ALONE

    model = loading.load(
        run, checkpoint=checkpoint, ema=not raw, device=device, processes=processes or ALONE
    )
    console.message(which(model))
    return model


def which(model: LoadedModel) -> str:
    """Such as `vae: run vae-glyphs-0001, step 1,720, averaged weights`."""
    weights = "averaged" if model.weights == "ema" else "last"
    return f"{model.run.model}: run {model.run.name}, step {model.step:,}, {weights} weights"


def caption(model: LoadedModel, seed: int | None) -> str:
    """What `--caption` writes under a picture, such as `vae-glyphs-0001, step 1720, seed 0`."""
    drawn = f", seed {seed}" if seed is not None else ""
    return f"{model.run.name}, step {model.step}{drawn}"


def same_data(model: LoadedModel, data: ImageData) -> None:
    """See that the run's own data set is still what the run was trained on; others may be anything.

    Raises:
        DataError: If it is not.
    """
    if data.name == model.run.record["data"]["name"]:
        model.run.see_that_it_saw(data.name, data.fingerprint)


def keep(model: LoadedModel, document: Mapping[str, Any], asked: Mapping[str, Any]) -> None:
    """Keep an evaluation in its run; a run that cannot be written to is no reason to lose it.

    Args:
        model: That was evaluated.
        document: What `evaluate --json` prints.
        asked: The options of the command; those that are None are left out.
    """
    settings = {name: value for name, value in asked.items() if value is not None}
    try:
        where = evaluations.save(model.run, {**document, "step": model.step}, settings)
    except GencliError as error:
        console.message(f"not kept: {error.problem}")
    else:
        console.message(f"kept in {where}")
