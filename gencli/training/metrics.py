"""The losses between two lines of metrics.jsonl, and the file itself."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gencli import guarded
from gencli.atomic import CURE, whole_file, writing
from gencli.checkpoint import ANOTHER
from gencli.errors import RunError


class Window:
    """The losses since the last line of metrics.jsonl, left on their device until it is written.

    Args:
        tensors: What `tensors` gave, when a run is resumed.

    Attributes:
        step: The step (from 1) that the values taken in belong to.

    Raises:
        RunError: If these are no losses.
    """

    def __init__(self, tensors: Mapping[str, Tensor] | None = None) -> None:
        self.step = 0
        self._values: dict[str, list[Tensor]] = {}
        self._steps: dict[str, list[int]] = {}
        for name, t in (tensors or {}).items():
            if t.dim() != 1 or t.dtype != torch.float32 or not t.isfinite().all():
                raise RunError(f"The checkpoint's window/{name} is no series of losses.", ANOTHER)
            self._values[name] = list(t.unbind())
            self._steps[name] = [0] * len(t)

    def add(self, name: str, value: Tensor) -> None:
        """Take in one 0-d value."""
        self._values.setdefault(name, []).append(value.detach())
        self._steps.setdefault(name, []).append(self.step)

    def tensors(self) -> dict[str, Tensor]:
        """The values so far, one 1-d float32 tensor per name."""
        return {name: torch.stack(v).float() for name, v in self._values.items() if v}

    def means(self) -> dict[str, float]:
        """The mean of each series."""
        return {name: float(t.double().mean()) for name, t in self.tensors().items()}

    def first_non_finite(self) -> tuple[str, int] | None:
        """Name and step of the earliest value that is not finite."""
        found = [
            (self._steps[name][int(bad[0])], name)
            for name, t in self.tensors().items()
            if len(bad := (~t.isfinite()).nonzero())
        ]
        if not found:
            return None
        step, name = min(found, key=lambda row: row[0])
        return name, step

    def clear(self) -> None:
        """Begin a new window."""
        self._values.clear()
        self._steps.clear()


class MetricsLog:
    """Appends to metrics.jsonl; resuming cuts off what came after the checkpoint.

    The file is never rewritten in place: a shorter one replaces it whole.

    Args:
        path: The file.
        step: Lines of later steps, and the partial last line of an earlier session, are removed.
        follower: Given every line as it is written.

    Raises:
        RunError: If the file is a link or no regular file.
    """

    def __init__(
        self, path: Path, step: int, follower: Callable[[Mapping[str, Any]], None] | None = None
    ) -> None:
        self._path, self._follower = path, follower
        try:
            before = list(guarded.lines(path))
        except FileNotFoundError:
            return
        kept = [line for line in before if _belongs(line, step)]
        if kept != before:
            with whole_file(path) as file:
                file.write("".join(kept).encode())

    def write(self, row: Mapping[str, Any]) -> None:
        """Append one line, with the time of the clock in seconds since 1970.

        Raises:
            RunError: If the file is a link or no regular file.
            GencliError: If it cannot be written.
        """
        row = {**row, "time": round(time.time(), 3)}
        with writing(self._path, cure=CURE), guarded.appending(self._path) as file:
            file.write((json.dumps(row) + "\n").encode())
        if self._follower is not None:
            self._follower(row)


def _belongs(line: str, step: int) -> bool:
    """Whether a line is a whole row of this step or one before it."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):  # the line that a kill cut short
        return False
    if not isinstance(row, dict) or not line.endswith("\n"):
        return False
    at = row.get("step")
    return type(at) is int and at <= step and not row.get("partial")
