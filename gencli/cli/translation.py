"""Translations by `gencli sample RUN --source`: of a folder, file by file, or as a sheet.

A folder is gone through in batches, so that memory does not grow with it.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

import torch

from gencli.atomic import whole_folder, writing
from gencli.cli import conditions, console
from gencli.cli.images import read_batch, read_source
from gencli.data.conditions import Condition
from gencli.data.folder_files import scan
from gencli.errors import DataError, UsageError
from gencli.loaded import LoadedModel
from gencli.viz.grid import Bytes, to_pillow, to_uint8, write_png
from gencli.viz.triples import triples

_AT_ONCE = 1 << 24
"""Pixel values of the images that are in memory at a time."""

Write = Callable[[str, Bytes], None]
"""Writes a picture (H, W, C) under a name relative to the output folder."""


def translate_folder(
    loaded: LoadedModel,
    folder: Path,
    target: Path,
    *,
    seed: int,
    batch_size: int | None,
    options: Mapping[str, Any],
    own: Mapping[str, Any],
) -> int:
    """Translate every image of a folder to a PNG file of the same name; gives how many.

    The i-th image in the order of their names is drawn from the seed and i. A new or empty folder
    gets all of them or none.

    Args:
        loaded: A model that takes source images.
        folder: Of images, perhaps in folders of its own, which are kept.
        target: A folder; files that are there are replaced.
        seed: Of the noise.
        batch_size: Images per forward pass.
        options: Sampling options.
        own: The command's own options, which may tell the model more than the source.

    Raises:
        DataError: If the folder has no images, one cannot be read, or two would get one name.
        GencliError: If the target cannot be written.
    """
    names = _names(folder)
    n, told = len(names), conditions.read({**own, "source": None}, loaded, len(names))
    told = loaded.told(n) if told is None else told
    size = batch_size or max(1, min(loaded.model.cpu_sample_batch, _AT_ONCE // _values(loaded)))
    files = list(names.items())
    with console.counting() as progress, _writer(target) as write:
        for first in range(0, n, size):
            part = files[first : first + size]
            source = torch.cat([read_source(folder / name, loaded.data) for _, name in part])
            asked = replace(told.rows(slice(first, first + size)), source=source)
            made = torch.cat(
                list(
                    loaded.sample_batches(
                        len(part), seed=seed, first=first, condition=asked, batch_size=size,
                        **options,
                    )
                )
            )  # fmt: skip
            for (new, _), picture in zip(part, to_uint8(made), strict=True):
                write(new, picture)
            progress("Translating", first + len(part), n)
    return n


def _values(loaded: LoadedModel) -> int:
    return loaded.data.n_pixels + math.prod(loaded.data.source_shape)


def _names(folder: Path) -> dict[str, str]:
    """The new name of each image of a folder -> its own, in order."""
    names: dict[str, str] = {}
    for name, *_ in scan(folder).images:
        new = str(PurePosixPath(name).with_suffix(".png"))
        if new in names:
            raise DataError(
                f"{names[new]} and {name} in {folder} would both become {new}.", "Rename one."
            )
        names[new] = name
    if not names:
        raise DataError(f"There are no images in {folder}.", "Give an image or a folder of images.")
    return names


@contextlib.contextmanager
def _writer(target: Path) -> Iterator[Write]:
    with writing(target):
        there = target.is_dir() and any(target.iterdir())
    if there:
        yield lambda name, picture: _replace(target / name, picture)
        return
    with whole_folder(target) as temporary:
        yield lambda name, picture: _add(temporary / name, picture)


def _replace(path: Path, picture: Bytes) -> None:
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    write_png(picture, path)


def _add(path: Path, picture: Bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    to_pillow(picture).save(path)


def translation_sheet(
    loaded: LoadedModel,
    reference: str,
    *,
    each: int,
    seed: int,
    batch_size: int | None,
    options: Mapping[str, Any],
    own: Mapping[str, Any],
) -> Bytes:
    """A picture (H', W', C) of images of the data set: source, `each` made ones, the true one.

    Args:
        loaded: A model that takes source images.
        reference: Such as `test:0..7`.
        each: Translations of each source.
        seed: Of the noise.
        batch_size: Images per forward pass.
        options: Sampling options.
        own: The command's own options, which may tell the model another class or caption.

    Raises:
        DataError: If there are no such images.
    """
    true, known = read_batch(reference, loaded)
    n = len(true)
    asked = _told(known.rows(torch.arange(n).repeat_interleave(each)), loaded, own, n * each)
    made = loaded.sample(
        n * each, seed=seed, condition=asked, batch_size=batch_size, **options
    ).view(n, each, *true.shape[1:])
    assert known.source is not None
    return triples(known.source, made, true)


def _told(known: Condition, loaded: LoadedModel, own: Mapping[str, Any], n: int) -> Condition:
    """What is known of the images, with the class or caption that the user asks for instead."""
    asked = conditions.read({**own, "source": None}, loaded, n)
    if asked is None:
        return known
    if own.get("label") is not None:
        known = replace(known, labels=asked.labels)
    if own.get("prompt") or own.get("prompts"):
        known = replace(known, text=asked.text)
    return known


def refuse(format: str, n: int | None) -> None:
    """See that nothing was asked for that a translated folder does not have.

    Raises:
        UsageError: If something was.
    """
    if format in ("npz", "gif"):
        raise UsageError(
            "A folder is translated to a folder of PNG files.", f"Leave out --format {format}."
        )
    if n is not None:
        raise UsageError("A folder gives one image for each of its own.", f"Leave out --n {n}.")
