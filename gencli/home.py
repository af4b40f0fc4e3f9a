"""Where gencli keeps its files: runs with the user's data, data sets with the user's caches.

`GENCLI_HOME` moves both into one folder. Nothing is created here; who writes makes the folder.
"""

from __future__ import annotations

import os
from pathlib import Path

from gencli.errors import UsageError


def data_dir() -> Path:
    """What is worth keeping: `GENCLI_HOME`, or the platform's folder for user data."""
    home = _home()
    if home is not None:
        return home
    import platformdirs

    return platformdirs.user_data_path("gencli", appauthor=False)


def cache_dir() -> Path:
    """What can be made or downloaded again: `GENCLI_HOME/cache`, or the platform's cache folder."""
    home = _home()
    if home is not None:
        return home / "cache"
    import platformdirs

    return platformdirs.user_cache_path("gencli", appauthor=False)


def runs_dir() -> Path:
    """The folder of runs, inside `data_dir()`."""
    return data_dir() / "runs"


def user_path(text: str) -> Path:
    """A path that a person wrote, where ~ is a home directory.

    Raises:
        UsageError: If it begins with ~NAME and there is no such user, or is no path at all.
    """
    if "\0" in text:
        raise UsageError(f"{text} is no path.", "A path has no character of value zero.")
    try:
        return Path(text).expanduser()
    except RuntimeError:
        raise UsageError(
            f"{text}: there is no such user.", "Write the whole path, or ./~ for a folder so named."
        ) from None


def _home() -> Path | None:
    home = os.environ.get("GENCLI_HOME")
    return user_path(home).resolve() if home else None
