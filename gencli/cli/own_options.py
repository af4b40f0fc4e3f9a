"""`gencli sample RUN` and its like, with the options that this run's own model has.

The commands of RUN are built when they are asked for: the run says which model and with which
config, and that says which options of sampling, decoding and measuring it has, and what it can be
told. Nothing of this imports torch.
"""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import typer

from gencli import registry, runs
from gencli.cli import help_style
from gencli.cli.parameters import parameter, with_parameters
from gencli.config import Config, Options, fields_of
from gencli.errors import GencliError
from gencli.kinds import ConditionKind
from gencli.place import place_in
from gencli.runs import Run

Kinds = Callable[[Config], Sequence[type[Options]]]
"""A run's config -> the options that a command offers for it."""

Told = Callable[[Sequence[ConditionKind], str], list[inspect.Parameter]]
"""Kinds of conditions and a panel of the help -> the options for them."""


def sampling(config: Config) -> Sequence[type[Options]]:
    """What `sample` offers."""
    return (config.sampling(),)


def decoding(config: Config) -> Sequence[type[Options]]:
    """What `interpolate` offers."""
    return (type(config).Decoding,)


def sampling_and_measuring(config: Config) -> Sequence[type[Options]]:
    """What `evaluate` offers."""
    return (config.sampling(), type(config).Measuring)


def config_of(run: Run) -> Config:
    """The options of the model that a run trained.

    Raises:
        RunError: If the run records none that fit.
    """
    return registry.find(run.model).options().parsed(run.record["config"])


def command(
    name: str,
    function: Callable[..., None],
    kinds: Kinds,
    told: Told | None,
    arguments: Sequence[str],
) -> Any:
    """The Typer command of one verb, with the own options of the run among its arguments.

    Args:
        name: Of the verb.
        function: What it does; it takes its own options as `**own`.
        kinds: Which options it offers.
        told: By which options it takes conditions (`--label`, `--prompt`, ...).
        arguments: What follows the verb on the command line.
    """
    extra: list[inspect.Parameter] = []
    settings: dict[str, Any] = {}
    more = None
    try:
        run = _run_among(arguments)
        if run is not None:
            config, panel = config_of(run), f"Options of {run.model}"
            for options in kinds(config):
                extra += [parameter(f, panel, envvar=False) for f in fields_of(options)]
            if told:
                extra += told(config.conditions(), panel)
        else:
            more = _MORE
    except GencliError as error:
        # The command will say what is wrong with the run; options it cannot know are let through.
        settings = {"ignore_unknown_options": True, "allow_extra_args": True}
        function = _with_a_run(function, error)
    app = typer.Typer(add_completion=False, rich_markup_mode=help_style.markup_mode())
    style = help_style.GroupedCommand
    app.command(name, cls=style, epilog=more, context_settings=settings)(
        with_parameters(function, extra)
    )
    return typer.main.get_command(app)


_MORE = "The options of a run's own model: add RUN before --help."


def _with_a_run(function: Callable[..., None], error: GencliError) -> Callable[..., None]:
    """The same, unless an option that was let through was taken for RUN: then the error is due.

    A run that is not there is told at once, without a second or more for loading torch.
    """

    @functools.wraps(function)
    def checked(run: str, **others: Any) -> None:
        if run.startswith("-"):
            raise error
        if place_in(os.environ).world == 1:  # else the first process alone may see it
            runs.find(run)
        function(run=run, **others)

    return checked


def _run_among(arguments: Sequence[str]) -> Run | None:
    """The run that is meant by one of the arguments; None where there is none that could be one.

    Raises:
        RunError: Of the likeliest argument, if none of them is a run.
    """
    likely, errors = list(_positional(arguments)), list[GencliError]()
    for reference in likely:
        try:
            return runs.find(reference)
        except GencliError as error:
            errors.append(error)
    if errors:
        raise errors[0]
    return None


def _positional(arguments: Sequence[str]) -> Iterator[str]:
    """Arguments that may be RUN: first those that cannot be an option's value."""
    after = ["", *arguments]
    pairs = [(a, before) for before, a in zip(after, arguments, strict=False) if a[:1] != "-"]
    yield from (a for a, before in pairs if not before.startswith("-"))
    yield from (a for a, before in pairs if before.startswith("-"))


def given(own: Mapping[str, Any], options: type[Options]) -> dict[str, Any]:
    """Those of a command's own options that were given and belong to one set."""
    names = {f.name for f in fields_of(options)}
    return {name: value for name, value in own.items() if name in names and value is not None}
