"""The figure that checkpoints are selected by."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import torch
from torch import Tensor

from gencli.data.store import ResidentStore
from gencli.models.abilities import (
    HasBound,
    HasEnergy,
    HasLogPartition,
    HasLogProb,
    HasLogWeights,
    HasValidation,
)
from gencli.models.interface import Batch, GenerativeModel, Stage
from gencli.processes import Processes
from gencli.random import mix_seed

BATCH = 500
"""Images per forward pass."""

PerImage = Callable[[Batch], Tensor]
"""A batch -> (B,), smaller is better."""


@torch.no_grad()
def validate(
    model: GenerativeModel,
    stage: Stage,
    store: ResidentStore,
    seed: int,
    processes: Processes | None = None,
    batch_size: int = BATCH,
) -> float:
    """The mean validation loss of the stage: its own, the model's own, or the nll in nats.

    That is exact, a bound, or by a quick estimate of log Z. The random numbers come from `seed`
    alone and leave training's generators untouched. Several processes share the batches out, and
    each estimates log Z; all get the same figure.

    Raises:
        TypeError: If there is none; `figure_of` tells.
    """
    per_image = figure_of(model, stage)
    if per_image is None:
        raise TypeError(f"{type(model).__name__} has no figure to select by")
    processes = processes or Processes()
    rank, world = processes.rank, processes.world
    size = min(batch_size, math.ceil(len(store) / world))
    device = model.device
    forked = [device] if device.type == "cuda" else []
    total, offset = torch.zeros(2, dtype=torch.float64)
    with torch.random.fork_rng(devices=forked):
        torch.manual_seed(mix_seed(seed, 1, *processes.part_of_seed))
        if _lacks_log_z(model, stage) and isinstance(model, HasLogPartition):
            offset += model.log_partition().value
        for batch in itertools.islice(store.in_order(size), rank, None, world):
            total += per_image(batch).double().sum().cpu()
    processes.add([total])
    processes.average([offset])
    return float(total) / len(store) + float(offset)


def _lacks_log_z(model: GenerativeModel, stage: Stage) -> bool:
    own = stage.validate is not None or isinstance(model, HasValidation | HasLogProb)
    return not own and isinstance(model, HasLogPartition)


def figure_of(model: GenerativeModel, stage: Stage) -> PerImage | None:
    """What is averaged over validation images, without log Z; None where there is nothing."""
    if stage.validate is not None:
        return stage.validate
    if isinstance(model, HasValidation):
        return lambda batch: model.validation_loss(batch.images, batch.condition)
    if isinstance(model, HasLogProb):
        return lambda batch: -model.log_prob(batch.images, batch.condition)
    if isinstance(model, HasBound):
        return lambda batch: -model.log_prob_bound(batch.images, batch.condition)
    if isinstance(model, HasLogWeights):
        return lambda batch: -model.log_weights(batch.images, 1, batch.condition)[0]
    if isinstance(model, HasEnergy) and isinstance(model, HasLogPartition):
        return lambda batch: model.energy(batch.images)
    return None
