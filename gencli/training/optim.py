"""Optimizers from their specifications, and the learning rate as a function of the step."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from gencli.models.interface import Optimizer
from gencli.training.tensors import check, own_shard, put


def build(spec: Optimizer, parameters: Iterable[nn.Parameter], lr: float) -> torch.optim.Optimizer:
    """The torch optimizer, fused into one kernel where torch has that."""
    params = list(parameters)
    lr = lr * spec.lr_scale
    match spec.kind:
        case "adam":
            return torch.optim.Adam(params, lr, spec.betas, spec.eps, spec.weight_decay, fused=True)
        case "adamw":
            return torch.optim.AdamW(
                params, lr, spec.betas, spec.eps, spec.weight_decay, fused=True
            )
        case "sgd":
            whole = all(own_shard(p) is p for p in params)  # torch fuses it for no shards
            return torch.optim.SGD(
                params, lr, spec.momentum, weight_decay=spec.weight_decay, fused=whole
            )
        case "rmsprop":
            return torch.optim.RMSprop(
                params, lr, eps=spec.eps, weight_decay=spec.weight_decay, momentum=spec.momentum
            )


def lr_factor(
    step: int, total: int | None, schedule: Literal["constant", "cosine"], warmup: int
) -> float:
    """What the learning rate is multiplied by in step `step` (from 0) of `total`."""
    rise = min(1.0, (step + 1) / warmup) if warmup else 1.0
    if schedule == "cosine" and total:
        return rise * 0.5 * (1 + math.cos(math.pi * min(step / total, 1.0)))
    return rise


def state_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimizer's tensors by `index.key`, index counting its parameters.

    A parameter without a gradient so far has none; it gets those that it begins with, so that all
    have theirs. Before the first step there are none at all.
    """
    if not optimizer.state:
        return {}
    return {
        f"{i}.{key}": optimizer.state.get(p, {}).get(key, first)
        for i, p, firsts in _beginnings(optimizer)
        for key, first in firsts.items()
    }


def load_state_tensors(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Put back what `state_tensors` gave, in the memory layout of each parameter.

    Raises:
        RunError: If a tensor is missing, is not the optimizer's, or has another shape or type: the
            fused kernels would read and write outside of it.
    """
    beginnings = list(_beginnings(optimizer))
    like = {f"{i}.{key}": first for i, _, firsts in beginnings for key, first in firsts.items()}
    check(tensors, like, "The optimizer's state")
    with torch.no_grad():
        for i, p, firsts in beginnings:
            for key, first in firsts.items():
                put(first, tensors[f"{i}.{key}"])
                optimizer.state[p][key] = first


def _beginnings(
    optimizer: torch.optim.Optimizer,
) -> Iterator[tuple[int, nn.Parameter, dict[str, Tensor]]]:
    """Each parameter's number, itself, and its state before the first step, in torch's names."""
    number = 0
    for group in optimizer.param_groups:
        match optimizer:
            case torch.optim.Adam():  # AdamW is one
                moments = ["exp_avg", "exp_avg_sq"]
            case torch.optim.RMSprop():
                moments = ["square_avg"] + ["momentum_buffer"] * (group["momentum"] > 0)
            case _:
                moments = ["momentum_buffer"] * (group["momentum"] != 0)
        counts = not isinstance(optimizer, torch.optim.SGD)
        for p in group["params"]:
            # Fused kernels count steps on the parameter's device, the others on the CPU.
            at = p.device if group.get("fused") else torch.device("cpu")
            step = {"step": torch.zeros((), dtype=torch.float32, device=at)} if counts else {}
            yield number, p, step | {key: torch.zeros_like(p) for key in moments}
            number += 1
