"""The sheet of `gencli sample RUN --complete`: original, given half, and several completions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from gencli.cli import conditions
from gencli.cli.images import read_images
from gencli.errors import UsageError
from gencli.loaded import LoadedModel, having
from gencli.models.abilities import HasCompletion
from gencli.random import ImageGenerator
from gencli.viz.grid import make_grid


@torch.no_grad()
def completion_sheet(
    loaded: LoadedModel,
    reference: str,
    keep: str,
    *,
    each: int,
    seed: int,
    options: Mapping[str, Any],
    own: Mapping[str, Any],
) -> Any:
    """A picture (H', W', C): one row per image.

    Args:
        loaded: The model.
        reference: Which images, as for `read_images`.
        keep: The half that is given: top, bottom, left or right.
        each: Completions of each image.
        seed: Of the completions.
        options: Sampling options, such as `temperature`.
        own: The command's own options, which may tell the model a condition.

    Raises:
        UsageError: If the model cannot complete images.
    """
    model = loaded.model
    if not isinstance(model, HasCompletion):
        raise UsageError(
            f"{loaded.run.model} does not complete images.", f"These do: {having('completion')}."
        )
    x = read_images(reference, loaded)
    known = torch.zeros(x.shape[2:], dtype=torch.bool)
    half_h, half_w = x.shape[2] // 2, x.shape[3] // 2
    region = {
        "top": (slice(half_h), slice(None)),
        "bottom": (slice(half_h, None), slice(None)),
        "left": (slice(None), slice(half_w)),
        "right": (slice(None), slice(half_w, None)),
    }[keep]
    known[region] = True
    repeated = x.repeat_interleave(each, 0).to(model.device)
    generator = ImageGenerator(seed, range(len(repeated)), model.device)
    condition = loaded.told(len(repeated), conditions.read(own, loaded, len(repeated)))
    filled = model.complete(
        repeated, known.to(model.device), generator=generator,
        condition=condition.to(model.device), **loaded.sampling(options),
    )  # fmt: skip
    filled = filled.float().cpu().view(len(x), each, *x.shape[1:])
    masked = torch.where(known, x, 0.5)
    rows = torch.cat([x[:, None], masked[:, None], filled], dim=1)
    return make_grid(rows.flatten(0, 1), columns=each + 2)
