"""How much memory there is, asked before a lot of it is taken. No torch here.

Where too much is taken the system may kill the process without a word. What cannot fit is refused
beforehand; images of a data set that are large stay on disk.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path

from gencli.errors import GencliError, UsageError
from gencli.wording import readable_bytes

SHARE = 0.5
"""Of the machine's memory that one set of images may take."""


LARGE = 0.25
"""Of the machine's memory from which on the images of a data set are left on disk."""


_NONE_LEFT = re.compile(
    r"not enough memory|can't allocate memory|out of memory|overflow when unpacking long"
    r"|size calculation overflowed|numel: integer multiplication overflow",
    re.IGNORECASE,
)


def physical() -> int | None:
    """Bytes of memory of the machine, or of its container; None where the system does not say."""
    try:
        machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None
    limit = _number_in(Path("/sys/fs/cgroup/memory.max"), "")
    return machine if limit is None else min(machine, limit)


def peak(*, anew: bool = False) -> int | None:
    """Bytes that this process had at most; None where the system does not say (all but Linux).

    Args:
        anew: Forget what it had before, as far as the system lets it.
    """
    if anew:
        with suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")
    kilobytes = _number_in(Path("/proc/self/status"), "VmHWM:")
    return None if kilobytes is None else 1024 * kilobytes


def _number_in(file: Path, before: str) -> int | None:
    """The number of the first line that begins so."""
    with suppress(OSError, ValueError, IndexError):
        for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith(before):
                return int(line.removeprefix(before).split()[0])
    return None


def ran_out(failure: BaseException) -> bool:
    """Whether there was too little memory, on the machine or on a device."""
    told = isinstance(failure, RuntimeError | TypeError) and _NONE_LEFT.search(str(failure))
    return isinstance(failure, MemoryError) or bool(told)


def wanted(failure: BaseException) -> str:
    """Such as ` for 1.2 GB`, where torch says so: in bytes on a CPU, in a unit on a GPU."""
    found = re.search(r"tried to allocate ([\d.]+) (\w+)", str(failure), re.IGNORECASE)
    if found is None:
        return ""
    amount, unit = found.groups()
    return f" for {readable_bytes(float(amount)) if unit == 'bytes' else f'{amount} {unit}'}"


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
