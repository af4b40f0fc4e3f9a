"""Checkpoints: safetensors and JSON in a directory that is whole or not there.

A checkpoint is written under a temporary name, synced to disk and renamed. Nothing in it is code:
model.safetensors holds the model's state dict, trainer.safetensors the optimizers' tensors, the
moving averages, the random-number states and the open logging window, state.json the counters.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor, nn

from gencli.errors import RunError
from gencli.runs import FORMAT, write_json


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _plain(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copies on the CPU that share no memory, as the format demands."""
    return {name: t.detach().to("cpu", copy=True).contiguous() for name, t in tensors.items()}


def save(
    folder: Path,
    step: int,
    model: Mapping[str, Tensor],
    trainer: Mapping[str, Tensor],
    state: Mapping[str, Any],
) -> Path:
    """Write checkpoints/step-NNNNNNNN whole.

    One of the same step is left as it is: a run is a function of its settings, so it is the same.

    Args:
        folder: The run's checkpoints directory.
        step: Names the checkpoint.
        model: The model's state dict.
        trainer: Everything else that is a tensor.
        state: Everything else.
    """
    target = folder / f"step-{step:08d}"
    if target.exists():
        return target
    temporary = folder / f".{target.name}.{os.getpid()}.tmp"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    for name, tensors in (("model", model), ("trainer", trainer)):
        file = temporary / f"{name}.safetensors"
        file.write_bytes(to_bytes(_plain(tensors)))
        _sync(file)
    write_json(temporary / "state.json", {"format": FORMAT, **state})
    _sync(temporary)
    temporary.rename(target)
    _sync(folder)
    return target


def discard(checkpoint: Path) -> None:
    """Remove a checkpoint, under another name first: half of one is never taken for whole."""
    if checkpoint.exists():
        doomed = checkpoint.with_name(f".{checkpoint.name}.{os.getpid()}.old")
        shutil.rmtree(doomed, ignore_errors=True)
        checkpoint.rename(doomed)
        shutil.rmtree(doomed)


def clean(folder: Path) -> None:
    """Remove what an interrupted write or removal left behind."""
    for left in (*folder.glob(".step-*.tmp"), *folder.glob(".step-*.old")):
        shutil.rmtree(left, ignore_errors=True)


def prune(folder: Path, keep: int, best_step: int | None) -> None:
    """Remove all but the newest `keep` checkpoints and the best."""
    there = sorted(folder.glob("step-*"))
    for checkpoint in there[:-keep]:
        if best_step is None or int(checkpoint.name[5:]) != best_step:
            discard(checkpoint)


def load_tensors(path: Path, prefix: str = "") -> dict[str, Tensor]:
    """The tensors of a safetensors file whose names start with `prefix`, which is cut off.

    Raises:
        RunError: If the file is missing, cut short, or anything but safetensors. Nothing in it is
            ever executed.
    """
    try:
        with safe_open(path, framework="pt") as file:
            return {
                name.removeprefix(prefix): file.get_tensor(name)
                for name in file.keys()  # noqa: SIM118 -- not a dict
                if name.startswith(prefix)
            }
    except (SafetensorError, OSError) as error:
        raise RunError(
            f"{path} is no whole safetensors file: {error}.",
            "Use another checkpoint: --checkpoint STEP, or train again.",
        ) from None


def load_model(model: nn.Module, checkpoint: Path, *, ema: bool = True) -> str:
    """Load a checkpoint's weights into a model.

    Args:
        model: Built with the config and data of the run.
        checkpoint: The checkpoint's directory.
        ema: Prefer the moving average, where there is one.

    Returns:
        Which weights were loaded: "ema" or "raw".

    Raises:
        RunError: If the files are damaged or belong to another architecture.
    """
    tensors = load_tensors(checkpoint / "model.safetensors")
    averages = load_tensors(checkpoint / "trainer.safetensors", "ema/") if ema else {}
    restore(model, tensors | averages, checkpoint)
    return "ema" if averages else "raw"


def restore(model: nn.Module, tensors: Mapping[str, Tensor], checkpoint: Path) -> None:
    """Put tensors into a model by name.

    Raises:
        RunError: If names or shapes differ.
    """
    try:
        model.load_state_dict(dict(tensors))
    except RuntimeError as error:
        reason = str(error).splitlines()[1:2] or [str(error)]
        raise RunError(
            f"{checkpoint} does not fit the model: {reason[0].strip()}",
            "It was written by another version or for other options; train again.",
        ) from None


def random_state(device: torch.device) -> dict[str, Tensor]:
    """The states of torch's generators on the CPU and on `device`."""
    state = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    elif device.type == "mps":
        state["mps"] = torch.mps.get_rng_state()
    return state


def set_random_state(state: Mapping[str, Tensor], device: torch.device) -> None:
    """Put back what `random_state` gave; a device that was not there keeps its own state."""
    torch.set_rng_state(state["cpu"])
    if device.type == "cuda" and "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"], device)
    elif device.type == "mps" and "mps" in state:
        torch.mps.set_rng_state(state["mps"])
