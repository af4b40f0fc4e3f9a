"""Files and sets of arrays that are on disk whole or not at all.

Writers use a temporary name of their own, sync, and rename: any number of processes may make the
same file at once, and one killed half-way leaves only a temporary file, swept a day later. Arrays
are plain `.npy` files, never pickles, and come back mapped into memory: a page is read when it is
first used.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from gencli.errors import DataError

FORMAT = 1
_SUFFIX = ".part"
_DAY = 86_400.0
_UNREADABLE = (OSError, ValueError, KeyError, TypeError)

Images = NDArray[np.uint8]
Labels = NDArray[np.int64]


@dataclass(frozen=True)
class Stored:
    """Images as they came from their source, before any are held out or binarised.

    Attributes:
        images: Split ("train", "test" and perhaps "val") -> (N, C, H, W).
        labels: Split -> (N,), for the splits that have labels.
        classes: Names of the classes, in the order of the labels.
        captions: A line for each training image, or nothing.
        notes: What the user should be told.
        bad: Files that could not be read, each with the reason.
        fingerprint: A hash of images and labels.
    """

    images: dict[str, Images]
    labels: dict[str, Labels] = field(default_factory=dict)
    classes: tuple[str, ...] = ()
    captions: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    bad: tuple[str, ...] = ()
    fingerprint: str = ""


def digest(*parts: object) -> str:
    """A short hash of values that have a faithful `repr`."""
    return blake2b(repr(parts).encode(), digest_size=16).hexdigest()


def cached(folder: Path, key: str, build: Callable[[], Stored]) -> Stored:
    """The images stored in `folder` under `key`, built and stored first where there are none.

    Raises:
        DataError: If the folder cannot be written.
    """
    entry = folder / f"arrays-{key[:32]}"
    with suppress(*_UNREADABLE):
        return _read(entry)
    stored = build()
    try:
        with whole_folder(entry) as temporary:
            _write(temporary, stored)
        with suppress(*_UNREADABLE):
            return _read(entry)  # ours, or what another process put there meanwhile
        _discard(entry)
        with whole_folder(entry) as temporary:
            _write(temporary, stored)
        return _read(entry)
    except OSError as error:
        raise unwritable(folder, error) from None


def unwritable(folder: Path, error: OSError) -> DataError:
    """The error for a cache that takes no files."""
    return DataError(
        f"The cache {folder} cannot be written: {error.strerror or error}.",
        "Make room or permission there, or set GENCLI_HOME to another folder.",
    )


def _write(folder: Path, stored: Stored) -> None:
    hashed = blake2b(digest_size=16)
    for kind, arrays in (("images", stored.images), ("labels", stored.labels)):
        for split, array in arrays.items():
            np.save(folder / f"{split}-{kind}.npy", array, allow_pickle=False)
            hashed.update(f"{split}-{kind}{array.shape}".encode())
            hashed.update(np.ascontiguousarray(array).data)
    meta = {
        "format": FORMAT,
        "images": list(stored.images),
        "labels": list(stored.labels),
        "classes": stored.classes,
        "captions": stored.captions,
        "notes": stored.notes,
        "bad": stored.bad,
        "fingerprint": hashed.hexdigest(),
    }
    (folder / "meta.json").write_text(json.dumps(meta), encoding="utf-8")


def _read(folder: Path) -> Stored:
    meta: dict[str, Any] = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
    if meta["format"] != FORMAT:
        raise ValueError(folder)
    return Stored(
        {split: _map(folder / f"{split}-images.npy") for split in meta["images"]},
        {split: _map(folder / f"{split}-labels.npy") for split in meta["labels"]},
        classes=tuple(meta["classes"]),
        captions=tuple(meta["captions"]),
        notes=tuple(meta["notes"]),
        bad=tuple(meta["bad"]),
        fingerprint=meta["fingerprint"],
    )


def _map(path: Path) -> NDArray[Any]:
    # Copy on write: torch wants memory it may write to, and the file must stay as it is.
    array: NDArray[Any] = np.load(path, mmap_mode="c", allow_pickle=False)
    return array


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """A file to write that appears as `path` when the block ends without an error."""
    temporary = _temporary(path)
    try:
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        _sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """A folder to fill that appears as `path` when the block ends without an error.

    Where another process has put one there meanwhile, that one stays.
    """
    temporary = _temporary(path)
    temporary.mkdir()
    try:
        yield temporary
        for file in temporary.iterdir():
            with file.open("rb+") as opened:
                os.fsync(opened.fileno())
        _sync(temporary)
        try:
            temporary.rename(path)
        except OSError:
            if not path.is_dir():
                raise
        _sync(path.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _discard(path: Path) -> None:
    # Moved out of the way in one step, so that no reader meets a folder that is being emptied.
    grave = _temporary(path)
    try:
        path.rename(grave)
    except FileNotFoundError:
        return  # not there, or another process was faster
    shutil.rmtree(grave, ignore_errors=True)


def _temporary(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    for old in path.parent.glob(f".*{_SUFFIX}"):
        try:
            if time.time() - old.stat().st_mtime < _DAY:
                continue
            shutil.rmtree(old) if old.is_dir() else old.unlink()
        except OSError:
            continue  # swept by another process, or not ours to sweep
    return path.with_name(f".{path.name}.{secrets.token_hex(6)}{_SUFFIX}")


def _sync(folder: Path) -> None:
    if os.name == "posix":  # elsewhere folders cannot be opened
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
