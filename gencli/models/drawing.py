"""The one loop that draws images, and the one way into evaluation mode."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from gencli.data.conditions import NOTHING, Condition
from gencli.device import has_fast_bf16
from gencli.models.abilities import abilities_of
from gencli.models.interface import GenerativeModel
from gencli.processes import ALONE, Processes
from gencli.random import ImageGenerator

OnStep = Callable[[int, int, Tensor], None]
"""Called after each step of a sampler with its number, how many there are, and the images."""

SAMPLE_BATCH = 250
"""Images per forward pass unless told otherwise, on devices other than a CPU."""


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode without gradients for a while; every module gets its own mode back."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, mode in modes.items():
            module.training = mode


def draw(
    model: GenerativeModel,
    n: int,
    *,
    seed: int,
    first: int = 0,
    condition: Condition = NOTHING,
    batch_size: int | None = None,
    options: Mapping[str, Any] | None = None,
    on_step: OnStep | None = None,
    processes: Processes = ALONE,
) -> Iterator[Tensor]:
    """Draw `n` images, batch by batch, float32 (B, C, H, W) in [0, 1] on the CPU.

    Image i depends on the model, the seed, its condition and i alone. A model that may is run under
    bf16 where the device is fast in it.

    Args:
        model: In evaluation mode.
        n: How many.
        seed: Of the whole draw.
        first: Number of the first image within the draw.
        condition: Of the `n` images, of the kinds that the model takes.
        batch_size: Images per forward pass; None means as many as are fastest.
        options: The model's own, such as `temperature`.
        on_step: For samplers that go in steps.
        processes: Draw whole batches each; every one of them gets all images.
    """
    given = dict(options or {})
    if on_step is not None and abilities_of(model).steps:
        given["on_step"] = on_step
    device = model.device
    size = batch_size or (model.cpu_sample_batch if device.type == "cpu" else SAMPLE_BATCH)
    bf16 = model.bf16_sampling and has_fast_bf16(device)
    condition = condition.to(device)

    def drawn(rows: range) -> Tensor:
        generator = ImageGenerator(seed, [first + row for row in rows], device)
        asked = condition.rows(slice(rows.start, rows.stop))
        with torch.no_grad(), torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            images = model.sample(len(rows), generator=generator, condition=asked, **given)
        return images.float().cpu()

    for start in range(0, n, size * processes.world):
        starts = (start + rank * size for rank in range(processes.world))
        batches = [range(min(at, n), min(at + size, n)) for at in starts]
        own = batches[processes.rank]
        images = drawn(own) if own else torch.empty(0, *model.data.shape)
        yield from filter(len, processes.exchanged(images, [len(rows) for rows in batches]))
