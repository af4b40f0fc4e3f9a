"""How large a batch fits in memory: found by taking steps with a copy of the model.

Nothing of the training is touched: a copy takes the steps, with random numbers that are put back.
On a CPU, where the system may kill who takes too much, a larger batch is tried only if, by what the
last one took, it will fit in half of the memory.
"""

from __future__ import annotations

import copy
import gc
import itertools
import os
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Literal, NamedTuple

import torch

from gencli import memory
from gencli.data.order import Order
from gencli.data.splits import ImageData
from gencli.data.store import ResidentStore, store_of
from gencli.errors import GencliError
from gencli.models.interface import GenerativeModel
from gencli.place import place_in
from gencli.processes import Processes
from gencli.training.metrics import Window
from gencli.training.settings import Settings
from gencli.training.steps import Steps
from gencli.training.weights import placed

MOST = 1024
"""Images that a batch has at most, for each process."""

_FIRST = 32
_PATIENCE = 20.0
"""Seconds that a larger batch may take to be tried."""

_SHARE_OF_DEVICE = 0.9
_TOO_MANY = "twice as many do not fit in memory"
_DOUBTFUL = "twice as many might not fit in memory"


class Found(NamedTuple):
    """A batch that fits."""

    size: int
    """Its images."""

    why: str
    """Why it is no larger."""


def with_a_batch(
    settings: Settings,
    network: GenerativeModel,
    data: ImageData,
    device: torch.device,
    precision: Literal["fp32", "bf16"],
    processes: Processes,
) -> tuple[Settings, str]:
    """The settings with the largest batch that fits in all processes, and why it is no larger.

    Raises:
        GencliError: If no batch fits that the settings allow.
    """
    beside = place_in(os.environ).local_world
    found, why = largest_batch(
        network, data, settings, device=device, precision=precision, beside=beside
    )
    (least,) = (-n for n in processes.largest(-found))
    return replace(settings, batch_size=least * processes.world), why


def largest_batch(
    network: GenerativeModel,
    data: ImageData,
    settings: Settings,
    *,
    device: torch.device,
    precision: Literal["fp32", "bf16"],
    most: int = MOST,
    beside: int = 1,
) -> Found:
    """The largest power of two whose steps fit in memory, for one process.

    Args:
        network: Left as it is.
        data: Its training images are used.
        settings: Of the training, but for the size of a batch.
        device: Where it is to be trained.
        precision: Of the losses' forward pass.
        most: Images that it may have.
        beside: Processes that share this machine's memory, this one included.

    Raises:
        GencliError: If no batch fits that the settings allow.
    """
    least = _power(2 * settings.grad_accumulation)
    most = max(min(most, len(data.train)), least)
    share = memory.SHARE / beside
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        store = store_of(data.train, data.info, device, network.conditions)

        def step(n: int) -> None:
            _step(network, store, replace(settings, batch_size=n), device, precision)

        size, why = max(_power(min(_FIRST, most) // 2 + 1), least), f"{most} are the most"
        while (room := _room_after(step, size, device, share)) is None:
            if size == least:
                raise GencliError(
                    f"There is not enough memory for a batch of {size} images.",
                    "Use a smaller model, or free memory.",
                )
            size, most, why = size // 2, size // 2, _TOO_MANY
        while room and 2 * size <= most:
            began = time.monotonic()
            larger = _room_after(step, 2 * size, device, share)
            if larger is None:
                return Found(size, _TOO_MANY)
            size, room = 2 * size, larger
            if 2 * (time.monotonic() - began) > _PATIENCE:
                return Found(size, "trying more would take long")
    return Found(size, why if room else _DOUBTFUL)


def _power(n: int) -> int:
    """The smallest power of two that is at least `n`."""
    return 1 << (n - 1).bit_length()


def _room_after(
    step: Callable[[int], None], size: int, device: torch.device, share: float
) -> bool | None:
    """Whether twice as many images will fit, by what these take; None if these do not fit."""
    gc.collect()
    before = memory.peak(anew=True)
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
    try:
        step(size)
    except (MemoryError, RuntimeError) as failure:
        if not memory.ran_out(failure):
            raise
        return None
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        there = free + torch.cuda.memory_reserved(device)
        return torch.cuda.max_memory_allocated(device) <= _SHARE_OF_DEVICE * there or None
    after, machine = memory.peak(), memory.physical()
    if before is None or after is None or machine is None:
        return True  # the clock decides
    return before + 2 * (after - before) <= share * machine


def _step(
    network: GenerativeModel,
    store: ResidentStore,
    settings: Settings,
    device: torch.device,
    precision: Literal["fp32", "bf16"],
) -> None:
    """Two steps of each stage: the second has the optimizer's moments beside all else."""
    model = placed(copy.deepcopy(network), device)
    stages = model.stages()
    for stage in stages:
        size = stage.settings.batch_size or settings.batch_size
        if stage.start is not None:
            with torch.no_grad():
                stage.start(itertools.islice(store.in_order(size), 1))
        order = Order(len(store), size, 0, device)
        steps = Steps(model, stage, store, order, settings, precision=precision, total=None)
        for number in range(2):
            steps.take(number, Window())
        if stage is not stages[-1]:
            steps.end_stage(last=False)
