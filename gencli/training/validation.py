"""The figure that checkpoints are selected by."""

from __future__ import annotations

import torch
from torch import Tensor

from gencli.data.store import ResidentStore
from gencli.models.abilities import HasBound, HasLogProb, HasValidation
from gencli.models.interface import GenerativeModel
from gencli.random import mix_seed


def can_validate(model: GenerativeModel) -> bool:
    """Whether the model has a figure to select by."""
    return isinstance(model, HasValidation | HasLogProb | HasBound)


@torch.no_grad()
def validate(model: GenerativeModel, store: ResidentStore, seed: int, batch_size: int) -> float:
    """The mean validation loss: the model's own, else the exact or bounded nll, in nats per image.

    The random numbers come from `seed` alone and leave training's generators untouched.
    """
    device = model.device
    forked = [device] if device.type == "cuda" else []
    total, n = torch.zeros((), dtype=torch.float64), 0
    with torch.random.fork_rng(devices=forked):
        torch.manual_seed(mix_seed(seed, 1))
        for batch in store.in_order(batch_size):
            total += _loss(model, batch.images).double().sum().cpu()
            n += len(batch.images)
    return float(total) / n


def _loss(model: GenerativeModel, x: Tensor) -> Tensor:
    if isinstance(model, HasValidation):
        return model.validation_loss(x)
    if isinstance(model, HasLogProb):
        return -model.log_prob(x)
    assert isinstance(model, HasBound)
    return -model.log_prob_bound(x)
