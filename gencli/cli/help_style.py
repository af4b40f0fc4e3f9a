"""How help is laid out: in panels where there is room, as a plain list on narrow terminals.

The panels' columns shrink with the terminal until names of options are cut; the list's do not.
"""

from __future__ import annotations

import os
import shutil
from typing import Any, Literal

from typer.core import TyperCommand, TyperGroup

PANELS_NEED = 100
"""Cells."""


def markup_mode() -> Literal["rich"] | None:
    """Typer's `rich_markup_mode` for the terminal that the process has."""
    told = os.environ.get("TERMINAL_WIDTH", "")
    width = int(told) if told.isdigit() else shutil.get_terminal_size().columns
    return "rich" if width >= PANELS_NEED else None


def default(value: object) -> str:
    """A default, as it stands behind an option's help."""
    # \\[ is a bracket to rich
    return f" [dim]\\[default: {value}][/dim]" if markup_mode() else f" [default: {value}]"


class GroupedCommand(TyperCommand):
    """A command whose plain list of options has the groups that the panels have."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the options, group by group."""
        groups: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                kind = "Arguments" if parameter.param_type_name == "argument" else "Options"
                group = getattr(parameter, "rich_help_panel", None) or kind
                groups.setdefault(group, []).append(record)
        for name, records in groups.items():
            with formatter.section(name):
                formatter.write_dl(records)


class WholeGroup(TyperGroup):
    """A group whose plain list of commands says all of what each does."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the commands; Typer's own list cuts what is longer than a line."""
        found = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        with formatter.section("Commands"):
            formatter.write_dl(
                [
                    (name, (command.help or "").split("\n\n")[0])
                    for name, command in found
                    if command
                ]
            )
