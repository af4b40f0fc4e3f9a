"""Tensors from a file are checked before they are used."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from gencli.errors import RunError

CURE = "It was written by another version or for other options; train again."


def check(tensors: Mapping[str, Tensor], like: Mapping[str, Tensor], where: str) -> None:
    """See that tensors have the names, shapes and types that they must have.

    Args:
        tensors: From a file.
        like: What they must be like.
        where: They come from, for the error.

    Raises:
        RunError: With the first name that differs.
    """
    for name in like:
        if name not in tensors:
            raise RunError(f"{where} lacks {name}.", CURE)
    for name, tensor in tensors.items():
        if name not in like:
            raise RunError(f"{where} has {name}, which nothing is to have.", CURE)
        wanted = like[name]
        if tensor.shape != wanted.shape or tensor.dtype != wanted.dtype:
            raise RunError(
                f"{where}: {name} is {_kind(tensor)}, and {_kind(wanted)} is needed.", CURE
            )


def check_names(saved: Iterable[str], used: Iterable[str]) -> None:
    """See that a checkpoint of a training has nothing that was not put back.

    Args:
        saved: Names in trainer.safetensors.
        used: Those of the steps' own tensors.

    Raises:
        RunError: With the first name too many.
    """
    for name in set(saved) - set(used):
        if not name.startswith(("random/", "window/", "process/")):
            raise RunError(f"The checkpoint has {name}, which nothing is to have.", CURE)


def under(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose names start with `prefix`, which is cut off."""
    return {k.removeprefix(prefix): t for k, t in tensors.items() if k.startswith(prefix)}


def own_shard(tensor: Tensor) -> Tensor:
    """This process's part of a tensor that several hold in shards; any other is its own."""
    to_local = getattr(tensor, "to_local", None)
    return tensor if to_local is None else to_local()


@torch.no_grad()
def put(into: Tensor, whole: Tensor) -> None:
    """Copy a tensor into one of the same shape, which several processes may hold in shards."""
    if own_shard(into) is not into:
        from torch.distributed.tensor import DTensor, distribute_tensor

        assert isinstance(into, DTensor)
        whole = distribute_tensor(
            whole.to(into.device), into.device_mesh, into.placements, src_data_rank=None
        )
    into.copy_(whole)


def _kind(tensor: Tensor) -> str:
    size = "x".join(map(str, tensor.shape)) or "one number"
    return f"{size} {str(tensor.dtype).removeprefix('torch.')}"
