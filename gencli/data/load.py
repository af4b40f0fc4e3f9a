"""From what the user typed after `--data` to three splits of images in memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor

from gencli.data import binarize as binarizing
from gencli.data import catalogue
from gencli.data.cache import Labels, Stored, cached, digest
from gencli.data.options import DataOptions
from gencli.data.order import hold_out
from gencli.data.pairs import pairs_of
from gencli.data.spec import DataInfo
from gencli.data.splits import ImageData, Split
from gencli.errors import DataError, UsageError
from gencli.home import cache_dir
from gencli.kinds import Binarization, ConditionKind, Progress, Source
from gencli.memory import see_that_they_fit
from gencli.wording import readable_bytes

_VERSION = 1  # of resizing and of the static draw; a change makes the arrays anew
_DEFAULT_VAL = 5_000
_NUMBERS = {"train": 0, "val": 1, "test": 2}  # of the splits, in static draws
_CHUNK = 1_000


def load(options: DataOptions, progress: Progress | None = None) -> ImageData:
    """Load a data set by its name or by the path of a folder of images.

    A known name wins over a folder called the same. `val` images are held out for validation, the
    same ones in every run; unless it is given, the set's own validation split or 5,000, at most a
    tenth of the training images. A set that is binary already stays as it is; one that can be drawn
    at the size that is wanted is not resized.

    Args:
        options: What the user said.
        progress: Told of downloads, reading and decoding.

    Raises:
        UsageError: If there is no such data set, or a setting does not fit it.
        DataError: If the data cannot be had or read.
    """
    size, how = options.image_size, options.binarize or "none"
    if size is not None and size < 1:
        raise UsageError(f"--image-size cannot be {size}.", "It takes at least 1.")
    path, pairs = catalogue.folder_of(options.data), pairs_of(options)
    if pairs is not None and path is None:
        raise UsageError(
            f"{options.data} is no folder, and only its images have sources in files.",
            "Give the folder of images with --data, or derive sources: --source edges.",
        )
    notes: tuple[str, ...] = ()
    if path is None:
        from gencli.data.sources import named

        spec = catalogue.find(options.data).at(size)
        name, folder = spec.name, cache_dir() / spec.name
        if spec.binarization is not None:
            if size not in (None, spec.shape[1]):
                raise UsageError(
                    f"{name} has {spec.shape[1]}x{spec.shape[2]} pixels and cannot be resized.",
                    f"Use --data mnist --binarize {spec.binarization} --image-size {size}",
                )
            if options.binarize not in (None, spec.binarization):
                notes = (f"{name} is binary as it is: {spec.binarization}, not {how}",)
            how = spec.binarization
        stored = named(spec, progress)
        if spec.binarization is None:
            stored = _prepared(stored, folder, size, how == "static", progress)
    else:
        from gencli.data.folder import load_folder

        name, folder = str(path), cache_dir() / "folders"
        stored = load_folder(path, size, pairs=pairs, skip_bad=options.skip_bad, progress=progress)
        stored = _prepared(stored, folder, None, how == "static", progress)
    return _assemble(name, stored, options, how, notes)


def asked_for(options: DataOptions) -> tuple[ConditionKind, ...]:
    """Kinds of conditions that the data have because an option asks for them."""
    return ("source",) if options.source != "none" or options.pairs != "none" else ()


def may_have(options: DataOptions, kind: ConditionKind) -> bool:
    """Whether images may come with a kind of condition, as far as can be told before they are read.

    Raises:
        UsageError: If there is no such data set.
        DataError: If there is no such folder.
    """
    if kind == "source":
        return kind in asked_for(options)
    return catalogue.folder_of(options.data) is not None or catalogue.find(options.data).has(kind)


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
                tensor = _images_alone(
                    tensor, stored.channels, partial(binarizing.static, split=_NUMBERS[split])
                )
            images[split] = tensor.numpy()
        return Stored(images, stored.labels, captions=stored.captions, channels=stored.channels)

    key = digest(_VERSION, stored.fingerprint, image_size if resized else None, static)
    made = cached(folder, key, build)
    return replace(stored, images=made.images, labels=made.labels, fingerprint=made.fingerprint)


def _images_alone(whole: Tensor, channels: int, change: Callable[[Tensor], Tensor]) -> Tensor:
    """Images changed, and their given sources left as they are."""
    if not channels:
        return change(whole)
    return torch.cat([change(whole[:, :channels]), whole[:, channels:]], 1)


def _resize(images: Tensor, size: int) -> Tensor:
    """Resize squares (N, C, H, W), uint8, by the rule of folders: bicubic, antialiased."""
    return torch.cat(
        [
            F.interpolate(chunk, (size, size), mode="bicubic", antialias=True)
            for chunk in torch.split(images, _CHUNK)
        ]
    )


def _assemble(
    name: str, stored: Stored, options: DataOptions, how: Binarization, notes: tuple[str, ...]
) -> ImageData:
    splits = {
        split: Split(
            torch.from_numpy(images),
            _column(stored.labels, split),
            _column(stored.tokens, split),
            channels=stored.channels or None,
        )
        for split, images in stored.images.items()
    }
    if how in ("static", "threshold"):
        n_bytes = sum(split.stored.numel() for split in splits.values())
        cure = "Use --binarize dynamic, or a smaller --image-size."
        see_that_they_fit(n_bytes, f"{how} binarisation of the images", cure, DataError)
    if how == "threshold":
        splits = {
            split: replace(
                part, stored=_images_alone(part.stored, stored.channels, binarizing.threshold)
            )
            for split, part in splits.items()
        }
    train, own, val = splits["train"], splits.get("val"), options.val
    if own is not None and val not in (None, len(own)):
        notes += (f"the {len(own)} images of the set's own validation split join the others",)
        train, own = _joined(train, own), None
    if own is None:
        n = len(train)
        n_val = min(_DEFAULT_VAL, n // 10) if val is None else val
        if not 0 <= n_val < n:
            raise UsageError(
                f"--val {n_val} does not fit {n} training images.", f"It takes 0 to {n - 1}."
            )
        train, own = _held_out(train, n_val)
    if train.is_large:
        size = readable_bytes(train.stored.numel())
        notes += (f"{size} of images stay on disk and are read as they are needed",)
    _, planes, height, width = train.stored.shape
    channels = stored.channels or planes
    source = "given" if stored.channels else cast(Source, options.source)
    info = DataInfo(
        channels,
        height,
        width,
        stored.classes,
        how,
        vocabulary=stored.vocabulary,
        caption_length=0 if train.text is None else train.text.shape[1],
        source=source,
        given_channels=planes - channels,
    )
    return ImageData(
        name,
        info,
        train,
        own,
        splits["test"],
        stored.fingerprint,
        stored.notes + notes,
        stored.bad,
    )


def _column(columns: Mapping[str, Labels], split: str) -> Tensor | None:
    return torch.from_numpy(columns[split]) if split in columns else None


def _joined(first: Split, second: Split) -> Split:
    def both(a: Tensor | None, b: Tensor | None) -> Tensor | None:
        return None if a is None or b is None else torch.cat([a, b])

    n_bytes = first.stored.numel() + second.stored.numel()
    see_that_they_fit(n_bytes, "The images", "Leave --val out.", DataError)
    return Split(
        torch.cat([first.whole, second.whole]),
        both(first.labels, second.labels),
        both(first.text, second.text),
        channels=first.channels,
    )


def _held_out(train: Split, n_val: int) -> tuple[Split, Split]:
    if not n_val:
        return train, train.rows(slice(0))
    kept, held = hold_out(len(train), n_val)
    return train.only(kept), train.only(held)
