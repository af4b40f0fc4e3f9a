"""The images of a folder decoded: all in memory, or in parts on disk where they are too many.

Parts stay on disk until the whole set is made of them, so that a reading that was stopped goes on
where it was.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from gencli.atomic import discard, sweep, writing
from gencli.data.cache import CURE, Images, Stored, cached, digest
from gencli.data.decode import BROKEN, strict_pillow, why_broken
from gencli.data.folder_captions import Written, with_captions
from gencli.data.folder_files import each
from gencli.data.folder_names import arrange
from gencli.data.pairs import Matched
from gencli.data.readers import read_all
from gencli.errors import DataError
from gencli.kinds import Progress
from gencli.memory import see_that_they_fit
from gencli.wording import readable_bytes

PART_BYTES = 1 << 28
"""Of the images of a part on disk, about."""

_PARTS = re.compile("parts-[0-9a-f]+")
_SHOWN = 20  # names of bad files in a message

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Decoded:
    """The images of a list of files, and their sources where these are pairs.

    Attributes:
        at: Rows (n,) -> their images (n, 3, size, size), in memory; of pairs (n, 6, size, size).
        channels: Of each image, and of its source: 1, 3, or 0 where it could not be read, (n, 1) or
            (n, 2).
        bad: Files that could not be read, each with the reason.
    """

    at: Callable[[Rows], Images]
    channels: Rows
    bad: tuple[str, ...]


def in_memory(
    root: Path, names: Sequence[str], size: int, progress: Progress | None,
    matched: Matched | None = None,
) -> Decoded:  # fmt: skip
    """All images in one array."""
    n_images = 1 if matched is None else 2
    pixels = np.empty((len(names), n_images, 3, size, size), np.uint8)
    what = f"decoding {root.name}"

    def read_pair(number: int) -> list[int] | str:
        """Put two images in their place and give their channels, or say why they cannot be read."""
        assert matched is not None
        name = names[number]
        try:
            images = matched.decode(os.path.join(root, name), name, size)
        except BROKEN as error:
            return why_broken(error)
        for place, image in zip(pixels[number], images, strict=True):
            place[:] = image
        return [len(image) for image in images]

    results: Sequence[list[int] | int | str]
    with strict_pillow():
        if matched is None:
            paths = [os.path.join(root, name) for name in names]
            results = read_all(
                paths, pixels[:, 0], lambda n: progress and progress(what, n, len(names))
            )
        else:
            results = each(read_pair, range(len(names)), what, progress)
    bad = tuple(
        f"{name} ({result})"
        for name, result in zip(names, results, strict=True)
        if isinstance(result, str)
    )
    missing = 0 if matched is None else [0, 0]
    channels = np.array([missing if isinstance(r, str) else r for r in results], np.int64)
    channels = channels.reshape(len(names), n_images)
    flat = pixels.reshape(len(names), -1, size, size)
    return Decoded(lambda rows: flat[rows], channels, bad)


def in_parts(
    root: Path, names: Sequence[str], size: int, parts: Path, progress: Progress | None,
    matched: Matched | None = None,
) -> Decoded:  # fmt: skip
    """The images in a folder of parts, each on disk as soon as it is decoded.

    Args:
        root: Where the images are.
        names: Theirs, relative to `root`.
        size: Side of the squares.
        parts: The folder; what is in it already is of the same files.
        progress: Told how many images are decoded.
        matched: Of pairs, where the sources are.
    """
    planes = planes_of(matched)
    n = max(1, PART_BYTES // (planes * size * size))
    made: list[Stored] = []
    for first in range(0, len(names), n):

        def build(first: int = first) -> Stored:
            def told(what: str, done: int, _: int) -> None:
                if progress:
                    progress(what, first + done, len(names))

            part = in_memory(root, names[first : first + n], size, told, matched)
            rows = np.arange(len(part.channels))
            return Stored({"part": part.at(rows)}, {"part": part.channels}, bad=part.bad)

        made.append(cached(parts, digest(first), build))

    def at(rows: Rows) -> Images:
        images = np.empty((len(rows), planes, size, size), np.uint8)
        numbers = rows // n
        for number in np.unique(numbers):
            here = numbers == number
            images[here] = made[number].images["part"][rows[here] - number * n]
        return images

    channels = np.concatenate([part.labels["part"] for part in made])
    return Decoded(at, channels, tuple(text for part in made for text in part.bad))


def planes_of(matched: Matched | None) -> int:
    """Planes of size by size that are kept for an image, or for a pair."""
    return 3 if matched is None else 6


def see_that_there_is_room(n: int, n_bytes_each: int, folder: Path) -> None:
    """See that a folder has room for `n` images, in parts and as a whole.

    Raises:
        DataError: If it has not, or if a single image does not fit in the memory.
    """
    cure = "Choose a smaller --image-size."
    see_that_they_fit(n_bytes_each, "An image", cure, DataError)
    n_bytes = 2 * n * n_bytes_each
    with writing(folder, DataError, CURE):
        folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(folder).free
    if n_bytes > free:
        raise DataError(
            f"The images would take {readable_bytes(n_bytes)} on disk, where "
            f"{readable_bytes(free)} are free.",
            f"{cure[:-1]}, or set GENCLI_HOME to a folder with more room.",
        )


def forget(parts: Path) -> None:
    """Remove a folder of parts, and those that were given up a day ago or longer."""
    discard(parts)
    sweep(parts.parent, names=_PARTS)


def assemble(
    root: Path, names: Sequence[str], written: Written, decoded: Decoded, place: Path | None = None
) -> Stored:
    """The splits of a folder, made of its images.

    Args:
        root: The folder.
        names: Of the files, relative to it.
        written: Their captions.
        decoded: Their images.
        place: A folder for the images' arrays, which then are mapped; None keeps them in memory.

    Raises:
        DataError: If there are fewer than two images.
    """
    good = decoded.channels[:, 0].nonzero()[0]
    if not good.size:
        raise bad_images(root, decoded.bad, len(names))
    if good.size < 2:
        raise DataError(
            f"There is only one image in {root}.", "A model learns from many: add images."
        )
    layout = arrange([names[i] for i in good.tolist()])
    each = [1 if (column == 1).all() else 3 for column in decoded.channels[good].T]
    planes = [3 * i + plane for i, n in enumerate(each) for plane in range(n)]
    images = {}
    for split, rows in layout.splits.items():
        if place is None:
            images[split] = _chosen(decoded.at(good[rows]), planes)
        else:
            target = place / f"{split}-images.npy"
            images[split] = _on_disk(target, decoded, good[rows], planes)
    notes = layout.notes + written.notes
    stored = Stored(
        images, layout.labels, layout.classes, notes=notes, bad=decoded.bad,
        channels=each[0] if len(each) > 1 else 0,
    )  # fmt: skip
    if not written.texts:
        return stored
    texts = {
        s: [written.texts[i] for i in good[rows].tolist()] for s, rows in layout.splits.items()
    }
    return with_captions(stored, texts)


def _on_disk(target: Path, decoded: Decoded, rows: Rows, planes: list[int]) -> Images:
    one = decoded.at(rows[:1])
    n, size = max(1, PART_BYTES // one.nbytes), one.shape[-1]
    array: Images = open_memmap(target, "w+", np.uint8, (len(rows), len(planes), size, size))
    for first in range(0, len(rows), n):
        some = rows[first : first + n]
        array[first : first + len(some)] = _chosen(decoded.at(some), planes)
    return array


def _chosen(images: Images, planes: list[int]) -> Images:
    """Some planes of images, in memory as they are in order: NumPy is slow at writing others."""
    if planes == list(range(images.shape[1])):
        return images
    return np.ascontiguousarray(images[:, planes])


def bad_images(root: Path, bad: Sequence[str], n: int) -> DataError:
    """The error for files that cannot be read."""
    more = f", and {len(bad) - _SHOWN} more" if len(bad) > _SHOWN else ""
    return DataError(
        f"{len(bad)} of {n} images in {root} cannot be read: {', '.join(bad[:_SHOWN])}{more}.",
        "Repair or delete them, or leave them out with --skip-bad.",
    )
