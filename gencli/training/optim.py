"""Optimizers from their specifications, and the learning rate as a function of the step."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from gencli.models.interface import Optimizer


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
            return torch.optim.SGD(
                params, lr, spec.momentum, weight_decay=spec.weight_decay, fused=True
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
    """The optimizer's tensors by `index.key`, index counting its parameters."""
    params = [p for group in optimizer.param_groups for p in group["params"]]
    return {
        f"{i}.{key}": value
        for i, p in enumerate(params)
        for key, value in optimizer.state.get(p, {}).items()
        if isinstance(value, Tensor)
    }


def load_state_tensors(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Put back what `state_tensors` gave, in the memory layout of each parameter."""
    params = [p for group in optimizer.param_groups for p in group["params"]]
    for name, value in tensors.items():
        index, key = name.split(".", 1)
        p = params[int(index)]
        like = torch.empty_like(p) if value.shape == p.shape else torch.empty_like(value)
        with torch.no_grad():
            optimizer.state[p][key] = like.to(value.dtype).copy_(value)
