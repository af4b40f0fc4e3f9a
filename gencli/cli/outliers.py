"""`gencli evaluate RUN --outliers OTHERS`: figures, and a picture of the scores behind them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from gencli.cli import console
from gencli.cli.outputs import target
from gencli.errors import GencliError
from gencli.kinds import Progress

if TYPE_CHECKING:
    from gencli.data.splits import ImageData
    from gencli.evaluation.outliers import ToldApart
    from gencli.evaluation.results import Metric
    from gencli.loaded import LoadedModel

_TITLES = {
    "auroc_likelihood": "-log p, nats",
    "auroc_complexity": "-log2 p less the size as a PNG file, bits",
    "auroc_typicality": "distance of log p from its mean over training images, nats",
}


def against(
    name: str,
    model: LoadedModel,
    data: ImageData,
    split: str,
    *,
    n: int | None,
    k: int,
    seed: int,
    batch_size: int | None,
    own: Mapping[str, Any],
    progress: Progress,
) -> tuple[dict[str, Metric], dict[str, Any]]:
    """Tell other images from those of a split.

    Args:
        name: Of a data set, a folder, or of images that are made.
        model: What scores them.
        data: The model's own.
        split: Of them.
        n: Images of each kind.
        k: Importance samples per image.
        seed: Of all random numbers.
        batch_size: Images per forward pass.
        own: The model's own options of measuring.
        progress: Told how far it is.

    Returns:
        The figures, and what the document says of the other images.

    Raises:
        UsageError: If the images or the model do not fit.
        DataError: If the images cannot be had.
    """
    from gencli.data.others import other_images
    from gencli.evaluation.measuring import Measuring
    from gencli.evaluation.outliers import tell_apart
    from gencli.models.drawing import evaluating

    name, others = other_images(name, data, progress)
    measuring = Measuring(
        model.model, data, getattr(data, split), seed, batch_size, progress,
        dataclasses.asdict(type(model.model.config).Measuring.parsed(own)), {},
    )  # fmt: skip
    with evaluating(model.model):
        found = tell_apart(measuring, others, name, n=n, k=k)
    picture = _picture(found, model, f"{data.name} ({split})", name)
    return found.metrics, {"name": name, "n": len(others), "picture": picture}


def _picture(found: ToldApart, model: LoadedModel, ours: str, theirs: str) -> str | None:
    """Where the histograms of the scores were written; None where the run cannot be written to."""
    from gencli.viz.grid import write_png
    from gencli.viz.histogram import Panel, histograms

    panels = [
        Panel(
            f"{_TITLES[key]}: AUROC {found.metrics[key].value:.3f}",
            ((ours, own), (theirs, other)),
        )
        for key, (own, other) in found.scores.items()
    ]
    try:
        where = target(None, False, model.run, "outliers", ".png")
        write_png(histograms(panels), where)
    except GencliError as error:
        console.message(f"no picture: {error.problem}")
        return None
    console.message(f"picture in {where}")
    return str(where)
