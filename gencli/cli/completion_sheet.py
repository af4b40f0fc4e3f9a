"""The sheet of `gencli sample RUN --complete`: original, what is given, and several completions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from gencli.cli import conditions
from gencli.cli.images import read_images
from gencli.errors import UsageError
from gencli.loaded import LoadedModel
from gencli.models.abilities import HasCompletion, having
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
        keep: What is given, as for `known_pixels`.
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
    known = known_pixels(keep, len(x), x.shape[2], x.shape[3], seed)
    repeated = x.repeat_interleave(each, 0).to(model.device)
    generator = ImageGenerator(seed, range(len(repeated)), model.device)
    condition = loaded.told(len(repeated), conditions.read(own, loaded, len(repeated)))
    filled = model.complete(
        repeated, known.repeat_interleave(each, 0).to(model.device), generator=generator,
        condition=condition.to(model.device), **loaded.sampling(options),
    )  # fmt: skip
    filled = filled.float().cpu().view(len(x), each, *x.shape[1:])
    masked = torch.where(known, x, 0.5)
    rows = torch.cat([x[:, None], masked[:, None], filled], dim=1)
    return make_grid(rows.flatten(0, 1), columns=each + 2)


def known_pixels(keep: str, n: int, height: int, width: int, seed: int) -> Tensor:
    """Which pixels of `n` images are given: bool, (n, 1, H, W).

    Args:
        keep: `top`, `bottom`, `left` or `right` is that half; `border` all but a hole of about
            half the height and width in the middle; `random` a fifth of the pixels, other ones in
            each image.
        n: How many images.
        height: H.
        width: W.
        seed: Of the random ones.
    """
    if keep == "random":
        return ImageGenerator(seed, range(n)).uniform(1, height, width) < 0.2
    row, column = torch.arange(height)[:, None], torch.arange(width)
    known = {
        "top": row < height // 2,
        "bottom": row >= height // 2,
        "left": column < width // 2,
        "right": column >= width // 2,
        "border": ~(_middle(row, height) & _middle(column, width)),
    }[keep]
    return known.expand(n, 1, height, width)


def _middle(place: Tensor, size: int) -> Tensor:
    return (place >= size // 4) & (place < size - size // 4)
