"""A lock on a folder that ends with its process, however that ends. No torch here.

It is the operating system's lock on a file in the folder (`flock`; on Windows the locking of a byte
range), so that one left behind by a kill holds nothing. Where the file system has no locks, no one
is kept out.
"""

from __future__ import annotations

import os
import sys
import time
import weakref
from pathlib import Path

from gencli import guarded
from gencli.errors import RunError

FILE = "lock"
_TRIES, _PAUSE = 5, 0.05  # one who only looks holds the lock for a moment

if sys.platform == "win32":
    import msvcrt

    _BUSY: tuple[type[OSError], ...] = (PermissionError,)

    def _seize(descriptor: int) -> None:
        os.lseek(descriptor, 1 << 20, os.SEEK_SET)  # past the number that others read
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    _BUSY = (BlockingIOError,)

    def _seize(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


class Lock:
    """Holds a folder's lock until it is released, collected or the process ends.

    Args:
        folder: Whose file `lock` is locked, and made where there is none.

    Raises:
        BlockingIOError: If another has it.
        RunError: If the file is a link or no regular file, or cannot be opened.
    """

    def __init__(self, folder: Path) -> None:
        path = folder / FILE
        try:
            descriptor = guarded.open_file(path, os.O_RDWR | os.O_CREAT)
        except OSError as error:
            raise RunError(
                f"{path} cannot be opened: {error.strerror or error}.",
                "Make permission there, or copy the run.",
            ) from None
        self._close = weakref.finalize(self, os.close, descriptor)
        for attempt in range(_TRIES):
            try:
                _seize(descriptor)
                break
            except _BUSY:
                if attempt == _TRIES - 1:
                    self.release()
                    raise BlockingIOError(str(path)) from None
                time.sleep(_PAUSE)
            except OSError:
                break  # a file system without locks
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())

    def release(self) -> None:
        """Let others have it."""
        self._close()


def is_held(folder: Path) -> bool:
    """Whether a process has the folder's lock."""
    try:
        descriptor = guarded.open_file(folder / FILE)
    except (OSError, RunError):
        return False
    try:
        _seize(descriptor)
    except _BUSY:
        return True
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return False


def holder(folder: Path) -> int | None:
    """The number of the process that took the lock last."""
    try:
        with guarded.reading(folder / FILE, 100) as file:
            return int(file.read())
    except (OSError, RunError, ValueError):
        return None
