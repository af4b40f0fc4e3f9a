"""From what the user typed after `--data` to three splits of images in memory."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from gencli.data import binarize as binarizing
from gencli.data import catalogue
from gencli.data.cache import Stored, cached, digest
from gencli.data.fetch import Progress
from gencli.data.order import hold_out
from gencli.data.spec import Binarization, DataInfo
from gencli.errors import DataError, UsageError
from gencli.home import cache_dir, user_path

_VERSION = 1  # of resizing and of the static draw; a change makes the arrays anew
_DEFAULT_VAL = 5_000
_NUMBERS = {"train": 0, "val": 1, "test": 2}  # of the splits, in static draws
_CHUNK = 1_000


@dataclass(frozen=True)
class Split:
    """Images of one split.

    Attributes:
        images: (N, C, H, W) uint8 on the CPU.
        labels: (N,) int64, or None where there are none.
    """

    images: Tensor
    labels: Tensor | None

    def __len__(self) -> int:
        return len(self.images)


@dataclass(frozen=True)
class ImageData:
    """A data set, ready for training and evaluation.

    Attributes:
        name: Its name, or the full path of its folder: what loads it again from anywhere.
        info: What models see of it.
        train: What is trained on.
        val: Held out of training for choices; perhaps empty.
        test: For the final reading alone, in the source's order.
        fingerprint: A hash of all images and labels before holding out, and after resizing and
            static binarisation.
        captions: A line for each training image, or None.
        notes: What the user should be told.
    """

    name: str
    info: DataInfo
    train: Split
    val: Split
    test: Split
    fingerprint: str
    captions: tuple[str, ...] | None = None
    notes: tuple[str, ...] = ()


def load(
    name: str,
    *,
    image_size: int | None = None,
    val: int | None = None,
    binarize: Binarization | None = None,
    skip_bad: bool = False,
    progress: Progress | None = None,
) -> ImageData:
    """Load a data set by its name or by the path of a folder of images.

    Args:
        name: As in `gencli list datasets`, or a path. A known name wins over a folder called the
            same.
        image_size: Side of the images in pixels; None keeps a named set's own and lets a folder
            choose.
        val: Images held out for validation, the same ones in every run; 0 holds none out. None
            means the set's own validation split or 5,000, at most a tenth of the training images.
        binarize: None means `static` for binarized-mnist, which is nothing else, and `none`
            otherwise.
        skip_bad: Leave unreadable images of a folder out.
        progress: Told of downloads, reading and decoding.

    Raises:
        UsageError: If there is no such data set, or a setting does not fit it.
        DataError: If the data cannot be had or read.
    """
    if image_size is not None and image_size < 1:
        raise UsageError(f"--image-size cannot be {image_size}.", "It takes at least 1.")
    path = _folder(name)
    notes: tuple[str, ...] = ()
    if path is None:
        from gencli.data.sources import named

        spec = catalogue.find(name)
        if name == "binarized-mnist":
            if image_size not in (None, 28):
                raise UsageError(
                    "binarized-mnist has 28x28 pixels and cannot be resized.",
                    f"Use --data mnist --binarize static --image-size {image_size}",
                )
            if binarize not in (None, "static"):
                notes = (f"binarized-mnist is binary as it is: static, not {binarize}",)
            binarize = "static"
        stored = named(spec, progress)
        folder = cache_dir() / name
        if name != "binarized-mnist":
            stored = _prepared(stored, folder, image_size, binarize == "static", progress)
    else:
        from gencli.data.folder import load_folder

        name = str(path)
        stored = load_folder(path, image_size, skip_bad=skip_bad, progress=progress)
        folder = cache_dir() / "folders"
        stored = _prepared(stored, folder, None, binarize == "static", progress)
    return _assemble(name, stored, val, binarize or "none", notes)


def _folder(name: str) -> Path | None:
    """The folder that is meant, or None for the name of a data set."""
    if name in catalogue.names():
        return None
    path = user_path(name)
    if path.is_dir():
        return path.resolve()
    if path.exists():
        raise DataError(f"{path} is not a folder.", "--data takes a folder of images, or a name.")
    separators = {os.sep, os.altsep or os.sep, "/"}
    if name.startswith(("~", ".")) or any(separator in name for separator in separators):
        raise DataError(f"There is no folder {path}.", "Check the path given as --data.")
    return None


def _prepared(
    stored: Stored, folder: Path, image_size: int | None, static: bool, progress: Progress | None
) -> Stored:
    """Resized and statically binarised, from the cache or made for it."""
    height, width = stored.images["train"].shape[2:]
    resized = image_size is not None and (image_size, image_size) != (height, width)
    if not resized and not static:
        return stored

    def build() -> Stored:
        if progress:
            progress("preparing images", 0, 0)
        images = {}
        for split, array in stored.images.items():
            tensor = torch.from_numpy(array)
            if resized:
                tensor = _resize(tensor, image_size or 0)
            if static:
                tensor = binarizing.static(tensor, _NUMBERS[split])
            images[split] = tensor.numpy()
        return Stored(images, stored.labels)

    key = digest(_VERSION, stored.fingerprint, image_size if resized else None, static)
    made = cached(folder, key, build)
    return replace(stored, images=made.images, labels=made.labels, fingerprint=made.fingerprint)


def _resize(images: Tensor, size: int) -> Tensor:
    """Resize squares (N, C, H, W), uint8, by the rule of folders: bicubic, antialiased."""
    return torch.cat(
        [
            F.interpolate(chunk, (size, size), mode="bicubic", antialias=True)
            for chunk in torch.split(images, _CHUNK)
        ]
    )


def _assemble(
    name: str, stored: Stored, val: int | None, how: Binarization, notes: tuple[str, ...]
) -> ImageData:
    splits = {
        split: Split(
            torch.from_numpy(images),
            torch.from_numpy(stored.labels[split]) if split in stored.labels else None,
        )
        for split, images in stored.images.items()
    }
    if how == "threshold":
        splits = {
            split: Split(binarizing.threshold(part.images), part.labels)
            for split, part in splits.items()
        }
    train, own = splits["train"], splits.get("val")
    captions = stored.captions or None
    if own is not None and val not in (None, len(own)):
        notes += (f"the {len(own)} images of the set's own validation split join the others",)
        train, own, captions = _joined(train, own), None, None
    if own is None:
        n = len(train)
        n_val = min(_DEFAULT_VAL, n // 10) if val is None else val
        if not 0 <= n_val < n:
            raise UsageError(
                f"--val {n_val} does not fit {n} training images.", f"It takes 0 to {n - 1}."
            )
        train, own, captions = _held_out(train, n_val, captions)
    _, channels, height, width = train.images.shape
    return ImageData(
        name,
        DataInfo(channels, height, width, stored.classes, how),
        train,
        own,
        splits["test"],
        stored.fingerprint,
        captions,
        stored.notes + notes,
    )


def _joined(first: Split, second: Split) -> Split:
    labels = None
    if first.labels is not None and second.labels is not None:
        labels = torch.cat([first.labels, second.labels])
    return Split(torch.cat([first.images, second.images]), labels)


def _held_out(
    train: Split, n_val: int, captions: tuple[str, ...] | None
) -> tuple[Split, Split, tuple[str, ...] | None]:
    if not n_val:
        return train, Split(train.images[:0], _rows(train.labels, slice(0))), captions
    kept, held = hold_out(len(train), n_val)
    if captions is not None:
        captions = tuple(captions[i] for i in kept.tolist())
    return (
        Split(train.images[kept], _rows(train.labels, kept)),
        Split(train.images[held], _rows(train.labels, held)),
        captions,
    )


def _rows(labels: Tensor | None, rows: Tensor | slice) -> Tensor | None:
    return None if labels is None else labels[rows]
