"""What is said of a failure, whoever raised it: every one becomes two lines and an exit code."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from typing import Any

import typer

from gencli.cli.conditions import kind_of
from gencli.errors import GencliError, UsageError
from gencli.kinds import CONDITIONS
from gencli.memory import ran_out, wanted

MEMORY = "Use a smaller --batch-size, a smaller model or fewer images at once, or free memory."
_LONGEST = 300
_TOLD = ("sample", "reconstruct", "interpolate")
"""Verbs by which a run is told classes, captions or source images, if it takes them."""


def described(failure: BaseException, arguments: Sequence[str] = ()) -> GencliError:
    """The failure as one of ours: one line of what is wrong and one of what to do.

    Args:
        failure: Of this package, of Typer, of the operating system or of any library.
        arguments: Of the command, without the program's name.
    """
    if isinstance(failure, GencliError):
        return failure
    if isinstance(failure, typer.TyperException):
        return _of_usage(failure, arguments)
    if any(isinstance(e, KeyboardInterrupt | typer.Abort) for e in _chain(failure)):
        return stopped()  # an import that was interrupted is told of as an ImportError
    reason = " ".join(str(failure).split())
    if ran_out(failure):
        return GencliError(f"There is not enough memory{wanted(failure)}.", MEMORY)
    if isinstance(failure, OSError) and failure.strerror:
        names = [os.fsdecode(n) for n in (failure.filename, failure.filename2) if n is not None]
        where = " -> ".join(names) or "standard output or another stream"
        return GencliError(
            f"{failure.strerror}: {where}.", "Check the path, its permissions and the free space."
        )
    if len(reason) > _LONGEST:
        reason = reason[:_LONGEST] + "..."
    return GencliError(
        f"This was not foreseen: {type(failure).__name__}{': ' if reason else ''}{reason}",
        "See more with GENCLI_DEBUG=1, and report it.",
    )


def stopped() -> GencliError:
    """Ctrl-C outside a training."""
    failure = GencliError("Stopped.", "Run the command again to start over.")
    failure.exit_code = 130
    return failure


def _chain(failure: BaseException | None) -> Iterator[BaseException]:
    while failure is not None:
        yield failure
        failure = failure.__cause__ or failure.__context__


def _of_usage(failure: Any, arguments: Sequence[str]) -> UsageError:
    """Typer's own failures, in words that name neither Python's types nor its libraries."""
    context = getattr(failure, "ctx", None)
    help_ = f"{context.command_path if context else _command(arguments)} --help"
    parameter = getattr(failure, "param", None)
    message = " ".join(failure.format_message().split()).rstrip(".")
    kind = type(failure).__name__
    if kind == "MissingParameter" and parameter is not None:
        choices = failure.format_message().partition("Choose from:")[2]
        names = ", ".join(choice.strip() for choice in choices.split(","))
        wanted = f"It is one of {names}" if names else "Give it"
        return UsageError(f"{_name(parameter)} is missing.", f"{wanted}; see {help_}")
    if kind == "BadParameter" and parameter is not None:
        return _of_value(failure, _name(parameter), help_)
    if kind == "NoSuchOption":
        verb = context.command.name if context else None
        told = kind_of(failure.option_name, walk=verb == "interpolate") if verb in _TOLD else None
        if told is not None:
            return UsageError(
                f"This run is not told {CONDITIONS[told]}: {failure.option_name} is not for it.",
                "`gencli train MODEL --help` shows what a model can be told.",
            )
        near = [name for name in failure.possibilities or () if name != "--help"]
        if context and any(parameter.name == "run" for parameter in context.command.params):
            help_ = help_.replace("--help", "RUN --help")  # with that run's own options
        wanted = f"Did you mean {' or '.join(sorted(near))}? See" if near else "See"
        return UsageError(f"There is no option {failure.option_name}.", f"{wanted} {help_}")
    if match := re.fullmatch(r"Option '(.+)' requires an argument", message):
        return UsageError(f"{match[1]} needs a value.", f"Give one after it; see {help_}")
    if match := re.fullmatch(r"Option '(.+)' does not take a value", message):
        return UsageError(f"{match[1]} takes no value.", f"Give it alone; see {help_}")
    if match := re.fullmatch(r"Got unexpected extra arguments?\(?s?\)? \((.+)\)", message):
        return UsageError(f"{match[1]}: one argument too many.", f"Leave it out; see {help_}")
    if match := re.fullmatch(r"No such command '(.+?)'\.?(.*)", message):
        near = re.findall(r"'(.+?)'", match[2])
        wanted = f"Did you mean {' or '.join(near)}? See" if near else "See"
        return UsageError(f"There is no command {match[1]}.", f"{wanted} {help_}")
    return UsageError(f"{message}.", f"See {help_}")


def _of_value(failure: Any, name: str, help_: str) -> UsageError:
    """An option's value that does not fit; pydantic, which looked at it, is the cause."""
    try:
        found = failure.__cause__.errors()[0]
    except (AttributeError, IndexError, TypeError):
        return UsageError(f"{name}: {' '.join(failure.message.split())}", f"See {help_}")
    bounds = found.get("ctx") or {}
    given, kind = found.get("input"), str(found.get("type"))
    choices = re.search(r"is not one of (.+?)\.?$", failure.message)
    if choices:
        names = re.findall(r"'(.+?)'", choices[1])
        from gencli.registry import nearest

        near = nearest(str(given), names)
        wanted = f"Did you mean {near}? " if near else ""
        return UsageError(
            f"{name} cannot be {given!r}.", f"{wanted}It is one of {', '.join(names)}."
        )
    if kind == "greater_than_equal":
        wanted = f"at least {bounds['ge']:g}"
    elif kind == "less_than_equal":
        wanted = f"at most {bounds['le']:g}"
    elif kind.startswith("int"):
        wanted = "a whole number"
    elif kind.startswith("float"):
        wanted = "a number"
    else:
        return UsageError(f"{name} cannot be {given!r}.", f"See {help_}")
    shown = repr(given) if isinstance(given, str) else f"{given}"
    return UsageError(f"{name} cannot be {shown}.", f"It takes {wanted}; see {help_}")


def _name(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return str(parameter.metavar or parameter.name.strip("_").upper())
    return str(max(parameter.opts, key=len))


def _command(arguments: Sequence[str]) -> str:
    """The command that the arguments are of: `gencli train vae` for `train vae --epochs`."""
    words: list[str] = []
    for word in arguments[:2]:
        if word.startswith("-") or (words and words != ["train"]):
            break
        words.append(word)
    return " ".join(["gencli", *words])
