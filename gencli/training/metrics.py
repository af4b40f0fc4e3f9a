"""The losses between two lines of metrics.jsonl, and the file itself."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor


class Window:
    """The losses since the last line of metrics.jsonl, left on their device until it is written."""

    def __init__(self, tensors: Mapping[str, Tensor] | None = None) -> None:
        self._values = {name: list(t.unbind()) for name, t in (tensors or {}).items()}

    def add(self, name: str, value: Tensor) -> None:
        """Take in one 0-d value."""
        self._values.setdefault(name, []).append(value.detach())

    def tensors(self) -> dict[str, Tensor]:
        """The values so far, one 1-d float32 tensor per name."""
        return {name: torch.stack(v).float() for name, v in self._values.items()}

    def means(self) -> dict[str, float]:
        """The mean of each series."""
        return {name: float(t.double().mean()) for name, t in self.tensors().items()}

    def first_non_finite(self) -> tuple[str, int] | None:
        """Name and place, counted from the window's end, of the earliest non-finite value."""
        found = [
            (len(t) - int(bad[0]), name)
            for name, t in self.tensors().items()
            if len(bad := (~t.isfinite()).nonzero())
        ]
        return (max(found)[1], max(found)[0]) if found else None

    def clear(self) -> None:
        """Begin a new window."""
        self._values.clear()


class MetricsLog:
    """Appends to metrics.jsonl; resuming cuts off what came after the checkpoint.

    Args:
        path: The file.
        step: Lines of later steps, and the partial last line of an earlier session, are removed.
    """

    def __init__(self, path: Path, step: int) -> None:
        self._path = path
        if path.exists():
            kept = [row for row in _rows(path) if row["step"] <= step and not row.get("partial")]
            path.write_text("".join(json.dumps(row) + "\n" for row in kept), encoding="utf-8")

    def write(self, row: Mapping[str, Any]) -> None:
        """Append one line."""
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")


def _rows(path: Path) -> list[dict[str, Any]]:
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            rows.append(json.loads(line))
        except ValueError:  # the line that a kill cut short
            continue
    return rows
