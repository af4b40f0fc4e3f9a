"""Pairs of images in files: two folders of the same names, or files that hold both side by side."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from io import BytesIO
from pathlib import Path
from typing import get_args

from gencli.data.cache import Images
from gencli.data.decode import BROKEN, decode, decode_halves, measure, strict_pillow
from gencli.data.folder_files import Entry, each, scan, stem
from gencli.data.options import DataOptions
from gencli.errors import DataError, UsageError
from gencli.home import user_path
from gencli.kinds import Progress, SourceKind
from gencli.registry import nearest

Size = tuple[int, int]

_NAMED = 3  # of the images without a partner, in a message


@dataclass(frozen=True)
class Pairs:
    """Where the source of each image of a folder is.

    Attributes:
        folder: Of the sources, under the images' names; None where each file holds a pair.
        swapped: Whether a file's left half is the image and its right half the source.
    """

    folder: Path | None = None
    swapped: bool = False


@dataclass(frozen=True)
class Matched:
    """The pairs of one folder.

    Attributes:
        pairs: Where the sources are.
        sources: An image's name -> its source's; empty where files hold pairs.
        entries: The files of sources.
    """

    pairs: Pairs
    sources: dict[str, str] = field(default_factory=dict)
    entries: tuple[Entry, ...] = ()

    def decode(self, path: str | Path, name: str, size: int) -> tuple[Images, Images]:
        """An image and its source, each (C, size, size).

        Args:
            path: Of the image's file.
            name: Of the image, relative to its folder.
            size: Side of both.

        Raises:
            OSError: Or another of `decode.BROKEN`, if one of them cannot be read.
        """
        if self.pairs.folder is not None:
            return decode(path, size), decode(self.pairs.folder / self.sources[name], size)
        left, right = decode_halves(path, size)
        return (left, right) if self.pairs.swapped else (right, left)

    def glance(
        self, names: Sequence[str], sizes: Sequence[Size | None], progress: Progress | None
    ) -> tuple[list[str], list[Size | None]]:
        """A hash of each source's file, and the sizes of images that may be halves of files.

        Args:
            names: Of the images.
            sizes: Width and height of their files, None where they cannot be read.
            progress: Told how many sources were read.

        Raises:
            DataError: If a source is of another size than its image.
        """
        folder = self.pairs.folder
        if folder is None:
            return [], [None if size is None else (size[0] // 2, size[1]) for size in sizes]
        with strict_pillow():
            looked = each(
                lambda name: _glance(folder / self.sources[name]), names,
                f"reading {folder.name}", progress,
            )  # fmt: skip
        for name, size, (_, other) in zip(names, sizes, looked, strict=True):
            if size is not None and other is not None and size != other:
                raise DataError(
                    f"{name} has {size[0]}x{size[1]} pixels and its source {other[0]}x{other[1]}.",
                    "Make both of one size.",
                )
        return [hashed for hashed, _ in looked], list(sizes)


def pairs_of(options: DataOptions) -> Pairs | None:
    """Where the user says that sources are; None where they are derived, or there are none.

    Raises:
        UsageError: If that is no kind of source and no folder, or does not fit the other options.
        DataError: If it is the path of a folder that is not there.
    """
    kinds = get_args(SourceKind)
    halves = options.pairs != "none"
    if halves and options.source != "none":
        raise UsageError(
            f"--pairs {options.pairs} and --source {options.source} both say what sources are.",
            "Leave one of them out.",
        )
    if halves:
        return Pairs(swapped=options.pairs == "side-by-side-swapped")
    if options.source in kinds:
        return None
    path = user_path(options.source)
    if path.is_dir():
        return Pairs(path.resolve())
    takes = f"--source takes {', '.join(kinds[1:])} or a folder of images."
    if any(separator in options.source for separator in {os.sep, os.altsep or os.sep, "/"}):
        raise DataError(f"There is no folder {path}.", takes)
    near = nearest(options.source, kinds)
    hint = f"Did you mean {near}? " if near else ""
    raise UsageError(f"There is no source or folder called {options.source}.", hint + takes)


def found_again(options: DataOptions, data: str) -> DataOptions:
    """The same options with whole paths, which mean the same from anywhere.

    Args:
        options: What the user said.
        data: The whole path of the data's folder, or a name.
    """
    pairs = pairs_of(options)
    folder = None if pairs is None else pairs.folder
    return replace(options, data=data, source=options.source if folder is None else str(folder))


def match(pairs: Pairs, root: Path, names: Sequence[str]) -> Matched:
    """Find the source of each image; suffixes may differ.

    Raises:
        DataError: If an image has no source or several, or a source has no image.
    """
    if pairs.folder is None:
        return Matched(pairs)
    entries = scan(pairs.folder).images
    known: dict[str, str] = {}
    for name, *_ in entries:
        if stem(name) in known:
            twice = f"{known[stem(name)]} and {name} in {pairs.folder}"
            raise DataError(f"{twice} are sources of one image.", "Remove one of them.")
        known[stem(name)] = name
    stems = {stem(name) for name in names}
    without = [name for name in names if stem(name) not in known]
    beyond = [name for key, name in known.items() if key not in stems]
    lonely = ((without, "have no source", root), (beyond, "have no image", pairs.folder))
    for left, what, where in lonely:
        if left:
            shown = ", ".join(left[:_NAMED]) + (", ..." if len(left) > _NAMED else "")
            raise DataError(
                f"{len(names)} images and {len(known)} sources are no pairs: "
                f"{len(left)} in {where} {what} ({shown}).",
                "Give both folders files of the same names.",
            )
    return Matched(pairs, {name: known[stem(name)] for name in names}, tuple(entries))


def _glance(path: Path) -> tuple[str, Size | None]:
    try:
        content = path.read_bytes()
        return blake2b(content, digest_size=16).hexdigest(), measure(BytesIO(content))
    except BROKEN:
        return "", None  # decoding will say why
