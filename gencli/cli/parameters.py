"""A config dataclass as the signature of a Typer command, and values merged by precedence.

Every option's own default is None, so that after parsing it is known what was given; the default is
shown in the help all the same. Precedence: default < TOML < environment < flag.
"""

from __future__ import annotations

import functools
import inspect
import tomllib
import typing
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any, Literal

import typer

from gencli import recipe, registry
from gencli.cli import help_style, shell_completion
from gencli.config import Field, parse_value, required_type
from gencli.errors import UsageError
from gencli.home import user_path
from gencli.wording import reason

_METAVARS: dict[Any, str] = {int: "N", float: "X", str: "TEXT"}
"""What stands for a value in the help: short, so that narrow terminals have room for the rest."""

_LONGEST_METAVAR = 18
_TOML_BYTES = 1 << 20


def parameter(field: Field, panel: str, envvar: bool = True) -> inspect.Parameter:
    """One option as a parameter that Typer understands."""
    kind = required_type(field.type)
    declared, metavar, about = kind, _METAVARS.get(kind), field.help
    if typing.get_origin(kind) is tuple:
        declared, metavar = str, "N,N,..."
    elif typing.get_origin(kind) is Literal:
        names = [str(name) for name in typing.get_args(kind)]
        if len("|".join(names)) > _LONGEST_METAVAR:  # they would be broken in the middle of a word
            metavar, about = "NAME", f"{about.rstrip('.')}: {', '.join(names)}."
    if field.words:
        declared, metavar = str, "|".join(["N", *field.words])
    default: Any = field.default
    if isinstance(default, tuple):
        default = ",".join(map(str, default))
    flags = [field.flag]
    if kind is bool:
        flags = [f"{field.flag}/--no-{field.flag[2:]}"]
        default = field.flag[2:] if default else f"no-{field.flag[2:]}"
    # The option itself has no default, so the help says what it is.
    shown = "" if field.default is None else help_style.default(default)
    info = typer.Option(
        *flags,
        help=about + shown,
        show_default=False,
        envvar=f"GENCLI_{field.name.upper()}" if envvar else None,
        show_envvar=False,
        metavar=metavar,
        min=field.min if declared in (int, float) else None,
        max=field.max if declared in (int, float) else None,
        rich_help_panel=panel,
        autocompletion=shell_completion.OF_FIELD.get(field.name),
    )
    return inspect.Parameter(
        field.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[declared | None, info],
    )


def with_parameters(
    function: Callable[..., None], parameters: Iterable[inspect.Parameter]
) -> Callable[..., None]:
    """A function that calls this one, with these keyword parameters in place of its `**own`."""
    signature = inspect.signature(function, eval_str=True)
    own = [p for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
    merged = [*own, *parameters]

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> None:
        function(*args, **kwargs)

    call.__signature__ = inspect.Signature(merged)  # type: ignore[attr-defined]
    call.__annotations__ = {p.name: p.annotation for p in merged}
    return call


def read_toml(name: str) -> tuple[str, str, dict[str, Any]]:
    """The path, text and settings of a TOML file, or of a recipe that comes with gencli.

    Raises:
        UsageError: If there is neither, or it is no flat table.
    """
    path = user_path(name)
    if not path.is_file():
        path = recipe.path_of(name)
    try:
        with path.open("rb") as file:
            content = file.read(_TOML_BYTES + 1)
        if len(content) > _TOML_BYTES:
            raise UsageError(f"{path} is too long for settings.", "It must be a TOML file.")
        text = content.decode("utf-8")
        document = tomllib.loads(text)
    except (OSError, ValueError, RecursionError) as error:
        problem = f"{path} cannot be read: {reason(error)}."
        raise UsageError(problem, "It must be a TOML file.") from None
    return str(path), text, {k: v for k, v in document.items() if k not in recipe.TABLES}


def merge(
    fields: Iterable[Field], toml: Mapping[str, Any], source: str, given: Mapping[str, Any]
) -> dict[str, Any]:
    """What differs from the defaults: TOML values, overridden by given ones that are not None.

    Raises:
        UsageError: If a key is unknown or a value does not fit.
    """
    known = {f.name: f for f in fields}
    for key in toml:
        if key not in known:
            near = registry.nearest(key, known)
            raise UsageError(
                f"{source} has an unknown key: {key}.",
                f"Did you mean {near}?" if near else "See --help for the options there are.",
            )
    values = dict(toml) | {k: v for k, v in given.items() if v is not None and k in known}
    return {name: parse_value(known[name], value) for name, value in values.items()}
