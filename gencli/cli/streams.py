"""stdout and stderr whose reader may go away, and whose encoding may be poor: no reason to fail.

`gencli train vae | true` and `gencli train vae 2>&1 | head -1` go on to their end and their
checkpoint; what nobody reads is dropped. Other failures of stdout (a full disk) stay errors: data
would be lost.
"""

from __future__ import annotations

import codecs
import io
import os
import sys
import threading
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
    out: Any = sys.stdout or _nowhere(1)
    err: Any = sys.stderr or _nowhere(2)
    sys.stdout = cast(TextIO, Lasting(out, BrokenPipeError))
    sys.stderr = cast(TextIO, Lasting(err, OSError))
    try:
        yield
    finally:
        with suppress(OSError, ValueError):
            sys.stderr.flush()
            sys.stdout.flush()
        sys.stdout, sys.stderr = before


def prepare() -> None:
    """Make the process's streams fit for whatever is written to them; for its start.

    A closed one becomes the null device. Characters that an encoding lacks are escaped. On stdout
    nothing is coloured unless it is a terminal. Exceptions that have no one to catch them, in
    threads and while objects are torn down, are shown with GENCLI_DEBUG=1 alone.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:  # else the next file that is opened would take its number
            stream = _nowhere(number)
            setattr(sys, name, stream)
            setattr(sys, f"__{name}__", stream)
    codecs.register_error(_ESCAPED, _escaped)
    for output in (sys.stdout, sys.stderr):
        if isinstance(output, io.TextIOWrapper):
            output.reconfigure(errors=_ESCAPED)
    if not sys.stdout.isatty():  # Typer's help and rich look at these
        for name in ("FORCE_COLOR", "PY_COLORS", "CLICOLOR_FORCE"):
            os.environ.pop(name, None)
        os.environ["_TYPER_FORCE_DISABLE_TERMINAL"] = "1"
    if os.environ.get("GENCLI_DEBUG") != "1":
        threading.excepthook = lambda failed: None
        sys.unraisablehook = lambda failed: None


_ESCAPED = "gencli-escaped"


def _escaped(error: UnicodeError) -> tuple[str | bytes, int]:
    """A path's own bytes where it has some that are no text; else Python's escapes."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end]
    if all("\udc80" <= character <= "\udcff" for character in text):
        return bytes(ord(character) - 0xDC00 for character in text), error.end
    return codecs.backslashreplace_errors(error)


def _nowhere(number: int) -> TextIO:
    # In Python's own place for it where that is free, so that no file of ours gets it.
    opened = os.open(os.devnull, os.O_RDWR)
    if opened != number:
        os.dup2(opened, number)
        os.close(opened)
        opened = number
    return os.fdopen(opened, "w" if number else "r", encoding="utf-8", closefd=False)
