"""Variables of the environment that begin with GENCLI_: a slip in one would go unnoticed."""

from __future__ import annotations

from collections.abc import Mapping

from gencli import registry
from gencli.config import fields_of
from gencli.data.options import DataOptions
from gencli.training.settings import Settings

OWN = ("GENCLI_HOME", "GENCLI_MIRROR", "GENCLI_DEBUG")
PREFIX = "GENCLI_"


def without_meaning(environment: Mapping[str, str]) -> str | None:
    """One line on the variables that no command reads; None if there are none.

    Args:
        environment: The process's.
    """
    fields = [*fields_of(DataOptions), *fields_of(Settings)]
    common = {*OWN, *(PREFIX + field.name.upper() for field in fields)}
    unknown = sorted(name for name in environment if name.startswith(PREFIX) and name not in common)
    if not unknown:
        return None
    known = common | {  # options of models, which are read only now
        PREFIX + field.name.upper()
        for spec in registry.models().values()
        for field in fields_of(spec.options())
    }
    told = []
    for name in unknown:
        if name not in known:
            options = {known_name.removeprefix(PREFIX) for known_name in known}
            near = registry.nearest(name.removeprefix(PREFIX), options)
            told.append(f"{name} (did you mean {PREFIX}{near}?)" if near else name)
    if not told:
        return None
    return f"No command reads {', '.join(told)}; `gencli train MODEL --help` shows the options."
