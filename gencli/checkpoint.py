"""What a checkpoint is, and reading one that somebody else may have made. No torch here.

<run>/checkpoints/step-NNNNNNNN/model.safetensors     the model's state dict
                                trainer.safetensors   optimizers, averages, random states, losses
                                state.json            counters; size and SHA-256 of the two
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gencli import guarded
from gencli.atomic import to_json
from gencli.errors import RunError

if TYPE_CHECKING:
    from torch import Tensor

FORMAT = 2
"""Of runs and checkpoints."""

ANOTHER = "Use another checkpoint: --checkpoint STEP, or train again."
_NAME = re.compile(r"step-(\d{8,18})")
_NONE = type(None)
_FIELDS: dict[str, guarded.Kinds] = {
    **dict.fromkeys(("step", "stage", "stage_step", "images"), int),
    **dict.fromkeys(("epoch", "seconds"), (int, float)),
    "best_step": (int, _NONE),
    "best_value": (int, float, _NONE),
    "ema": bool,
    "files": dict,
    "checksum": str,
}


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint's directory.

    Attributes:
        path: The directory.
        step: How many steps had been taken.
    """

    path: Path
    step: int

    @staticmethod
    def at(path: Path) -> Checkpoint | None:
        """The checkpoint of a path under checkpoints/; None if its name is of no checkpoint."""
        found = _NAME.fullmatch(path.name)
        return Checkpoint(path, int(found[1])) if found else None

    @cached_property
    def state(self) -> dict[str, Any]:
        """The contents of state.json.

        Raises:
            RunError: If it is missing, damaged, of another format, or lacks a field.
        """
        path = self.path / "state.json"
        guarded.refuse_link(self.path)
        text = guarded.content(path, ANOTHER)
        state = guarded.parsed(text, path, ANOTHER)
        check_format(state, path)
        guarded.check_fields(state, _FIELDS, path, ANOTHER)
        whole = sealed({name: v for name, v in state.items() if name != "checksum"})
        if text != to_json(whole):  # to the byte: 0.1 and 0.10 are two
            raise RunError(f"{path} is damaged: its checksum is another.", ANOTHER)
        numbers = [v for v in state.values() if isinstance(v, int | float)]
        if state["step"] != self.step or not all(-1e300 < v < 1e300 for v in numbers):
            raise RunError(f"{path} cannot be of step {self.step}.", ANOTHER)
        if min(state[name] for name in ("stage", "stage_step", "images", "epoch", "seconds")) < 0:
            raise RunError(f"{path} counts below zero.", ANOTHER)
        best = state["best_step"]
        if (best is None) != (state["best_value"] is None) or not 0 <= (best or 0) <= self.step:
            raise RunError(f"{path} has no step of its best loss, or no such step.", ANOTHER)
        return state

    def verified(self, name: str, limit: int | None = None) -> Path:
        """The path of one of its files, once its size and SHA-256 are as state.json has them.

        Args:
            name: model.safetensors or trainer.safetensors.
            limit: Largest size in bytes.

        Raises:
            RunError: If the file is missing, too large or damaged.
        """
        path = self.path / name
        noted = self.state["files"].get(name)
        try:
            size = path.lstat().st_size
            if limit is not None and size > limit:
                raise RunError(f"{path} is larger than the model can need: {size} bytes.", ANOTHER)
            # The size first: it costs nothing.
            cut = not isinstance(noted, dict) or noted.get("size") != size
            if cut or guarded.fingerprint(path) != noted:
                raise RunError(f"{path} is damaged: its checksum is another.", ANOTHER)
        except OSError as error:
            raise RunError(f"{path} cannot be read: {error.strerror or error}.", ANOTHER) from None
        return path

    def tensors(self, name: str, prefix: str = "", limit: int | None = None) -> dict[str, Tensor]:
        """The tensors of one of its files whose names start with `prefix`, which is cut off.

        Nothing in the file is ever executed. Names, shapes and types are still to be checked.

        Raises:
            RunError: As for `verified`, and if it is no whole safetensors file.
        """
        from safetensors import SafetensorError, safe_open

        path = self.verified(name, limit)
        try:
            with safe_open(path, framework="pt") as file:
                return {
                    key.removeprefix(prefix): file.get_tensor(key)
                    for key in file.keys()  # noqa: SIM118 -- not a dict
                    if key.startswith(prefix)
                }
        except (SafetensorError, OSError, RuntimeError, ValueError, TypeError) as error:
            raise RunError(f"{path} is no whole safetensors file: {error}.", ANOTHER) from None


def sealed(state: Mapping[str, Any]) -> dict[str, Any]:
    """The contents of state.json with a checksum of its own."""
    text = json.dumps(state, sort_keys=True)
    return {**state, "checksum": hashlib.sha256(text.encode()).hexdigest()}


def check_format(document: Mapping[str, Any], path: Path) -> None:
    """See that a run's or a checkpoint's JSON is of the format that this version reads.

    Raises:
        RunError: If it is older, newer or says nothing.
    """
    version = document.get("format")
    if type(version) is not int or version < 1:
        raise RunError(f"{path} is of no gencli format.", "`gencli list runs` shows the runs.")
    if version > FORMAT:
        raise RunError(
            f"{path} has format {version}; this gencli reads format {FORMAT}.",
            "Upgrade gencli: pip install -U gencli.",
        )
    if version < FORMAT:
        raise RunError(
            f"{path} was written by an older gencli (format {version}); this one reads {FORMAT}.",
            "Train again, or use the version of gencli that run.json names.",
        )
