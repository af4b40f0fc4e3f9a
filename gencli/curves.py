"""The losses of a run over its steps, read from metrics.jsonl. No torch here."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from contextlib import suppress
from itertools import pairwise

from gencli import guarded
from gencli.errors import GencliError
from gencli.runs import Run

NO_LOSSES = frozenset({"step", "epoch", "time", "lr", "images_per_second", "partial", "stage"})
"""What else stands in a line of metrics.jsonl."""

_MOST = 4_000
_BARS = "▁▂▃▄▅▆▇█"


def curves(run: Run) -> dict[str, list[tuple[int, float]]]:
    """Each series of losses as (step, value), oldest first.

    Lines that cannot be read are left out. Of a very long series every second value goes, again and
    again, so that a few thousand are left.
    """
    found: dict[str, list[tuple[int, float]]] = {}
    stride: dict[str, int] = {}
    seen: dict[str, int] = {}
    with suppress(GencliError, OSError):
        for line in guarded.lines(run.path / "metrics.jsonl"):
            for name, step, value in _values(line):
                seen[name] = seen.get(name, 0) + 1
                if seen[name] % stride.setdefault(name, 1) == 0:
                    found.setdefault(name, []).append((step, value))
                if len(found.get(name, ())) > _MOST:
                    found[name] = found[name][1::2]
                    stride[name] *= 2
    return found


def _values(line: str) -> list[tuple[str, int, float]]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):  # cut in two by a kill
        return []
    if not isinstance(row, dict) or type(row.get("step")) is not int:
        return []
    return [
        (name, row["step"], float(value))
        for name, value in row.items()
        if name not in NO_LOSSES and type(value) in (int, float) and math.isfinite(value)
    ]


def main_loss(series: dict[str, list[tuple[int, float]]]) -> tuple[str, list[float]] | None:
    """Name and values of the series that stands for a run: `loss`, else the first there is."""
    for name in ("loss", *series):
        if series.get(name):
            return name, [value for _, value in series[name]]
    return None


def sparkline(values: Sequence[float], width: int = 12) -> str:
    """A curve in one line of text: means over `width` stretches, lowest to highest."""
    n = min(width, len(values))
    if n == 0:
        return ""
    edges = [len(values) * i // n for i in range(n + 1)]
    means = [math.fsum(values[a:b]) / (b - a) for a, b in pairwise(edges)]
    low, high = min(means), max(means)
    if not high > low:
        return _BARS[0] * n
    return "".join(_BARS[round((m - low) / (high - low) * (len(_BARS) - 1))] for m in means)
