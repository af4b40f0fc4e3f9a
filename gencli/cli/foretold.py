"""How long a measurement will take, told once where that is long."""

from __future__ import annotations

import time

from gencli.cli import console
from gencli.kinds import Progress
from gencli.wording import spoken

_LONG = 120.0
"""Seconds from which on a person should know."""

_SETTLED = 10.0
"""Seconds after which it can be foreseen."""


def foretelling(report: Progress) -> Progress:
    """A report of progress that also says, once for each, what takes minutes and what takes less.

    Args:
        report: Is told everything too, as (what, done, in all).
    """
    began: dict[str, float] = {}
    told: set[str] = set()

    def tell(what: str, done: int, total: int) -> None:
        report(what, done, total)
        elapsed = time.monotonic() - began.setdefault(what, time.monotonic())
        if what in told or elapsed < _SETTLED or not 0 < done < total:
            return
        told.add(what)
        if elapsed / done * total > _LONG:
            console.message(
                f"{what} takes about {spoken(elapsed / done * total)}; a smaller --n, --k or "
                "--samples takes less, --metrics names what is wanted"
            )

    return tell
