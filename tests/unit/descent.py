"""A few steps of Adam on one batch, by a model's own loss."""

from __future__ import annotations

import torch

from gencli.models.interface import Batch, GenerativeModel, Step


def descend(
    model: GenerativeModel, batch: Batch, *, steps: int, lr: float, until: float | None = None
) -> list[float]:
    """Train a model of one update; its losses, step by step.

    Args:
        model: It is changed.
        batch: Of every step.
        steps: At most so many.
        lr: The learning rate.
        until: No more steps once the loss is below this share of the first.
    """
    (update,) = model.updates()
    optimizer = torch.optim.Adam(update.parameters, lr)
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = update.loss(batch, Step()).total
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        if until is not None and losses[-1] < until * losses[0]:
            break
    return losses
