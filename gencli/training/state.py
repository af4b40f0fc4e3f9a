"""Where a training stands, and putting it back from a run's last checkpoint."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from gencli.atomic import sweep
from gencli.checkpoint import ANOTHER
from gencli.errors import RunError
from gencli.models.interface import GenerativeModel
from gencli.runs import Run
from gencli.training.checkpoint import model_tensors, trainer_tensors


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


def restore(model: GenerativeModel, n_stages: int, run: Run) -> tuple[State, dict[str, Tensor]]:
    """The counters of the run's last checkpoint, whose weights are put into the model.

    What writers that were killed left behind is swept away.

    Args:
        model: Takes the weights.
        n_stages: Of the model's training.
        run: Holds the checkpoints; this process alone writes there.

    Returns:
        The counters and the trainer's tensors.

    Raises:
        RunError: If the checkpoint is damaged or of another model.
    """
    for folder in (run.path, run.folder("checkpoints")):
        sweep(folder, older_than=0.0)
    latest = run.checkpoint("last")
    state = State(**{name: latest.state[name] for name in vars(State())})
    if state.stage >= n_stages or state.stage_step > state.step:
        raise RunError(f"{latest.path} is of another model.", ANOTHER)
    model.load_state_dict(model_tensors(model, latest))
    return state, trainer_tensors(model, latest)
