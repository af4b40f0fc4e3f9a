"""A few steps of Adam on one batch, by a model's own loss."""

from __future__ import annotations

import torch

from gencli.models.interface import Batch, GenerativeModel, Step


def descend(model: GenerativeModel, batch: Batch, *, steps: int, lr: float) -> list[float]:
    """Train a model of one update; its losses, step by step."""
    (update,) = model.updates()
    optimizer = torch.optim.Adam(update.parameters, lr)
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = update.loss(batch, Step()).total
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses
