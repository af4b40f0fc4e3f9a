"""What the first process finds and the others are told: which run, and which data."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from gencli import runs
from gencli.data.load import load
from gencli.data.options import DataOptions
from gencli.data.splits import ImageData
from gencli.errors import DataError
from gencli.kinds import Progress
from gencli.processes import Processes
from gencli.runs import Run


def run_of_the_first(find: Callable[[], Run], processes: Processes) -> Run:
    """A run that the first process finds or makes."""
    there: list[Run] = []

    def found() -> dict[str, Any]:
        there.append(find())
        return {"path": str(there[0].path), "record": there[0].record}

    told = processes.told(found)
    return there[0] if there else runs.known(Path(told["path"]), told["record"])


def same_data(
    options: DataOptions, processes: Processes, progress: Progress | None, *, purpose: str
) -> ImageData:
    """Data that each process has loaded.

    Args:
        options: Which they are.
        processes: All that take part.
        progress: Is told what is being done.
        purpose: What is prepared once they are there.

    Raises:
        DataError: If they are not the same everywhere.
    """
    data = processes.in_turn(lambda: load(options, progress))
    if progress is not None:
        progress(f"preparing the {purpose}", 0, 0)  # what was told of the data is over
    if processes.told(lambda: data.fingerprint) != data.fingerprint:
        raise DataError(
            f"{options.data} is not the same here as it is for the first process.",
            "Give all machines the same files.",
        )
    return data
