"""Which device to compute on, and in which precision."""

from __future__ import annotations

import platform
from typing import Literal

import torch

from gencli.errors import UsageError


def choose_device(name: str = "auto") -> torch.device:
    """The device of that name; `auto` is CUDA, else MPS, else the CPU.

    Raises:
        UsageError: If a device asked for by name is not there.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda", torch.cuda.current_device())
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    kind, _, index = name.partition(":")
    if kind not in ("cpu", "cuda", "mps") or (index and not index.isdigit()):
        raise UsageError(
            f"There is no device called {name}.", "Use auto, cpu, cuda, cuda:N or mps."
        )
    there = {
        "cpu": lambda: not index,
        "cuda": lambda: torch.cuda.is_available() and int(index or 0) < torch.cuda.device_count(),
        "mps": lambda: torch.backends.mps.is_available() and not index,
    }
    if not there[kind]():
        raise UsageError(
            f"The device {name} is not available on this machine.",
            "Use --device auto or cpu; `gencli doctor` lists the devices.",
        )
    return torch.device(name)


def has_fast_bf16(device: torch.device) -> bool:
    """Whether the device multiplies bf16 matrices in hardware."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type == "cpu" and platform.machine() in ("x86_64", "AMD64"):
        return bool(
            torch.cpu._is_avx512_bf16_supported()  # no public name in torch 2.15
            or torch.cpu._is_amx_tile_supported()
        )
    return False


def choose_precision(
    asked: Literal["auto", "fp32", "bf16"], device: torch.device, *, model_allows: bool
) -> Literal["fp32", "bf16"]:
    """The precision of the networks during training.

    Raises:
        UsageError: If bf16 is asked for and the model needs fp32.
    """
    if asked == "bf16" and not model_allows:
        raise UsageError("This model trains in fp32 only.", "Leave out --precision bf16.")
    if asked == "auto":
        return "bf16" if model_allows and has_fast_bf16(device) else "fp32"
    return asked


def slow_precision(precision: Literal["fp32", "bf16"], device: torch.device) -> str | None:
    """A line for the user where the device only imitates the precision; None where it has it."""
    if precision == "fp32" or has_fast_bf16(device):
        return None
    return f"This {device.type} has no bf16 of its own: fp32 would be many times faster here."
