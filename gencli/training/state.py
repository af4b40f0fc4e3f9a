"""Where a training stands, and putting it back from a run's last checkpoint."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gencli.atomic import sweep
from gencli.checkpoint import ANOTHER
from gencli.errors import RunError
from gencli.models.interface import GenerativeModel, Stage
from gencli.processes import PREFIX, Processes, named, own_part, saved, world_of
from gencli.runs import Run
from gencli.training.checkpoint import (
    model_tensors,
    random_state,
    set_random_state,
    trainer_tensors,
)
from gencli.training.reporter import Reporter
from gencli.training.tensors import check, under

_CHAIN = "chain/"


@dataclass
class State:
    """The counters of a run, as state.json has them; `seconds` are of training steps alone."""

    step: int = 0
    stage: int = 0
    stage_step: int = 0
    epoch: float = 0.0
    images: int = 0
    seconds: float = 0.0
    best_step: int | None = None
    best_value: float | None = None


def restore(
    model: GenerativeModel, stages: Sequence[Stage], run: Run, processes: Processes
) -> tuple[State, dict[str, Tensor]]:
    """The counters of the run's last checkpoint, whose weights are put into the model.

    What writers that were killed left behind is swept away.

    Args:
        model: Takes the weights, in the first process.
        stages: Of the model's training.
        run: Holds the checkpoints; the first process alone reads and writes there.
        processes: All get the counters and tensors.

    Returns:
        The counters and the trainer's tensors.

    Raises:
        RunError: If the checkpoint is damaged or of another model.
    """
    found: dict[str, Tensor] = {}

    def counters() -> dict[str, Any]:
        for folder in (run.path, run.folder("checkpoints")):
            sweep(folder, older_than=0.0)
        latest = run.checkpoint("last")
        state = {name: latest.state[name] for name in vars(State())}
        if state["stage"] >= len(stages) or state["stage_step"] > state["step"]:
            raise RunError(f"{latest.path} is of another model.", ANOTHER)
        tensors = model_tensors(model, latest)
        with torch.no_grad():
            for name, tensor in saved(model).items():
                tensor.copy_(tensors[name])
        found.update(trainer_tensors(model, latest))
        return state

    return State(**processes.told(counters)), processes.tensors(lambda: found)


def own_tensors(model: GenerativeModel, processes: Processes) -> dict[str, Tensor]:
    """What differs between processes: random states, and chains where the model has some.

    The chains of the first process are with its model.
    """
    chains = {f"{_CHAIN}{name}": t for name, t in named(model, "per_process").items()}
    random = {f"random/{name}": t for name, t in random_state(model.device).items()}
    gathered = processes.gathered(random | chains)
    return {name: t for name, t in gathered.items() if name not in chains}


def restore_own(
    tensors: Mapping[str, Tensor],
    model: GenerativeModel,
    processes: Processes,
    seed: int,
    reporter: Reporter,
) -> None:
    """Put back what `own_tensors` gave.

    A process that was not there has other random numbers, and begins with the first one's chains.

    Args:
        tensors: Of a checkpoint.
        model: On its device.
        processes: As they are now.
        seed: Of a process that was not there.
        reporter: Is told if their number has changed.

    Raises:
        RunError: If they are no random states or chains of this model.
    """
    chains = named(model, "per_process")
    processes.agree(chains.values())
    own = own_part(tensors, processes.rank)
    if own:
        set_random_state(under(own, "random/"), model.device)
    else:
        torch.manual_seed(seed)
    if own and processes.rank:
        saved = under(own, _CHAIN)
        check(saved, chains, f"{PREFIX}{processes.rank}")
        for name, chain in chains.items():
            chain.copy_(saved[name])
    before, now = world_of(tensors), processes.world
    if before != now:
        told = f"processes: {before} before and {now} now"
        reporter.message(f"{told}; random numbers go on in another way")
