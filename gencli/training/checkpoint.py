"""Writing checkpoints, and putting them back. gencli/checkpoint.py says what one is.

A checkpoint is whole or not there, and nothing in it is code. What is put back was checked: each
file by its checksum, each tensor by its name, shape and type.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save as to_bytes
from torch import Tensor, nn

from gencli.atomic import discard, whole_folder, write_json
from gencli.checkpoint import ANOTHER, FORMAT, Checkpoint, sealed
from gencli.errors import DivergedError, RunError
from gencli.models.interface import GenerativeModel
from gencli.processes import saved
from gencli.training.ema import live_tensors
from gencli.training.tensors import check, own_shard

_HEADER = 64 << 20
"""Bytes that a file may have beside its tensors' own."""

_TRAINER_SHARE = 16
"""Optimizers and averages are no larger than so many models."""


def _plain(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copies on the CPU that share no memory, as the format demands."""
    return {name: t.detach().to("cpu", copy=True).contiguous() for name, t in tensors.items()}


def save(
    folder: Path,
    step: int,
    model: Mapping[str, Tensor],
    trainer: Mapping[str, Tensor],
    state: Mapping[str, Any],
) -> Checkpoint:
    """Write checkpoints/step-NNNNNNNN whole.

    One of the same step is left as it is: a run is a function of its settings, so it is the same.

    Args:
        folder: The run's checkpoints directory.
        step: Names the checkpoint.
        model: The model's state dict.
        trainer: Everything else that is a tensor.
        state: Everything else.

    Raises:
        GencliError: If the operating system refuses.
    """
    target = folder / f"step-{step:08d}"
    if not target.exists():
        needs = sum(t.nbytes for tensors in (model, trainer) for t in tensors.values())
        with whole_folder(target, needs=needs) as temporary:
            files = {}
            for part, tensors in (("model", model), ("trainer", trainer)):
                name = f"{part}.safetensors"
                data = to_bytes(_plain(tensors))
                (temporary / name).write_bytes(data)
                files[name] = {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
            document = sealed({"format": FORMAT, **state, "files": files})
            write_json(temporary / "state.json", document)
    return Checkpoint(target, step)


def prune(checkpoints: Sequence[Checkpoint], keep: int, best_step: int | None) -> None:
    """Remove all but the newest `keep` checkpoints and the best."""
    for checkpoint in checkpoints[:-keep]:
        if checkpoint.step != best_step:
            discard(checkpoint.path)


@torch.no_grad()
def is_sound(model: nn.Module, averages: Iterable[Tensor]) -> bool:
    """Whether a model may be saved: its parameters and their averages are finite, no buffer is NaN.

    A buffer may have infinities where that is its meaning, as in a mask.
    """
    weights = _largest([*model.parameters(), *averages])
    kept = saved(model)
    buffers = _largest(b for name, b in model.named_buffers() if name in kept)
    return bool(weights.isfinite().all() & ~buffers.isnan().any())


def diverged(problem: str, there: Sequence[Checkpoint]) -> DivergedError:
    """What is said of a training that is lost: `there` are the checkpoints that it has left."""
    kept = f"; the checkpoint of step {there[-1].step} is kept" if there else ""
    return DivergedError(
        f"{problem}{kept}.", "Try a lower --lr, --clip-norm 1 or --precision fp32."
    )


def _largest(tensors: Iterable[Tensor]) -> Tensor:
    """The largest size in each floating-point tensor; of a NaN it is NaN."""
    own = (own_shard(t.detach()) for t in tensors)
    floating = [t for t in own if t.is_floating_point() and t.numel()]
    if not floating:
        return torch.zeros(0)
    norms = torch._foreach_norm(floating, float("inf"))
    return torch.stack([norm.float() for norm in norms]).cpu()


def load_model(model: GenerativeModel, checkpoint: Checkpoint, *, ema: bool = True) -> str:
    """Load a checkpoint's weights into a model on the CPU.

    Args:
        model: Built with the config and data of the run.
        checkpoint: Of the run.
        ema: Prefer the moving average, where there is one.

    Returns:
        Which weights were loaded: "ema" or "raw".

    Raises:
        RunError: If the files are damaged or belong to another architecture.
    """
    tensors = model_tensors(model, checkpoint)
    averages: dict[str, Tensor] = {}
    if ema and checkpoint.state["ema"]:
        averages = trainer_tensors(model, checkpoint, "ema/")
        stages, index = model.stages(), checkpoint.state["stage"]
        updates = stages[index].updates if index < len(stages) else ()
        averaged = {p for u in updates if u.ema for p in u.parameters}
        check(averages, live_tensors(model, averaged), f"{checkpoint.path}: ema")
    model.load_state_dict(tensors | averages)
    return "ema" if averages else "raw"


def model_tensors(model: GenerativeModel, checkpoint: Checkpoint) -> dict[str, Tensor]:
    """The tensors of model.safetensors, which are just like the model's own.

    Raises:
        RunError: If the file is damaged or belongs to another architecture.
    """
    like = saved(model)
    name = "model.safetensors"
    tensors = checkpoint.tensors(name, limit=_size(model) + _HEADER)
    check(tensors, like, str(checkpoint.path / name))
    return tensors


def trainer_tensors(
    model: GenerativeModel, checkpoint: Checkpoint, prefix: str = ""
) -> dict[str, Tensor]:
    """The tensors of trainer.safetensors under `prefix`, which is cut off; still to be checked.

    Raises:
        RunError: If the file is damaged, or larger than this model's can be.
    """
    limit = _TRAINER_SHARE * _size(model) + _HEADER
    return checkpoint.tensors("trainer.safetensors", prefix, limit)


def _size(model: GenerativeModel) -> int:
    return sum(t.numel() * t.element_size() for t in saved(model).values())


def random_state(device: torch.device) -> dict[str, Tensor]:
    """The states of torch's generators on the CPU and on `device`."""
    state = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    elif device.type == "mps":
        state["mps"] = torch.mps.get_rng_state()
    return state


def set_random_state(state: Mapping[str, Tensor], device: torch.device) -> None:
    """Put back what `random_state` gave; a device that was not there keeps its own state.

    Raises:
        RunError: If it is no state of these generators.
    """
    own = {name: t for name, t in random_state(device).items() if name in {"cpu", *state}}
    check({name: t for name, t in state.items() if name in own}, own, "random states")
    try:
        torch.set_rng_state(state["cpu"])
        if device.type == "cuda" and "cuda" in state:
            torch.cuda.set_rng_state(state["cuda"], device)
        elif device.type == "mps" and "mps" in state:
            torch.mps.set_rng_state(state["mps"])
    except RuntimeError as error:
        raise RunError(f"The checkpoint's random state is none: {error}.", ANOTHER) from None
