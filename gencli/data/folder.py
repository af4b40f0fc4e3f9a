"""A folder of images as a data set.

Splits and classes are told by names (`folder_names.py`), captions by metadata or texts beside the
images (`folder_captions.py`), pixels follow the rule of `decode.py`. Hidden files are ignored;
files with other suffixes than images have are left out and counted.

A folder is decoded once. The arrays are kept under a hash of the files' names and contents; a
second, fast key of names, sizes and times of change says that a folder has not changed since it
was last read. Both keys hold captions too.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from hashlib import blake2b
from io import BytesIO
from pathlib import Path

from gencli.atomic import whole_file
from gencli.data.cache import CURE, Stored, cached, cached_on_disk, digest
from gencli.data.decode import BROKEN, FORMATS, measure, strict_pillow
from gencli.data.folder_captions import Written, read_captions
from gencli.data.folder_decode import (
    assemble,
    bad_images,
    forget,
    in_memory,
    in_parts,
    planes_of,
    see_that_there_is_room,
)
from gencli.data.folder_files import count_others, each, scan
from gencli.data.pairs import Pairs, match
from gencli.errors import DataError
from gencli.home import cache_dir
from gencli.kinds import Progress
from gencli.memory import is_large

_VERSION = 1  # of the scan and of the decoding; a change makes the arrays anew
_DEFAULT_SIZE = 32
_KEEP_UP_TO = 64  # images that are all squares of one size up to this keep it


def load_folder(
    root: Path,
    image_size: int | None = None,
    *,
    pairs: Pairs | None = None,
    skip_bad: bool = False,
    progress: Progress | None = None,
) -> Stored:
    """The images under `root`, resized to squares, from the cache or scanned for it.

    Args:
        root: A folder.
        image_size: Side of the squares; None keeps the size of images that are all squares of one
            size up to 64, and is 32 otherwise.
        pairs: Where the images' sources are, if they are given.
        skip_bad: Leave files that cannot be read out, instead of failing.
        progress: Told of reading and decoding.

    Raises:
        DataError: If the folder is unreadable, has fewer than two images, has images that cannot be
            read (unless `skip_bad`), has captions that cannot be read, has sources that are no
            pairs with the images, or is too large for the disk.
    """
    found = scan(root)
    files, left_out = found.images, count_others(found.others)
    if not files:
        raise DataError(
            f"There are no images in {root}" + (f" ({left_out})." if left_out else "."),
            f"gencli reads {', '.join(FORMATS)}, by their usual suffixes.",
        )
    folder = cache_dir() / "folders"
    names = [name for name, *_ in files]
    matched = None if pairs is None else match(pairs, root, names)
    sources: tuple[object, ...] = () if matched is None else (matched.pairs, matched.entries)
    pointer = folder / f"{digest(_VERSION, image_size, files, *found.captions, *sources)}.json"
    key, size = _recall(pointer)
    known = size > 0
    written: Written | None = None
    if not known:
        written = read_captions(root, names, found.captions, progress)
        with strict_pillow():
            hashes, sizes = zip(
                *each(
                    lambda name: _glance(
                        os.path.join(root, name), image_size is None or pairs is not None
                    ),
                    names,
                    f"reading {root.name}",
                    progress,
                ),
                strict=True,
            )
        if matched is not None:
            hashed, sides = matched.glance(names, sizes, progress)
            sources = (matched.pairs, hashed)
        size = image_size or _choose_size(sizes if matched is None else sides)
        captions = [written] if found.captions else []
        key = digest(_VERSION, size, names, hashes, *captions, *sources)

    def texts() -> Written:
        return written or read_captions(root, names, found.captions, progress)

    def build() -> Stored:
        return assemble(root, names, texts(), in_memory(root, names, size, progress, matched))

    parts = folder / f"parts-{key}"

    def build_on_disk(place: Path) -> Stored:
        see_that_there_is_room(len(names), n_bytes, folder)
        decoded = in_parts(root, names, size, parts, progress, matched)
        return assemble(root, names, texts(), decoded, place)

    n_bytes = planes_of(matched) * size * size
    if is_large(len(names) * n_bytes):
        stored = cached_on_disk(folder, key, build_on_disk)
        forget(parts)
    else:
        stored = cached(folder, key, build)
    if not known and not stored.bad:  # a bad file may become readable without a change of time
        with whole_file(pointer, DataError, CURE) as file:
            file.write(json.dumps([key, size]).encode())
    notes = list(stored.notes)
    if found.unused:
        notes.append(f"texts beside images are not read where there are metadata: {found.unused}")
    if left_out:
        notes.append(left_out)
    if stored.bad:
        if not skip_bad:
            raise bad_images(root, stored.bad, len(files))
        notes.append(f"images that cannot be read were skipped: {len(stored.bad)} of {len(files)}")
    return replace(stored, notes=tuple(notes))


def _recall(pointer: Path) -> tuple[str, int]:
    """The key and the size that a folder had when it was last read; size 0 if it never was."""
    try:
        key, size = json.loads(pointer.read_text(encoding="utf-8"))
        return str(key), int(size)
    except (OSError, ValueError, TypeError):
        return "", 0


def _glance(path: str, sized: bool) -> tuple[str, tuple[int, int] | None]:
    """A hash of a file's content, and the image's size where it is asked for and known."""
    try:
        content = _content(path)
    except OSError:
        return "", None  # decoding will say why
    size = None
    if sized:
        with suppress(*BROKEN):
            size = measure(BytesIO(content))
    return blake2b(content, digest_size=16).hexdigest(), size


def _content(path: str) -> bytes:
    """All of a file, by the system's calls alone: a Python file costs as much as a small image."""
    file = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
    try:
        n, parts = os.fstat(file).st_size + 1, []
        while part := os.read(file, n):
            parts.append(part)
        return b"".join(parts)
    finally:
        os.close(file)


def _choose_size(sizes: Iterable[tuple[int, int] | None]) -> int:
    different = set(sizes) - {None}
    if len(different) == 1:
        (size,) = different
        if size and size[0] == size[1] <= _KEEP_UP_TO:
            return size[0]
    return _DEFAULT_SIZE
