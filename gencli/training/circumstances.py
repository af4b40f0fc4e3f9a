"""What shapes a training beside its settings: versions, processor, threads, an end put off."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

import gencli
from gencli.runs import Run
from gencli.training.settings import LENGTHS


def versions() -> dict[str, str]:
    """What a run is made with."""
    return {
        "gencli": gencli.__version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def processor(device: torch.device) -> str:
    """The kind of processor, such as `AMD EPYC 9R14, AVX512`: other kinds round otherwise."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    if device.type == "mps":
        return platform.machine()
    return f"{_cpu()}, {torch.backends.cpu.get_cpu_capability()}"


def _cpu() -> str:
    with suppress(OSError, StopIteration):  # only Linux says it in a file
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        return next(li.partition(":")[2].strip() for li in lines if li.startswith("model name"))
    return platform.processor() or platform.machine()


_KINDS = ("device", "processor", "precision", "threads")


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What differs between the circumstances of two trainings, a line each.

    Args:
        before: run.json of one.
        now: Of the other.
    """
    was, found = before.get("versions"), now.get("versions")
    pairs = [(name, _of(was, name), _of(found, name)) for name in ("gencli", "torch", "python")]
    pairs += [(name, before.get(name), now.get(name)) for name in _KINDS]
    data = {_of(record.get("data"), "fingerprint") for record in (before, now)}
    lines = [
        f"{name}: {_told(old)} then, {_told(new)} now" for name, old, new in pairs if old != new
    ]
    return [*lines, *(["data: not the images of then"] if len(data) > 1 else [])]


def lengthened(run: Run, changes: Mapping[str, Any], begun: bool) -> dict[str, Any]:
    """For run.json, that the steps so far were taken towards another end; nothing if they were not.

    Args:
        run: That is resumed.
        changes: Settings given anew.
        begun: Whether it has taken steps.
    """
    if not begun or LENGTHS.isdisjoint(changes):
        return {}
    earlier = run.record.get("lengthened")
    before = {name: run.record["settings"].get(name) for name in sorted(LENGTHS)}
    told = {"step": run.checkpoint().step, "before": before}
    return {"lengthened": [*(earlier if isinstance(earlier, list) else []), told]}


def _of(values: Any, name: str) -> Any:
    return values.get(name) if isinstance(values, Mapping) else None


def _told(value: Any) -> str:
    return "not recorded" if value is None else str(value)
