"""`python -m gencli`, and the console script."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from typing import NoReturn

from gencli import threads


def main() -> None:
    """Run the command line and exit with its code."""
    try:  # the imports too: Ctrl-C may come while they last
        threads.wait_asleep(os.environ)  # before torch is imported
        from gencli.cli import streams

        streams.prepare()
        from gencli.cli.app import run

        code = run()
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # nobody would catch a KeyboardInterrupt now
    except KeyboardInterrupt:
        sys.stderr.write("error: Stopped.\n  try: Run the command again to start over.\n")
        code = 130
    leave(code)


def leave(code: int) -> NoReturn:
    """End the process at once.

    Taking down an interpreter that has torch takes a second or so, and threads of torch's
    collectives (`torchrun`) outlive their group now and then, which would abort it. Everything is
    closed by now where it was opened; what is left is in the streams.
    """
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError, OSError, ValueError):  # closed, or its reader is gone
            stream.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
