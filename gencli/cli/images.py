"""Images named on the command line: `test:12`, `test:0..7`, `val:3`, or a file."""

from __future__ import annotations

import re
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from gencli.cli import console
from gencli.cli.opening import same_data
from gencli.data.conditions import Batch
from gencli.data.decode import BROKEN, decode, strict_pillow, why_broken
from gencli.data.load import load
from gencli.data.source_images import derive
from gencli.data.spec import DataInfo
from gencli.data.store import ResidentStore
from gencli.errors import DataError, UsageError
from gencli.home import user_path
from gencli.loaded import LoadedModel
from gencli.training.session import recorded

_SPLIT = re.compile(r"(train|val|test):(\d+)(?:\.\.(\d+))?")


def read_images(reference: str, loaded: LoadedModel) -> Tensor:
    """Images (n, C, H, W) in [0, 1], shaped as the model's data are; as for `read_batch`."""
    return read_batch(reference, loaded).images


def read_batch(reference: str, loaded: LoadedModel) -> Batch:
    """Images shaped as the model's data are, and what is known of them that the model takes.

    Args:
        reference: `SPLIT:I`, `SPLIT:I..J` (both included), or an image file, of which nothing is
            known.
        loaded: Says the shape, and the data set that SPLIT is of.

    Raises:
        DataError: If there is no such image.
        UsageError: If the reference is neither.
    """
    info = loaded.data
    match = _SPLIT.fullmatch(reference)
    if match is None:
        path = user_path(reference)
        if not path.is_file():
            raise UsageError(
                f"{reference} is neither an image file nor test:12 or test:0..7.",
                "Name an image of the data set or a file.",
            )
        return Batch(_binary(_read_file(path, info), info))
    with console.counting() as progress:
        data = load(recorded(loaded.run)[1], progress)
    split = getattr(data, match[1])
    same_data(loaded, data)
    first, last = int(match[2]), int(match[3] or match[2])
    if last < first:
        raise UsageError(
            f"{reference} ends before it begins.", f"Write {match[1]}:{last}..{first}."
        )
    if not first <= last < len(split):
        raise DataError(
            f"The {match[1]} split of {data.name} has {len(split)} images.",
            "They are numbered from 0.",
        )
    chosen = split.rows(torch.arange(first, last + 1))
    store = ResidentStore(chosen, info, "cpu", loaded.model.conditions)
    known = next(iter(store.in_order(len(chosen)))).condition
    return Batch(_binary(chosen.images.float() / 255, info), known)


def read_source(path: Path, info: DataInfo) -> Tensor:
    """A source image (1, C', H', W') in [0, 1] from a file, which is one already.

    What `half` and `mask` hide is hidden here too, and what is `small` is enlarged as in training:
    a source image stays what it is, and any other becomes one. Outlines cannot be told from
    photographs and are taken as they are.

    Raises:
        DataError: If the file cannot be read.
    """
    channels, height, width = info.source_shape
    if info.source == "small":
        small = _read_file(path, DataInfo(channels, (height + 1) // 2, (width + 1) // 2))
        return F.interpolate(small, scale_factor=2.0, mode="nearest")[..., :height, :width]
    image = _read_file(path, DataInfo(channels, height, width))
    shown = derive(image, info.source) if info.source in ("half", "mask") else None
    return image if shown is None else shown


def first_of_test(loaded: LoadedModel, n: int) -> str:
    """A reference to the first test images, at most `n`.

    Raises:
        DataError: If the data cannot be had, or are not what the model was trained on.
    """
    with console.counting() as progress:
        data = load(recorded(loaded.run)[1], progress)
    same_data(loaded, data)
    return f"test:0..{min(n, len(data.test)) - 1}"


def in_split(reference: str) -> bool:
    """Whether a reference is to images of the data set, such as test:0..7."""
    return _SPLIT.fullmatch(reference) is not None


def _read_file(path: Path, info: DataInfo) -> Tensor:
    try:
        with strict_pillow():
            pixels = decode(path, info.height)
    except BROKEN as error:
        raise DataError(
            f"{path} cannot be read: {why_broken(error)}.", "Give an image file."
        ) from None
    x = torch.from_numpy(pixels.copy())[None].float() / 255
    if info.channels == 1:
        return x.mean(1, keepdim=True)
    return x.expand(-1, info.channels, -1, -1)


def _binary(x: Tensor, info: DataInfo) -> Tensor:
    return (x > 0.5).float() if info.binary else x
