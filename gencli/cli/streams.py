"""stdout and stderr whose reader may go away: that is no reason to end a training.

`gencli train vae | true` and `gencli train vae 2>&1 | head -1` go on to their end and their
checkpoint; what nobody reads is dropped. Other failures of stdout (a full disk) stay errors: data
would be lost.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO, cast


class Lasting:
    """A stream that drops what is written once its reader has gone.

    Args:
        stream: Text or binary; everything but writing is its own.
        gone: The errors that mean so.
    """

    def __init__(self, stream: Any, gone: type[OSError]) -> None:
        self._stream, self._gone = stream, gone

    def write(self, data: Any) -> int:
        """Write to the stream, or nowhere."""
        try:
            return int(self._stream.write(data))
        except OSError as error:
            self._give_up(error)
            return len(data)

    def flush(self) -> None:
        """Flush the stream, or nothing."""
        try:
            self._stream.flush()
        except OSError as error:
            self._give_up(error)

    @property
    def buffer(self) -> Lasting:
        """The binary stream below a text stream, as lasting."""
        return Lasting(self._stream.buffer, self._gone)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def _give_up(self, error: OSError) -> None:
        # The stream still holds what it could not write, and would fail with it again, at the
        # latest when the interpreter ends.
        with suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)
        if not isinstance(error, self._gone):
            raise error


@contextmanager
def lasting() -> Iterator[None]:
    """Let stdout and stderr last within the block; one that is closed takes everything, nowhere."""
    before = sys.stdout, sys.stderr
    out: Any = sys.stdout or _nowhere()
    err: Any = sys.stderr or _nowhere()
    sys.stdout = cast(TextIO, Lasting(out, BrokenPipeError))
    sys.stderr = cast(TextIO, Lasting(err, OSError))
    try:
        yield
    finally:
        with suppress(OSError, ValueError):
            sys.stderr.flush()
            sys.stdout.flush()
        sys.stdout, sys.stderr = before


def _nowhere() -> TextIO:
    # In Python's own place for it where that is free, so that no file of ours gets it.
    return os.fdopen(os.open(os.devnull, os.O_WRONLY), "w", closefd=False)
