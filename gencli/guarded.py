"""Reading and writing inside a run that somebody else may have made. No torch here.

Nothing in a run is a link: a link is never followed, neither for reading nor for writing. A pipe or
a device in the place of a file is refused before it is opened for good, and a file's size is looked
at before it is read.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from gencli.errors import RunError
from gencli.wording import reason

JSON_BYTES = 16 << 20
"""No run.json or state.json is larger."""

LINES_BYTES = 1 << 30
"""No metrics.jsonl is larger."""

_PIECE = 1 << 20
_FLAGS = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)
_BINARY = getattr(os, "O_BINARY", 0)
_CURE = "Do not use this run; it may have been made to harm."


def open_file(path: Path, flags: int = os.O_RDONLY, limit: int | None = None) -> int:
    """A descriptor of a regular file.

    Args:
        path: Its last part is not followed if it is a link.
        flags: As of `os.open`.
        limit: Largest size in bytes.

    Raises:
        RunError: If it is a link, no regular file, or larger than `limit`.
        OSError: If it cannot be opened.
    """
    refuse_link(path)
    descriptor = os.open(path, flags | _FLAGS | _BINARY, 0o666)
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        raise RunError(f"{path} is no regular file.", _CURE)
    if limit is not None and status.st_size > limit:
        os.close(descriptor)
        raise RunError(f"{path} is too large: {status.st_size} bytes.", _CURE)
    return descriptor


def reading(path: Path, limit: int | None = None) -> BinaryIO:
    """A regular file opened for reading; raises as `open_file` does."""
    return os.fdopen(open_file(path, limit=limit), "rb")


def appending(path: Path) -> BinaryIO:
    """A regular file opened for appending, made where there is none; raises as `open_file` does."""
    return os.fdopen(open_file(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT), "ab")


def folder(path: Path) -> Path:
    """A folder of a run, made where there is none.

    Raises:
        RunError: If it is a link or no folder, or cannot be made.
    """
    try:
        path.mkdir(exist_ok=True)
    except OSError as error:
        problem = f"{path} cannot be made: {error.strerror or error}."
        raise RunError(problem, "Make room or permission there, or move it away.") from None
    refuse_link(path)
    return path


def entries(path: Path) -> list[Path]:
    """What is in a folder of a run; nothing where there is none, or a link to one."""
    try:
        return [] if path.is_symlink() else sorted(path.iterdir())
    except OSError:
        return []


def refuse_link(path: Path) -> None:
    """See that a path inside a run is no link.

    Raises:
        RunError: If it is one.
    """
    if path.is_symlink():
        raise RunError(f"{path} is a link; nothing in a run is one.", _CURE)


def read_json(path: Path, cure: str) -> dict[str, Any]:
    """A JSON object.

    Raises:
        RunError: If there is none; `cure` says what to do.
    """
    return parsed(content(path, cure), path, cure)


def content(path: Path, cure: str) -> bytes:
    """What a file of JSON holds.

    Raises:
        RunError: If it cannot be read; `cure` says what to do.
    """
    try:
        with reading(path, JSON_BYTES) as file:
            return file.read()
    except OSError as error:
        raise RunError(f"{path} cannot be read: {reason(error)}.", cure) from None


def parsed(text: bytes, path: Path, cure: str) -> dict[str, Any]:
    """The JSON object that a file holds.

    Raises:
        RunError: If it holds none; `cure` says what to do.
    """
    try:
        document = json.loads(text.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise RunError(f"{path} cannot be read: {reason(error)}.", cure) from None
    if not isinstance(document, dict):
        raise RunError(f"{path} is no JSON object.", cure)
    return document


def lines(path: Path) -> Iterator[str]:
    """The lines of a text file, each with its end; bytes that are no UTF-8 are replaced."""
    with reading(path, LINES_BYTES) as file:
        for line in file:
            yield line.decode("utf-8", "replace")


Kinds = type | tuple[type, ...]


def check_fields(document: dict[str, Any], kinds: dict[str, Kinds], path: Path, cure: str) -> None:
    """See that a JSON object has every field, of the kind that it must be.

    Raises:
        RunError: With the field's name.
    """
    for name, kind in kinds.items():
        if name not in document:
            raise RunError(f"{path} lacks {name}.", cure)
        value = document[name]
        wanted = kind if isinstance(kind, tuple) else (kind,)
        # In Python True is an int; in a record it is none.
        if not isinstance(value, wanted) or (isinstance(value, bool) and bool not in wanted):
            raise RunError(f"{path}: {name} cannot be {json.dumps(value)[:40]}.", cure)


def fingerprint(path: Path) -> dict[str, Any]:
    """Size in bytes and SHA-256 of a file; raises as `open_file` does."""
    with reading(path) as file:
        digest = hashlib.sha256()
        size = 0
        while piece := file.read(_PIECE):
            digest.update(piece)
            size += len(piece)
    return {"size": size, "sha256": digest.hexdigest()}
