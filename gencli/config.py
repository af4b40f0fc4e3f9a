"""Settings as frozen dataclasses, and the bridge from them to typed command-line options.

A model's file holds its `Config` and its `TRAINING` defaults above the module that uses them. The
file imports torch, which takes over a second; so `read_config` runs only those two statements of
it, and `gencli train vae --help` stays instant. Both may use nothing beyond Python's builtins and
the names of this module and `typing`.
"""

from __future__ import annotations

import ast
import dataclasses
import importlib.util
import types
import typing
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from gencli.data.spec import Binarization
from gencli.errors import UsageError


def option(default: Any, help: str, *, min: float | None = None, max: float | None = None) -> Any:
    """A field of a config: its default, its help text, and the bounds of its value (inclusive)."""
    return dataclasses.field(default=default, metadata={"help": help, "min": min, "max": max})


@dataclass(frozen=True)
class Training:
    """A model's default training budget, overridden by the common options of `train`."""

    epochs: int = 20
    batch_size: int = 128
    lr: float = 1e-3
    lr_schedule: typing.Literal["constant", "cosine"] = "constant"
    warmup: int = 0
    ema_decay: float = 0.0
    binarize: Binarization = "none"
    threads: int | None = None
    """Threads that the model does best with; None is as many as the machine has cores."""


@dataclass(frozen=True)
class Field:
    """One option of a config, ready for a command line or a page of documentation."""

    name: str
    type: Any
    default: Any
    help: str
    min: float | None
    max: float | None

    @property
    def flag(self) -> str:
        """The option's long flag, such as `--latent-dim`."""
        return "--" + self.name.replace("_", "-")


@cache
def read_config(module: str) -> tuple[type, Training]:
    """The `Config` class and `TRAINING` defaults of a model's module, without importing the module.

    Raises:
        UsageError: If the module does not exist or lacks either name.
    """
    found = importlib.util.find_spec(module)
    if found is None or found.origin is None:
        raise UsageError(
            f"There is no module {module}.", "Reinstall the package that registers it."
        )
    tree = ast.parse(Path(found.origin).read_text(encoding="utf-8"))
    wanted = [node for node in tree.body if _defines(node) in ("Config", "TRAINING")]
    namespace = types.ModuleType(module).__dict__
    namespace.update(dataclass=dataclass, option=option, Training=Training, Literal=typing.Literal)
    # Annotations are evaluated at once: postponed ones would make `dataclass` look for the module.
    body = ast.Module(wanted, [])
    exec(compile(body, found.origin, "exec", dont_inherit=True), namespace)
    try:
        config, training = namespace["Config"], namespace["TRAINING"]
    except KeyError as error:
        raise UsageError(
            f"The module {module} does not define {error}.",
            "A model's file holds a dataclass Config and a Training called TRAINING.",
        ) from None
    config.__annotations__ = typing.get_type_hints(config, globalns=namespace)
    return config, training


def _defines(node: ast.stmt) -> str | None:
    if isinstance(node, ast.ClassDef):
        return node.name
    if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
        return node.targets[0].id
    return None


def fields_of(config: type) -> list[Field]:
    """The options of a config class, in order."""
    hints = typing.get_type_hints(config)
    return [
        Field(
            f.name,
            hints[f.name],
            f.default,
            f.metadata.get("help", ""),
            f.metadata.get("min"),
            f.metadata.get("max"),
        )
        for f in dataclasses.fields(config)
    ]


def parse_value(field: Field, value: Any) -> Any:
    """Convert a value from TOML, the environment or a flag, and check its bounds.

    Tuples are written as lists in TOML and as comma-separated text elsewhere.

    Raises:
        UsageError: If the value does not fit.
    """
    try:
        parsed = _convert(field.type, value)
    except (TypeError, ValueError):
        raise UsageError(
            f"{field.flag} cannot be {value!r}.", f"It takes {describe_type(field.type)}."
        ) from None
    for number in parsed if isinstance(parsed, tuple) else (parsed,):
        low, high = field.min, field.max
        if (low is not None and number < low) or (high is not None and number > high):
            raise UsageError(f"{field.flag} {value} is out of range.", f"It takes {bounds(field)}.")
    return parsed


def required_type(kind: Any) -> Any:
    """The type of an option that may be absent: `int` for `int | None`."""
    if typing.get_origin(kind) in (types.UnionType, typing.Union):
        return next(arg for arg in typing.get_args(kind) if arg is not type(None))
    return kind


def _convert(kind: Any, value: Any) -> Any:
    kind = required_type(kind)
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Literal:
        if value not in args:
            raise ValueError(value)
        return value
    if origin is tuple:
        parts = value.split(",") if isinstance(value, str) else value
        return tuple(_convert(args[0], part) for part in parts if part != "")
    if kind is bool:
        if not isinstance(value, bool):
            raise ValueError(value)
        return value
    if isinstance(value, bool) or (kind is int and isinstance(value, float)):
        raise ValueError(value)
    return kind(value)


def describe_type(kind: Any) -> str:
    """A type in words, for messages and documentation."""
    kind = required_type(kind)
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Literal:
        return "one of " + ", ".join(map(str, args))
    if origin is tuple:
        return f"{describe_type(args[0])} list, such as 512,256"
    words = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
    return words.get(kind, str(kind))


def bounds(field: Field) -> str:
    """The bounds of a field in words."""
    if field.min is not None and field.max is not None:
        return f"values from {field.min:g} to {field.max:g}"
    return f"at least {field.min:g}" if field.min is not None else f"at most {field.max:g}"
