"""Options as frozen dataclasses, and what the command line and the documentation read off them.

A model's options are a `Config` in its family's `configs.py`: ordinary Python, without torch, so
that `gencli train vae --help` is instant. Options of sampling, decoding and measuring are
dataclasses of their own, which the config names.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

from gencli.errors import UsageError
from gencli.kinds import Binarization, ConditionKind


def option(
    default: Any,
    help: str,
    *,
    min: float | None = None,
    max: float | None = None,
    words: Mapping[str, int] | None = None,
) -> Any:
    """A field of a config: its default, its help text, and the bounds of its value (inclusive).

    Words stand for numbers of a meaning of their own, which the bounds do not hold for.
    """
    about = {"help": help, "min": min, "max": max, "words": words or {}}
    return dataclasses.field(default=default, metadata=about)


@dataclass(frozen=True)
class Training:
    """A model's default training budget, overridden by the common options of `train`."""

    epochs: int = 20
    batch_size: int = 128
    lr: float = 1e-3
    lr_schedule: Literal["constant", "cosine"] = "constant"
    warmup: int = 0
    ema_decay: float = 0.0
    binarize: Binarization = "none"


@dataclass(frozen=True)
class Enough:
    """Updates after which samples of a model begin to look like its data, about.

    Of a model in stages, of all of them together. A shorter training is told of it before it
    begins.

    Attributes:
        digits: On images of one channel, such as `glyphs`.
        photographs: On images in colour.
    """

    digits: int = 1_500
    photographs: int = 20_000


@dataclass(frozen=True)
class Options:
    """A set of options; as it stands, an empty one."""

    @classmethod
    def parsed(cls, values: Mapping[str, Any]) -> Self:
        """The options with these values, converted and checked; the others have their defaults.

        Raises:
            UsageError: If there is no such option, or a value does not fit.
        """
        known = {f.name: f for f in fields_of(cls)}
        for name in values:
            if name not in known:
                flags = ", ".join(f.flag for f in known.values())
                raise UsageError(
                    f"There is no option --{name.replace('_', '-')} here.",
                    f"There are: {flags}." if flags else "There are none.",
                )
        return cls(**{name: parse_value(known[name], value) for name, value in values.items()})


@dataclass(frozen=True)
class Config(Options):
    """Options of a model: the base of every model's own.

    Attributes:
        training: The model's default training budget.
        enough: How long it should be; None where so many updates say nothing (closed forms, EM).
        Sampling: Options of `sample`: keyword arguments of that name.
        Decoding: Options of `decode`, likewise.
        Measuring: Options of its likelihood's measurement: of `log_partition`, or else of
            `log_prob_bound`.
    """

    training: ClassVar[Training] = Training()
    enough: ClassVar[Enough | None] = Enough()
    Sampling: ClassVar[type[Options]] = Options
    Decoding: ClassVar[type[Options]] = Options
    Measuring: ClassVar[type[Options]] = Options

    def conditions(self) -> tuple[ConditionKind, ...]:
        """What a model of these options is told beside the images; nothing by default."""
        return ()

    def sampling(self) -> type[Options]:
        """`Sampling`, or less where these options leave some of it without a meaning."""
        return type(self).Sampling


@dataclass(frozen=True)
class ClassConditional(Config):
    """Options of a model of p(x | class), where it is asked to be one, else of p(x)."""

    conditional: bool = option(False, "Learn each class, for --label.")

    def conditions(self) -> tuple[ConditionKind, ...]:
        """The class of each image, if asked for."""
        return ("labels",) if self.conditional else ()


@dataclass(frozen=True)
class TextConditional(Config):
    """Options of a model of p(x | caption), where it is asked to be one."""

    text: bool = option(False, "Learn what captions say, for --prompt.")

    def conditions(self) -> tuple[ConditionKind, ...]:
        """The caption of each image, if asked for, beside what other bases add."""
        return (*super().conditions(), "text") if self.text else super().conditions()


@dataclass(frozen=True)
class Field:
    """One option of a config, ready for a command line or a page of documentation."""

    name: str
    type: Any
    default: Any
    help: str
    min: float | None
    max: float | None
    words: Mapping[str, int]

    @property
    def flag(self) -> str:
        """The option's long flag, such as `--latent-dim`."""
        return "--" + self.name.replace("_", "-")


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
            f.metadata.get("words", {}),
        )
        for f in dataclasses.fields(config)
    ]


def parse_groups(
    groups: Sequence[type[Options]], values: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Values by the set of options that each belongs to, converted and checked.

    Raises:
        UsageError: If no set has an option of that name, or a value does not fit.
    """
    fields = [{f.name: f for f in fields_of(group)} for group in groups]
    for name in values:
        if not any(name in known for known in fields):
            raise UsageError(f"There is no option {name}.", "`--help` shows the options there are.")
    return [
        {name: parse_value(known[name], value) for name, value in values.items() if name in known}
        for known in fields
    ]


def parse_value(field: Field, value: Any) -> Any:
    """Convert a value from TOML, the environment or a flag, and check its bounds.

    Tuples are written as lists in TOML and as comma-separated text elsewhere.

    Raises:
        UsageError: If the value does not fit.
    """
    if value is None and type(None) in typing.get_args(field.type):
        return None
    if isinstance(value, str) and value in field.words:
        return field.words[value]
    try:
        parsed = _convert(field.type, value)
    except (TypeError, ValueError):
        raise UsageError(
            f"{field.flag} cannot be {value!r}.", f"It takes {takes(field)}."
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


def takes(field: Field) -> str:
    """What an option takes, in words: its type, and words that stand for numbers."""
    return " or ".join([describe_type(field.type), *field.words])


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
