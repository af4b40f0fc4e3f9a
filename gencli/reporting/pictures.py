"""The pictures of a run's report, as data URIs that need no network."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gencli import guarded
from gencli.data.conditions import NOTHING, Condition, in_turn
from gencli.errors import GencliError
from gencli.loaded import LoadedModel
from gencli.models.abilities import HasEncoder, HasFilters, HasLatent
from gencli.models.latent.paths import manifold_grid
from gencli.runs import Run
from gencli.viz.filters import filter_sheet
from gencli.viz.grid import make_grid, to_pillow
from gencli.viz.triples import triples

_PREVIEWS = 12
_PREVIEW_BYTES = 4 << 20
_PNG = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class Picture:
    """A picture in a report.

    Attributes:
        title: Its heading.
        text: What is to be seen, for those who see it and those who do not.
        source: A data URI; empty where the picture could not be made, and `text` says why.
    """

    title: str
    text: str
    source: str = ""


def data_uri(array: Any) -> str:
    """A uint8 (H, W, C) array as a PNG in a data URI."""
    buffer = io.BytesIO()
    to_pillow(array).save(buffer, "PNG", optimize=True)
    return _uri(buffer.getvalue())


def _uri(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")


def previews(run: Run) -> list[Picture]:
    """Previews of training, the same latents in all, spread evenly over it."""
    there = [p for p in guarded.entries(run.path / "samples") if p.suffix == ".png"]
    if len(there) > _PREVIEWS:
        last = len(there) - 1
        there = [there[round(i * last / (_PREVIEWS - 1))] for i in range(_PREVIEWS)]
    found = []
    for path in there:
        try:
            with guarded.reading(path, _PREVIEW_BYTES) as file:
                content = file.read()
        except (GencliError, OSError):
            continue  # a link, or removed meanwhile
        step = path.stem.removeprefix("step-")
        if content.startswith(_PNG) and step.isdecimal():
            found.append(Picture(f"step {int(step):,}", "samples at this step", _uri(content)))
    return found


def pictures(
    model: LoadedModel, train: Tensor | None, test: Tensor | None, known: Condition = NOTHING
) -> Iterator[Picture]:
    """What can be shown of a model, each picture made when it is asked for.

    Args:
        model: In evaluation mode.
        train: Training images (N, C, H, W) uint8, where they can be had.
        test: Test images, likewise.
        known: What the model is told of the first test images.
    """
    drawn: dict[str, Tensor] = {}
    condition = in_turn(model.data, model.model.conditions, 64, known)

    def samples() -> Any:
        drawn["samples"] = model.sample(64, seed=0, condition=condition)
        return make_grid(drawn["samples"])

    yield _made("Samples", "64 images drawn by the model, seed 0", samples)
    if known.source is not None and test is not None and "samples" in drawn:
        yield _made(
            "Translations",
            "sources of test images, what the model makes of them, the true ones",
            lambda: _translations(known, drawn["samples"], test),
        )
    if isinstance(model.model, HasLatent):
        yield _made(
            "Interpolations",
            "walks between random latents, from left to right",
            lambda: make_grid(_walks(model, condition, rows=6, points=10), columns=10),
        )
        if model.sample_latent(1).flatten(1).shape[1] == 2:
            yield _made(
                "Latent space",
                "what is decoded over the two latent dimensions",
                lambda: make_grid(model.decode(manifold_grid(16)), columns=16, padding=0),
            )
    if isinstance(model.model, HasEncoder) and test is not None and len(test):
        yield _made(
            "Reconstructions",
            "test images above what the model makes of their codes",
            lambda: _reconstructions(model, test[:10].float() / 255),
        )
    if isinstance(model.model, HasFilters):
        filters = model.model
        yield _made(
            "Filters", "weights of the first layer", lambda: filter_sheet(filters.filters())
        )
    if train is not None and len(train) and "samples" in drawn:
        yield _made(
            "Nearest training images",
            "samples above the training image that is nearest in squared error: a copy "
            "would look the same",
            lambda: _neighbours(drawn["samples"][:10], train),
        )


def _made(title: str, text: str, make: Callable[[], Any]) -> Picture:
    try:
        return Picture(title, text, data_uri(make()))
    except GencliError as error:
        return Picture(title, f"could not be made: {error.problem}")


def _walks(model: LoadedModel, condition: Condition, rows: int, points: int) -> Tensor:
    told = [condition.rows(torch.full((points,), row)) for row in range(rows)]
    if not {"text", "source"} & {*model.model.conditions}:
        told = [condition.rows(torch.zeros(points, dtype=torch.int64))] * rows
    return torch.cat(
        [model.interpolate(points, seed=row, condition=told[row]) for row in range(rows)]
    )


def _translations(known: Condition, made: Tensor, true: Tensor) -> Any:
    assert known.source is not None
    n = min(24, len(known.source))
    return triples(known.source[:n], made[:n, None], true[:n].float() / 255)


def _reconstructions(model: LoadedModel, x: Tensor) -> Any:
    if model.data.binary:
        x = (x > 0.5).float()
    return make_grid(torch.cat([x, model.decode(model.encode(x))]), columns=len(x))


def _neighbours(samples: Tensor, train: Tensor) -> Any:
    nearest = train[nearest_images(samples, train)].float() / 255
    return make_grid(torch.cat([samples, nearest]), columns=len(samples))


def nearest_images(samples: Tensor, train: Tensor) -> Tensor:
    """Which of `train` (N, C, H, W), uint8, is nearest to each sample (n, C, H, W): (n,) int64."""
    flat = samples.flatten(1)
    best = torch.full((len(flat),), torch.inf)
    where = torch.zeros(len(flat), dtype=torch.int64)
    for start in range(0, len(train), 4096):
        part = train[start : start + 4096].flatten(1).float() / 255
        distance, row = torch.cdist(flat, part).min(1)
        closer = distance < best
        best, where = torch.where(closer, distance, best), torch.where(closer, row + start, where)
    return where
