"""`python -m gencli`, and the console script."""

from __future__ import annotations

import os
import sys

from gencli import threads


def main() -> None:
    """Run the command line and exit with its code."""
    try:
        threads.wait_asleep(os.environ)  # before torch is imported
        from gencli.cli.app import run

        code = run()
    except KeyboardInterrupt:  # before the command line was there to say so
        code = 130
    sys.exit(code)


if __name__ == "__main__":
    main()
