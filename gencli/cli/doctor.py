"""`gencli doctor`: versions, devices, directories, what is missing and the cure."""

from __future__ import annotations

import os
import platform
import shutil
import warnings
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import gencli
from gencli import home, registry, runs
from gencli.cli import console
from gencli.cli.arguments import Json, Quiet, be_quiet

PACKAGES = ("torch", "torchvision", "typer", "rich", "numpy", "pillow", "safetensors")
EXTRAS = ("onnx", "onnxscript", "onnxruntime")


def doctor(json: Json = False, quiet: Quiet = False) -> None:
    """Show versions, devices and directories; what is missing, and the cure."""
    be_quiet(quiet)
    import torch

    from gencli.data.fetch import shown
    from gencli.device import choose_device, has_fast_bf16

    chosen = choose_device()
    problems: list[dict[str, str]] = []
    packages = {name: _version(name) for name in (*PACKAGES, *EXTRAS)}
    if any(packages[name] is None for name in EXTRAS):
        problems.append(
            {"problem": "ONNX export is not installed.", "cure": 'pip install "gencli[onnx]"'}
        )
    if shutil.which("c++") is None and shutil.which("g++") is None:
        problems.append(
            {"problem": "--compile on the CPU needs a C++ compiler.", "cure": "Install g++."}
        )
    with warnings.catch_warnings(record=True) as broken:
        warnings.simplefilter("always")
        registry.models.cache_clear()
        registry.models()
        runs.all_runs()
    for warning in broken:
        cure = "Mend it, or remove it."
        problems.append({"problem": str(warning.message), "cure": cure})
    mirror = os.environ.get("GENCLI_MIRROR")
    directories = {"runs": home.runs_dir(), "cache": home.cache_dir()}
    for name, path in directories.items():
        there = next(p for p in (path, *path.parents) if p.exists())
        if not os.access(there, os.W_OK):
            problems.append(
                {"problem": f"{there} ({name}) is not writable.", "cure": "Set GENCLI_HOME."}
            )
    document: dict[str, Any] = {
        "gencli": gencli.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": packages,
        "devices": {
            "chosen": str(chosen),
            "fast_bf16": has_fast_bf16(chosen),
            "cuda": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
            "mps": torch.backends.mps.is_available(),
            "cpu_threads": torch.get_num_threads(),
        },
        "directories": {name: str(path) for name, path in directories.items()},
        "mirror": shown(mirror) if mirror else None,
        "problems": problems,
    }
    if json:
        console.emit_json(document)
        return
    for key, value in document.items():
        if key == "problems":
            continue
        if isinstance(value, dict):
            console.emit(f"{key}:")
            for name, item in value.items():
                console.emit(f"  {name}: {_said(item)}")
        else:
            console.emit(f"{key}: {'-' if value is None else value}")
    for found in problems:
        console.emit(f"problem: {found['problem']}  cure: {found['cure']}")
    if not problems:
        console.emit("problems: none")


def _said(item: Any) -> str:
    """A value in words."""
    if isinstance(item, list):
        return ", ".join(item) or "none"
    words = {None: "not installed", True: "yes", False: "no"}
    return words[item] if item is None or isinstance(item, bool) else str(item)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
