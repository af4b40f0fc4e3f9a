"""Files and folders that are whole or not there: the only writer of them. No torch here.

Everything is written under a temporary name of its own beside the target, synced to disk and
renamed. Any number of processes may write the same target at once, and one killed half-way leaves
only a temporary file, which a later writer sweeps.
"""

from __future__ import annotations

import errno
import json
import os
import re
import secrets
import shutil
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from gencli.errors import GencliError
from gencli.wording import readable_bytes

OLD = 86_400.0
"""Seconds after which a temporary file belongs to no writer any more."""

CURE = "Make room or permission there."
_TEMPORARY = re.compile(r"\..+\.[0-9a-f]{12}\.part(\.[^.]+)?")


@contextmanager
def whole_file(
    target: Path, kind: type[GencliError] = GencliError, cure: str = CURE
) -> Iterator[BinaryIO]:
    """A file to write that appears as `target` when the block ends without an error.

    Args:
        target: Its folder is made where there is none.
        kind: Of the error.
        cure: What the error tells the user to do.

    Raises:
        GencliError: If the operating system refuses, or `target` is there and is no regular file.
    """
    with writing(target, kind, cure):
        target.parent.mkdir(parents=True, exist_ok=True)
    with _renamed(target, "", kind, cure) as temporary, temporary.open("xb") as file:
        yield file


@contextmanager
def replacing(
    target: Path,
    kind: type[GencliError] = GencliError,
    cure: str = "Give another place: --out.",
    needs: int | None = None,
) -> Iterator[Path]:
    """A temporary path beside `target` that takes its place when the block ends well.

    For writers that want a path; the temporary name keeps the suffix, which some look at. When the
    block fails nothing is left behind and an older `target` stays as it was.

    Args:
        target: Its folder is there.
        kind: Of the error.
        cure: What the error tells the user to do.
        needs: Bytes that will be written, where that is known.

    Raises:
        GencliError: As for `whole_file`.
    """
    with _renamed(target, target.suffix, kind, cure, needs) as temporary:
        yield temporary


@contextmanager
def _renamed(
    target: Path, suffix: str, kind: type[GencliError], cure: str, needs: int | None = None
) -> Iterator[Path]:
    with writing(target, kind, cure, needs):
        sweep(target.parent)
        temporary = _temporary(target, suffix)
        try:
            yield temporary
            _refuse_special(target, kind)
            sync(temporary)
            temporary.replace(target)
            sync(target.parent)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def whole_folder(
    target: Path,
    kind: type[GencliError] = GencliError,
    cure: str = CURE,
    needs: int | None = None,
) -> Iterator[Path]:
    """A folder to fill that appears as `target` when the block ends without an error.

    Where another process has put one there meanwhile, that one stays.

    Args:
        target: Its parent is made where there is none.
        kind: Of the error.
        cure: What the error tells the user to do.
        needs: Bytes that will be written, where that is known.

    Raises:
        GencliError: If the operating system refuses, or `target` is there and is no folder.
    """
    with writing(target, kind, cure, needs):
        target.parent.mkdir(parents=True, exist_ok=True)
        sweep(target.parent)
        temporary = _temporary(target)
        temporary.mkdir()
        try:
            yield temporary
            for path in temporary.rglob("*"):
                sync(path)
            sync(temporary)
            try:
                temporary.rename(target)
            except OSError:
                if target.is_symlink() or not target.is_dir():
                    raise
                if not any(target.iterdir()):  # POSIX replaces an empty folder, Windows does not
                    target.rmdir()
                    temporary.rename(target)
            sync(target.parent)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def write_json(target: Path, document: Any) -> None:
    """Write JSON so that the file is either the old one or the new one, never half of it.

    Raises:
        GencliError: As for `whole_file`.
    """
    with whole_file(target) as file:
        file.write(to_json(document))


def to_json(document: Any) -> bytes:
    """The bytes that `write_json` writes."""
    text = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
    return text.encode("utf-8", "backslashreplace")  # which is JSON's own escape


def discard(folder: Path) -> None:
    """Remove a folder, under another name first: half of one is never taken for whole.

    Raises:
        GencliError: If the operating system refuses.
    """
    grave = _temporary(folder)
    with writing(folder, cure=CURE):
        try:
            folder.rename(grave)
        except FileNotFoundError:
            return  # not there, or another process was faster
    shutil.rmtree(grave, ignore_errors=True)


def sweep(folder: Path, older_than: float = OLD, names: re.Pattern[str] = _TEMPORARY) -> None:
    """Remove what killed writers left in a folder, if it is older than so many seconds."""
    try:
        left = [path for path in folder.iterdir() if names.fullmatch(path.name)]
    except OSError:
        return  # no such folder: nothing to sweep
    for path in left:
        try:
            status = path.lstat()
            if time.time() - status.st_mtime < older_than:
                continue
            shutil.rmtree(path) if stat.S_ISDIR(status.st_mode) else path.unlink()
        except OSError:
            continue  # swept by another process, or not ours to sweep


@contextmanager
def writing(
    target: Path,
    kind: type[GencliError] = GencliError,
    cure: str = "Give another place: --out.",
    needs: int | None = None,
) -> Iterator[None]:
    """Turn the operating system's refusals within the block into an error about `target`.

    Of a full disk it says how much is free once what was half written is removed.

    Raises:
        GencliError: In place of an OSError; of the `kind` and with the `cure` that are given.
    """
    try:
        yield
    except OSError as error:
        why = f"{error.strerror or error}{_room(error, target, needs)}"
        raise kind(f"{target} cannot be written: {why}.", cure) from error


def _room(error: OSError, target: Path, needs: int | None) -> str:
    """Such as ` (12.0 MB are needed and 3.1 MB are free)`, where a disk is full."""
    if error.errno not in (errno.ENOSPC, errno.EDQUOT):
        return ""
    wanted = f"{readable_bytes(needs)} are needed and " if needs is not None else ""
    for folder in target.parents:
        with suppress(OSError):
            return f" ({wanted}{readable_bytes(shutil.disk_usage(folder).free)} are free)"
    return ""


def sync(path: Path) -> None:
    """Make sure that a file or folder is on the disk."""
    posix = os.name == "posix"
    if not posix and path.is_dir():
        return  # a folder cannot be opened there, and a file only for writing
    descriptor = os.open(path, os.O_RDONLY if posix else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _temporary(target: Path, suffix: str = "") -> Path:
    stem = target.name.removesuffix(suffix) if suffix else target.name
    return target.with_name(f".{stem}.{secrets.token_hex(6)}.part{suffix}")


def _refuse_special(target: Path, kind: type[GencliError]) -> None:
    """Renaming would replace a link, a pipe or a device by a file."""
    try:
        mode = target.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISREG(mode):
        raise kind(f"{target} is no regular file.", "Give another place, or move it away.")
