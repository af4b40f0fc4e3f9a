"""The lines of metrics.jsonl for TensorBoard too (`--log tensorboard`), in a run's tensorboard/."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from typing import Any

from gencli.curves import NO_LOSSES
from gencli.errors import UsageError
from gencli.runs import Run


def require(log: str) -> None:
    """See to it that the extra is installed, where the setting `log` asks for it.

    Raises:
        UsageError: If it is not.
    """
    if log == "tensorboard" and importlib.util.find_spec("tensorboard") is None:
        raise UsageError(
            "--log tensorboard needs tensorboard.", 'pip install "gencli[tensorboard]"'
        )


def follower(log: str, run: Run, step: int) -> Callable[[Mapping[str, Any]], None] | None:
    """What writes each line of metrics.jsonl as scalars: losses, images per second, rates.

    Args:
        log: The setting; `none` gives None.
        run: Whose directory it writes into.
        step: Events of later steps, of a session that went on beyond it, are not shown any more.

    Raises:
        UsageError: If the extra is not installed.
    """
    if log == "none":
        return None
    require(log)
    from torch.utils.tensorboard import SummaryWriter

    writer = SummaryWriter(str(run.folder("tensorboard")), purge_step=step + 1 if step else None)

    def write(row: Mapping[str, Any]) -> None:
        for name, value in _scalars(row).items():
            writer.add_scalar(name, value, row["step"], row["time"])
        writer.flush()

    return write


def _scalars(row: Mapping[str, Any]) -> dict[str, float]:
    found = {name: value for name, value in row.items() if name not in NO_LOSSES}
    rates = row.get("lr", {})
    found |= {f"lr/{k}": v for k, v in rates.items()} if isinstance(rates, dict) else {"lr": rates}
    if "images_per_second" in row:
        found["images_per_second"] = row["images_per_second"]
    return found
