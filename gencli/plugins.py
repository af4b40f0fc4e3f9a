"""Models of other packages: found through entry points, and looked at before they are believed.

A broken one never breaks the others: it is left out, and one line says so. No torch here.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Collection, Iterator
from importlib.metadata import entry_points
from typing import Any

from gencli.config import Config
from gencli.errors import GencliWarning
from gencli.model_spec import ModelSpec

GROUP = "gencli.models"
_NAME = re.compile(r"[a-z0-9][a-z0-9.-]*")
_TARGET = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


def found(taken: Collection[str], families: Collection[str]) -> Iterator[ModelSpec]:
    """The models of every entry point that holds what it should.

    Args:
        taken: Names and aliases that a plug-in cannot have.
        families: That a model may be of.
    """
    taken = set(taken)
    for entry in sorted(entry_points(group=GROUP), key=lambda entry: entry.name):
        problem: str | None
        try:
            spec = entry.load()
            problem = fault(spec, taken, families)
        except (Exception, SystemExit) as failure:  # whatever its module does on import
            reason = " ".join(str(failure).split())[:200]
            problem = f"{type(failure).__name__}{': ' if reason else ''}{reason}"
        if problem is not None:
            of = f" of {entry.dist.name}" if entry.dist else ""
            warnings.warn(
                f"The plug-in {entry.name}{of} is left out: {problem}.", GencliWarning, stacklevel=1
            )
            continue
        taken |= {spec.name, *spec.aliases}
        yield spec


def fault(spec: Any, taken: Collection[str], families: Collection[str]) -> str | None:
    """What is wrong with an entry point's SPEC; None if nothing is.

    Raises:
        Exception: Of any kind, from the module that holds the model's options.
    """
    if not isinstance(spec, ModelSpec):
        return f"it names a {type(spec).__name__}, not a ModelSpec"
    for field in ("name", "target", "config", "family", "summary", "paper"):
        value = getattr(spec, field)
        if not isinstance(value, str) or not value.strip():
            return f"its {field} cannot be {value!r}"
    if not isinstance(spec.aliases, tuple) or not all(isinstance(a, str) for a in spec.aliases):
        return f"its aliases cannot be {spec.aliases!r}: they are a tuple of names"
    for name in (spec.name, *spec.aliases):
        if not _NAME.fullmatch(name):
            return f"{name!r} is no name: use small letters, digits, dots and dashes"
        if name in taken:
            return f"there is a model called {name} already"
    for field in ("target", "config"):
        if not _TARGET.fullmatch(getattr(spec, field)):
            return f"its {field} {getattr(spec, field)!r} is not of the form module:Class"
    if spec.family not in families:
        return f"its family {spec.family!r} is none of {', '.join(families)}"
    options = spec.options()
    if not isinstance(options, type) or not issubclass(options, Config):
        return f"its config {spec.config} is no gencli.config.Config"
    return None
