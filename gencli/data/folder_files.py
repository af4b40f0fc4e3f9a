"""The files of a folder of images: which are images, which hold captions, and which are others."""

from __future__ import annotations

import os
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from gencli.data.decode import SUFFIXES
from gencli.data.folder_names import SPLITS
from gencli.errors import DataError
from gencli.kinds import Progress

METADATA = ("metadata.jsonl", "metadata.csv")
"""Files at the top, or in the folder of a split, that hold captions of the images below."""

_BUNCH = 32  # files per task of the pool
_QUICK = 3e-4  # seconds for an item; threads would spend more on waiting for each other
_IN_A_ROW = 3  # slow tasks before there are threads; one may be slow for any reason

S = TypeVar("S")
T = TypeVar("T")
Entry = tuple[str, int, int]
"""Name relative to the folder with `/` between parts, size in bytes, time of change."""


@dataclass(frozen=True)
class Found:
    """The files of a folder, without those that are hidden.

    Attributes:
        images: All that have an image's suffix, sorted.
        captions: Files that hold captions: metadata alone, or else texts beside images.
        others: Names of the files that are neither.
        unused: How many texts beside images are not read because there are metadata.
    """

    images: list[Entry]
    captions: list[Entry]
    others: list[str]
    unused: int


def scan(root: Path) -> Found:
    """Go through a folder and all folders in it.

    Raises:
        DataError: If the folder cannot be read, or has metadata of two kinds in one place.
    """
    images: list[Entry] = []
    texts: list[Entry] = []
    others: list[str] = []
    seen: set[str] = set()

    def walk(folder: str, prefix: str) -> None:
        real = os.path.realpath(folder)
        if real in seen:
            return  # a link in a circle
        seen.add(real)
        with os.scandir(folder) as entries:
            for entry in entries:
                name = prefix + entry.name
                if entry.name.startswith("."):
                    continue
                suffix = os.path.splitext(entry.name)[1].lower()
                if entry.is_dir():
                    walk(entry.path, name + "/")
                elif suffix in SUFFIXES and (entry.is_file() or entry.is_symlink()):
                    try:
                        stat = entry.stat()
                        images.append((name, stat.st_size, stat.st_mtime_ns))
                    except FileNotFoundError:
                        images.append((name, 0, 0))  # a link to nowhere, reported as unreadable
                elif entry.is_file() and (suffix == ".txt" or _is_metadata(name)):
                    stat = entry.stat()
                    texts.append((name, stat.st_size, stat.st_mtime_ns))
                elif suffix not in SUFFIXES:
                    others.append(name)

    try:
        walk(str(root), "")
    except OSError as error:
        raise DataError(
            f"{error.filename or root} cannot be read: {error.strerror or error}.",
            "Give yourself permission to read the folder and all within it.",
        ) from None
    stems = {stem(name) for name, *_ in images}
    metadata = [entry for entry in texts if _is_metadata(entry[0])]
    beside = [entry for entry in texts if entry not in metadata and stem(entry[0]) in stems]
    _check_one_kind(root, [name for name, *_ in metadata])
    used = sorted(metadata or beside)
    others += sorted({name for name, *_ in texts} - {name for name, *_ in used})
    return Found(sorted(images), used, others, len(beside) if metadata else 0)


def _is_metadata(name: str) -> bool:
    folder, _, file = name.rpartition("/")
    return file in METADATA and (not folder or folder.lower() in SPLITS)


def _check_one_kind(root: Path, metadata: Iterable[str]) -> None:
    folders = Counter(name.rpartition("/")[0] for name in metadata)
    for folder, n in folders.items():
        if n > 1:
            raise DataError(
                f"There are both {METADATA[0]} and {METADATA[1]} in {root / folder}.",
                "Keep one of them, or rename the other.",
            )


def stem(name: str) -> str:
    """A name without its last suffix, with its folders."""
    return os.path.splitext(name)[0]


def count_others(others: Iterable[str]) -> str:
    """A note on files that are left out; "" where there are none."""
    suffixes = Counter(Path(name).suffix.lower() or "no suffix" for name in others)
    if not suffixes:
        return ""
    kinds = ", ".join(f"{suffix}: {n}" for suffix, n in suffixes.most_common(5))
    return f"files without an image's suffix were left out: {suffixes.total()} ({kinds})"


def each(
    function: Callable[[S], T], items: Sequence[S], what: str, progress: Progress | None
) -> list[T]:
    """`function` of every item, by a pool of threads where an item takes long enough for that."""
    bunches = deque(items[i : i + _BUNCH] for i in range(0, len(items), _BUNCH))
    results: list[T] = []

    def add(part: list[T]) -> None:
        results.extend(part)
        if progress:
            progress(what, len(results), len(items))

    def of(bunch: Sequence[S]) -> list[T]:
        return [function(item) for item in bunch]

    slow = 0
    while bunches and slow < _IN_A_ROW:
        began = time.perf_counter()
        add(of(bunches.popleft()))
        slow = slow + 1 if time.perf_counter() - began > _QUICK * _BUNCH else 0
    pool = ThreadPoolExecutor(min(8, os.cpu_count() or 1))
    try:
        for part in pool.map(of, bunches):
            add(part)
    finally:
        pool.shutdown(cancel_futures=True)  # Ctrl-C does not wait for the rest
    return results
