"""What Python's callers give, looked at before it is used: counts, images and latents."""

from __future__ import annotations

import operator
from typing import Any

import torch
from torch import Tensor

from gencli.data.spec import DataInfo
from gencli.errors import UsageError


def whole(value: Any, name: str, least: int = 1) -> int:
    """A whole number that is large enough.

    Raises:
        UsageError: If it is none, or smaller than `least`.
    """
    try:
        number = operator.index(value)
    except TypeError:
        raise UsageError(f"{name} cannot be {value!r}.", "It takes a whole number.") from None
    if number < least:
        raise UsageError(f"{name} cannot be {number}.", f"It takes at least {least}.")
    return number


def images(x: Any, info: DataInfo, device: torch.device, *, exactly_binary: bool = False) -> Tensor:
    """Images (B, C, H, W) of a model's data, fp32 in [0, 1], on a device.

    Args:
        x: A tensor, or what `torch.as_tensor` takes.
        info: What the model was trained on.
        device: The model's.
        exactly_binary: Refuse grey values where the model knows 0 and 1 alone.

    Raises:
        UsageError: If the shape is another, or a pixel is none of this range.
    """
    found = _tensor(x, "Images")
    if found.dim() != 4 or found.shape[1:] != info.shape:
        raise UsageError(
            f"Images of the shape {tuple(found.shape)} do not fit.",
            f"This model takes (n, {', '.join(map(str, info.shape))}).",
        )
    if found.dtype == torch.uint8:
        raise UsageError("These images have pixels of 0 to 255.", "Divide them: images / 255.")
    found = found.to(device, torch.float32)
    if len(found) and not bool(((found >= 0) & (found <= 1)).all()):  # not-a-number fails too
        raise UsageError("A pixel is outside of [0, 1], or no number.", "Scale the images.")
    if exactly_binary and info.binary and not bool(((found == 0) | (found == 1)).all()):
        raise UsageError(
            "These images have grey values, and this model knows 0 and 1 alone.",
            "Binarise them: (images > 0.5).float().",
        )
    return found


def latents(z: Any, shape: torch.Size, device: torch.device) -> Tensor:
    """Latents (n, *shape), fp32, on a device.

    Raises:
        UsageError: If the shape is another.
    """
    found = _tensor(z, "Latents")
    if not found.dim() or found.shape[1:] != shape:
        raise UsageError(
            f"Latents of the shape {tuple(found.shape)} do not fit.",
            f"This model takes (n, {', '.join(map(str, shape))}).",
        )
    return found.to(device, torch.float32)


def _tensor(given: Any, what: str) -> Tensor:
    try:
        return torch.as_tensor(given)
    except (TypeError, ValueError, RuntimeError):
        raise UsageError(
            f"{what} cannot be made of a {type(given).__name__}.", "Give a tensor or an array."
        ) from None
