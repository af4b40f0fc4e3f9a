"""Sets of arrays that are on disk whole or not at all, and the same as when they were written.

Arrays are plain `.npy` files, never pickles, and come back mapped into memory. The CRC-32 of each
is checked first (16 ms for the 47 MB of MNIST's, where BLAKE2 takes 52): it finds damage, which is
what can happen to the user's own files; a damaged entry is made again.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gencli.atomic import discard, whole_folder, writing
from gencli.errors import DataError

FORMAT = 3
CURE = "Make room or permission there, or set GENCLI_HOME to another folder."
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
        tokens: Split -> (N, L), captions by `vocabulary`, for data that have them.
        vocabulary: Words of the captions, from the token 2 on.
        notes: What the user should be told.
        bad: Files that could not be read, each with the reason.
        captions: A hash of the captions that tokens came from; "" where the program wrote them.
        channels: Of the images; those after them are their sources'. 0 where all are the images'.
        fingerprint: A hash of images, labels and `captions`.
    """

    images: dict[str, Images]
    labels: dict[str, Labels] = field(default_factory=dict)
    classes: tuple[str, ...] = ()
    tokens: dict[str, Labels] = field(default_factory=dict)
    vocabulary: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    bad: tuple[str, ...] = ()
    captions: str = ""
    channels: int = 0
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
    with writing(folder, DataError, CURE):  # before the work, not after it
        folder.mkdir(parents=True, exist_ok=True)
        TemporaryFile(dir=folder).close()
    stored = build()
    try:
        with whole_folder(entry, DataError, CURE) as temporary:
            _write(temporary, stored)
        with suppress(*_UNREADABLE):
            return _read(entry)  # ours, or what another process put there meanwhile
        discard(entry)
        with whole_folder(entry, DataError, CURE) as temporary:
            _write(temporary, stored)
        return _read(entry)
    except OSError as error:
        raise unwritable(folder, error) from None


def cached_on_disk(folder: Path, key: str, build: Callable[[Path], Stored]) -> Stored:
    """As `cached`, for images that are too many for the memory.

    Args:
        folder: Of the cache.
        key: Of the entry.
        build: Writes `SPLIT-images.npy` into the folder that it is given, and gives them mapped.

    Raises:
        DataError: If the folder cannot be written.
    """
    entry = folder / f"arrays-{key[:32]}"
    with suppress(*_UNREADABLE):
        return _read(entry)
    discard(entry)  # it is damaged, if there is one
    with whole_folder(entry, DataError, CURE) as temporary:
        _write(temporary, build(temporary))
    try:
        return _read(entry)
    except _UNREADABLE:
        raise DataError(f"{entry} cannot be read back.", CURE) from None


def unwritable(folder: Path, error: OSError) -> DataError:
    """The error for a cache that takes no files."""
    return DataError(f"The cache {folder} cannot be written: {error.strerror or error}.", CURE)


def _write(folder: Path, stored: Stored) -> None:
    hashed = blake2b(stored.captions.encode(), digest_size=16)
    hashed.update(f"{stored.channels or ''}".encode())
    checksums = {}
    columns = (("images", stored.images), ("labels", stored.labels), ("tokens", stored.tokens))
    for kind, arrays in columns:
        for split, array in arrays.items():
            name = f"{split}-{kind}.npy"
            if not (folder / name).exists():  # it is written already where it is large
                np.save(folder / name, array, allow_pickle=False)
            checksums[name] = _checksum(folder / name)
            if kind != "tokens":
                hashed.update(f"{split}-{kind}{array.shape}".encode())
                hashed.update(np.ascontiguousarray(array).data)
    meta = {
        "format": FORMAT,
        "images": list(stored.images),
        "labels": list(stored.labels),
        "classes": stored.classes,
        "tokens": list(stored.tokens),
        "vocabulary": stored.vocabulary,
        "notes": stored.notes,
        "bad": stored.bad,
        "captions": stored.captions,
        "channels": stored.channels,
        "fingerprint": hashed.hexdigest(),
        "checksums": checksums,
    }
    document = {"digest": digest(json.dumps(meta)), **meta}
    (folder / "meta.json").write_text(json.dumps(document), encoding="utf-8")


def _read(folder: Path) -> Stored:
    meta: dict[str, Any] = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
    noted = meta.pop("digest")
    if meta["format"] != FORMAT or noted != digest(json.dumps(meta)):
        raise ValueError(folder)
    for name, checksum in meta["checksums"].items():
        if _checksum(folder / name) != checksum:
            raise ValueError(folder / name)
    return Stored(
        {split: _map(folder / f"{split}-images.npy") for split in meta["images"]},
        {split: _map(folder / f"{split}-labels.npy") for split in meta["labels"]},
        classes=tuple(meta["classes"]),
        tokens={split: _map(folder / f"{split}-tokens.npy") for split in meta["tokens"]},
        vocabulary=tuple(meta["vocabulary"]),
        notes=tuple(meta["notes"]),
        bad=tuple(meta["bad"]),
        captions=meta.get("captions", ""),  # entries of before have none
        channels=meta.get("channels", 0),
        fingerprint=meta["fingerprint"],
    )


def _checksum(path: Path) -> int:
    value, piece = 0, memoryview(bytearray(1 << 18))  # which stays in the processor's cache
    with path.open("rb", buffering=0) as file:
        while n := file.readinto(piece):
            value = zlib.crc32(piece[:n], value)
    return value


def _map(path: Path) -> NDArray[Any]:
    # Copy on write: torch wants memory it may write to, and the file must stay as it is.
    array: NDArray[Any] = np.load(path, mmap_mode="c", allow_pickle=False)
    return array
