"""Where each option of a training came from: a default, a file, the environment or a flag."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import typer

from gencli.errors import UsageError

STRENGTH = ("default", "file", "environment", "flag")
"""The origins of a value, each stronger than those before it."""

_PARSED = {"ENVIRONMENT": "environment", "COMMANDLINE": "flag"}


def sources(ctx: typer.Context, names: Iterable[str], toml: Collection[str]) -> dict[str, str]:
    """The origin of each option, one of `STRENGTH`.

    Args:
        ctx: Of the command, after parsing.
        names: Of the options.
        toml: Those that the file has.
    """
    found = {}
    for name in names:
        source = ctx.get_parameter_source(name)
        weaker = "file" if name in toml else "default"
        found[name] = _PARSED.get(source.name, weaker) if source is not None else weaker
    return found


def lengths(settings: Mapping[str, Any], origin: Mapping[str, str]) -> dict[str, Any]:
    """The settings with one length, the strongest.

    Epochs and steps exclude each other. A time to stop after goes with either, unless the other was
    asked for more strongly.

    Args:
        settings: What differs from the defaults.
        origin: Of each.

    Raises:
        UsageError: If epochs and steps come from the same place.
    """
    rank = {name: STRENGTH.index(origin[name]) for name in settings}
    left = dict(settings)
    if "epochs" in left and "steps" in left:
        if rank["epochs"] == rank["steps"]:
            raise UsageError("--epochs and --steps are two lengths.", "Give one of them.")
        del left[min("epochs", "steps", key=rank.__getitem__)]
    counted = [rank[name] for name in ("epochs", "steps") if name in left]
    if "max_time" in left and counted and max(counted) > rank["max_time"]:
        del left["max_time"]
    return left


def recorded(
    origin: Mapping[str, str], file: str, text: str, environment: Mapping[str, str]
) -> dict[str, Any]:
    """What run.json says of it.

    Args:
        origin: Of each option.
        file: The TOML file's name as it was given, or nothing.
        text: What was in it.
        environment: The process's; a password in an address is left out.
    """
    return {
        "sources": dict(origin),
        "file": {"name": file, "text": text} if file else None,
        "environment": {
            name: re.sub(r"//[^/@]*@", "//", value)
            for name, value in sorted(environment.items())
            if name.startswith("GENCLI_")
        },
    }
