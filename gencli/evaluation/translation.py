"""How near translations of source images come to the true images.

The i-th image of the split is translated from the seed and i, as `gencli sample` would, and rounded
to the 256 levels of a file. Beside these figures stand those of the source itself, where it is the
true image without something: what a model must beat.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

import torch
from torch import Tensor

from gencli.data.conditions import Batch, source_of
from gencli.data.source_images import INCOMPLETE, as_image
from gencli.data.store import store_of
from gencli.evaluation.likelihood import mean_and_error
from gencli.evaluation.measuring import Measuring
from gencli.evaluation.results import Metric
from gencli.evaluation.similarity import WINDOW, mean_difference, psnr, ssim
from gencli.kinds import Source
from gencli.models.drawing import draw
from gencli.random import mix_seed
from gencli.viz.grid import to_uint8

_MEASURES: dict[str, tuple[Callable[[Tensor, Tensor], Tensor], str]] = {
    "l1": (mean_difference, "difference per pixel in [0, 1]"),
    "psnr": (psnr, "dB"),
    "ssim": (ssim, "similarity, at most 1"),
}
_OF_SOURCE = {f"{key}_source": measure for key, measure in _MEASURES.items()}

KEYS = frozenset({*_MEASURES, *_OF_SOURCE})
"""The figures of translations."""

_AT_ONCE = 250


def why_not(key: str, side: int, kind: Source) -> str | None:
    """Why there is no such figure for images with sides of at least `side`; None where there is."""
    if key in _OF_SOURCE and kind not in INCOMPLETE:
        return "the source is not the image without something"
    if key.startswith("ssim") and side < WINDOW:
        return f"the images are smaller than the window of {WINDOW} pixels"
    return None


def measured(measuring: Measuring, wanted: Collection[str], n: int | None) -> dict[str, Metric]:
    """The figures of `KEYS` that are wanted and that these images can have.

    Args:
        measuring: A model that takes source images, and data that have them.
        wanted: Which.
        n: Images of the split, at random; None means all.

    Raises:
        DivergedError: If a pixel is not finite.
    """
    info, model = measuring.data.info, measuring.model
    side = min(info.height, info.width)
    keys = [key for key in sorted(KEYS & set(wanted)) if why_not(key, side, info.source) is None]
    if not keys:
        return {}
    chosen = measuring.choose(n)
    store = store_of(chosen, info, "cpu", model.conditions)
    drawing = torch.Generator().manual_seed(mix_seed(measuring.seed, 0))

    def figures(batch: Batch, first: int) -> Tensor:
        true, condition = batch
        parts = draw(
            model, len(true), seed=measuring.seed, first=first, condition=condition,
            batch_size=measuring.batch_size, options=measuring.sampling,
        )  # fmt: skip
        made = torch.from_numpy(to_uint8(torch.cat(list(parts)))).permute(0, 3, 1, 2) / 255
        source = as_image(source_of(condition), info.source)
        images = {key: source.expand_as(true) if key in _OF_SOURCE else made for key in keys}
        return torch.stack(
            [(_MEASURES | _OF_SOURCE)[key][0](x, true).double() for key, x in images.items()], 1
        )

    values = measuring.over(
        keys[0], store.in_order(measuring.batch_size or _AT_ONCE, drawing), len(chosen), figures,
        len(keys), what="translations",
    )  # fmt: skip
    found = {}
    for key, column in zip(keys, values.unbind(1), strict=True):
        value, error = mean_and_error(column)
        kind = "exact" if key in _OF_SOURCE else "estimate"
        unit = (_MEASURES | _OF_SOURCE)[key][1]
        found[key] = Metric(value, unit, kind, error, len(chosen))  # type: ignore[arg-type]
    return found
