"""Where a command writes its pictures, arrays and artefacts.

A new name belongs to the command that claims it first: any number of processes may write at once,
and none overwrites what another has made.
"""

from __future__ import annotations

import os
import stat
import sys
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Literal, overload

from gencli.atomic import sweep, writing
from gencli.cli import console
from gencli.errors import UsageError
from gencli.home import user_path
from gencli.runs import Run

_claims: list[Path] = []
"""What stands for this command's outputs until they are written."""

_streams: list[BinaryIO] = []
"""Devices and pipes that this command opened."""


@overload
def target(
    out: str | None, force: bool, run: Run | None, stem: str, suffix: str
) -> Path | BinaryIO: ...


@overload
def target(
    out: str | None, force: bool, run: Run | None, stem: str, suffix: str, *, stream: Literal[False]
) -> Path: ...


def target(
    out: str | None, force: bool, run: Run | None, stem: str, suffix: str, *, stream: bool = True
) -> Path | BinaryIO:
    """Where a command writes: --out, stdout for `-`, or a new path under the run's outputs/.

    A path is claimed until `release`. A device or a pipe is opened and written to; a link to a file
    is followed.

    Args:
        out: What --out says.
        force: Whether an existing file may be overwritten, or an existing folder written into.
        run: The run; without one `out` must say where.
        stem: Of a new file's name.
        suffix: Of a new file's name, or empty for a folder.
        stream: Whether the output can be written from its beginning to its end.

    Raises:
        UsageError: If what is there cannot be written to or is not to be overwritten.
        GencliError: If the operating system refuses.
    """
    if out is None:
        if run is None:
            raise UsageError("Where to?", "Give a place: --out.")
        return _new(run.folder("outputs"), stem, suffix)
    if out == "-":
        return _stdout(suffix)
    if not out:
        raise UsageError("--out is empty.", "Give a path, or - for stdout.")
    path = user_path(out)
    if path.suffix.lower() in _SUFFIXES - {suffix}:
        what = f"{suffix[1:].upper()} file" if suffix else "folder"
        raise UsageError(
            f"What is written is a {what}: {path.name} would be a misleading name.",
            f"Call it {path.with_suffix(suffix)}, or give the --format that is meant.",
        )
    with writing(path):
        try:
            mode = path.stat().st_mode
        except (FileNotFoundError, NotADirectoryError):
            return _claimed(path, folder=suffix == "")
        if stat.S_ISCHR(mode) or stat.S_ISFIFO(mode):
            if suffix == "" or not stream:
                what = "A folder of images" if suffix == "" else "An export"
                raise UsageError(f"{what} cannot go to {path}, a device or pipe.", _ANOTHER)
            return _opened(path)
        if (suffix == "" and not stat.S_ISDIR(mode)) or (suffix != "" and not stat.S_ISREG(mode)):
            wanted = "folder" if suffix == "" else "regular file"
            raise UsageError(f"{path} is there and is no {wanted}.", _ANOTHER)
        if not force:
            raise UsageError(f"{path} exists.", f"{_ANOTHER[:-1]}, or overwrite it with --force.")
        return path.resolve() if path.is_symlink() else path


_ANOTHER = "Give another --out."

_SUFFIXES = {".png", ".npz", ".gif", ".html", ".onnx", ".pt2", ".safetensors", ".jpg", ".jpeg"}
"""Names that end so say what the file is."""


def announce(written: Path | BinaryIO) -> None:
    """Print the path written; data that went to a stream speak for themselves."""
    if isinstance(written, Path):
        console.emit(str(written))


def release() -> None:
    """Close what was opened and give up every claim: what was not written is not there."""
    while _streams:
        with suppress(OSError):
            _streams.pop().close()
    while _claims:
        claim = _claims.pop()
        with suppress(OSError):
            if claim.is_dir():
                claim.rmdir()  # which a folder with something in it refuses
            elif claim.stat().st_size == 0:
                claim.unlink()


def _new(folder: Path, stem: str, suffix: str) -> Path:
    """The first free name; a hidden file claims it, so that nobody sees half an output."""
    number = 1
    with writing(folder, cure="Give a place of your own: --out."):
        sweep(folder)
        while True:
            path = folder / f"{stem}-{number:03d}{suffix}"
            claim = path.with_name(f".{path.name}.{0:012x}.part")  # swept when it is old
            if not os.path.lexists(path) and _made(claim):
                _claims.append(claim)
                if not os.path.lexists(path):
                    return path
                _claims.pop().unlink(missing_ok=True)  # written by another since
            number += 1


def _made(claim: Path) -> bool:
    try:
        claim.touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def _claimed(path: Path, folder: bool) -> Path:
    """A path of which there is nothing yet, claimed as a shell's redirection does: it is empty."""
    if path.is_symlink():
        raise UsageError(f"{path} is a link to nothing.", _ANOTHER)
    if not path.parent.is_dir():
        raise UsageError(f"There is no folder {path.parent}.", f"mkdir -p {path.parent}")
    try:
        path.mkdir() if folder else path.touch(exist_ok=False)
    except FileExistsError:  # another process was faster
        raise UsageError(f"{path} exists.", _ANOTHER) from None
    _claims.append(path)
    return path


def _opened(path: Path) -> BinaryIO:
    stream = path.open("wb")
    if stream.isatty():
        stream.close()
        raise UsageError(f"{path} is a terminal.", _ANOTHER)
    _streams.append(stream)
    return stream


def _stdout(suffix: str) -> BinaryIO:
    if suffix == "":
        raise UsageError("A folder of images cannot go to stdout.", "Use --format npz --out -.")
    if sys.stdout.isatty():
        raise UsageError("stdout is a terminal.", "Redirect it: --out - > FILE.")
    return sys.stdout.buffer
