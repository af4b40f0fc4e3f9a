"""How much memory there is, asked before a lot of it is taken. No torch here.

Where too much is taken the system may kill the process without a word. What cannot fit is refused
beforehand; images of a data set that are large stay on disk.
"""

from __future__ import annotations

import os

from gencli.errors import GencliError, UsageError
from gencli.wording import readable_bytes

SHARE = 0.5
"""Of the machine's memory that one set of images may take."""


LARGE = 0.25
"""Of the machine's memory from which on the images of a data set are left on disk."""


def physical() -> int | None:
    """Bytes of memory of the machine; None where the system does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None


def see_that_they_fit(
    n_bytes: int, what: str, cure: str, kind: type[GencliError] = UsageError
) -> None:
    """See that something fits in half of the memory.

    Args:
        n_bytes: That it takes.
        what: It is, such as "1,000 images".
        cure: What the user can do.
        kind: Of the error.

    Raises:
        GencliError: Of that kind, if it does not.
    """
    there = physical()
    if there is not None and n_bytes > SHARE * there:
        raise kind(
            f"{what} would take {readable_bytes(n_bytes)} of this machine's "
            f"{readable_bytes(there)} of memory.",
            cure,
        )


def is_large(n_bytes: int) -> bool:
    """Whether images of so many bytes are left on disk, mapped, and read as they are needed."""
    there = physical()
    return there is not None and n_bytes > LARGE * there
