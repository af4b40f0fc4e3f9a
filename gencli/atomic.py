"""Files that are whole or not there. No torch here."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gencli.errors import GencliError


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """A temporary path beside `target` that takes its place when the block ends well.

    The temporary name keeps the suffix, which some writers look at. When the block fails nothing is
    left behind and an older `target` stays as it was.

    Raises:
        GencliError: If the operating system refuses (no such folder, no permission, disk full).
    """
    temporary = target.with_name(f".{target.stem}.{os.getpid()}.tmp{target.suffix}")
    with writing(target):
        try:
            yield temporary
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def writing(target: Path) -> Iterator[None]:
    """Turn the operating system's refusals within the block into an error about `target`.

    Raises:
        GencliError: In place of an OSError.
    """
    try:
        yield
    except OSError as error:
        raise GencliError(
            f"{target} cannot be written: {error.strerror or error}.",
            "Give another place: --out PATH.",
        ) from error
