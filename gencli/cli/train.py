"""`gencli train MODEL`: one sub-command per model, with that model's typed options."""

from __future__ import annotations

import dataclasses
import os
from typing import Annotated, Any

import typer

from gencli import registry
from gencli.cli import console, help_style, origins, shell_completion
from gencli.cli.parameters import merge, parameter, read_toml, with_parameters
from gencli.config import Options, fields_of
from gencli.data import catalogue
from gencli.data.options import DataOptions
from gencli.errors import UsageError
from gencli.place import place_in
from gencli.registry import ModelSpec
from gencli.training.settings import GROUPS, Settings


class ModelGroup(help_style.WholeGroup):
    """The models of the registry as commands, each built when it is asked for."""

    def list_commands(self, ctx: typer.Context) -> list[str]:  # type: ignore[override]
        """The models' names, in the table's order."""
        return list(registry.models())

    def get_command(self, ctx: typer.Context, cmd_name: str) -> Any:  # type: ignore[override]
        """The command of one model; a slip of the keyboard gets a suggestion."""
        return command(registry.find(cmd_name))


def command(spec: ModelSpec) -> Any:
    """The Typer command that trains one model."""
    config = spec.options()
    panel = f"Options of {spec.name}"

    def train(
        ctx: typer.Context,
        resume: Annotated[
            str | None,
            typer.Option(
                help="Continue this run from its last checkpoint.",
                metavar="RUN",
                autocompletion=shell_completion.runs,
                rich_help_panel="Run",
            ),
        ] = None,
        init_from: Annotated[
            str | None,
            typer.Option(
                help="Begin with this run's weights, where they fit.",
                metavar="RUN",
                autocompletion=shell_completion.runs,
                rich_help_panel="Run",
            ),
        ] = None,
        name: Annotated[
            str | None, typer.Option(help="Name of the run.", rich_help_panel="Run")
        ] = None,
        config: Annotated[
            str | None,
            typer.Option(
                help="A TOML file of options, or a recipe's name.",
                metavar="FILE|RECIPE",
                autocompletion=shell_completion.recipes,
                rich_help_panel="Run",
            ),
        ] = None,
        preview: Annotated[
            bool,
            typer.Option("--preview", help="Show previews in the terminal.", rich_help_panel="Run"),
        ] = False,
        json: Annotated[
            bool, typer.Option("--json", help="Print a JSON document.", rich_help_panel="Run")
        ] = False,
        quiet: Annotated[
            bool,
            typer.Option(
                "-q", "--quiet", help="Nothing on stderr but errors.", rich_help_panel="Run"
            ),
        ] = False,
        **given: Any,
    ) -> None:
        console.set_quiet(quiet or console.is_quiet())
        _train(ctx, spec, resume, init_from, name, config, preview, json, given)

    common = [
        dataclasses.replace(field, default=getattr(config.training, field.name, field.default))
        for field in fields_of(Settings)
    ]
    about_data = [
        dataclasses.replace(field, default=config.training.binarize)
        if field.name == "binarize"
        else field
        for field in fields_of(DataOptions)
    ]
    parameters = [parameter(field, panel) for field in fields_of(config)]
    parameters += [parameter(field, "Data") for field in about_data]
    parameters += [parameter(field, GROUPS.get(field.name, "Training")) for field in common]
    app = typer.Typer(add_completion=False, rich_markup_mode=help_style.markup_mode())
    app.command(spec.name, cls=help_style.GroupedCommand, help=f"{spec.summary} ({spec.paper}).")(
        with_parameters(train, parameters)
    )
    return typer.main.get_command(app)


def _train(
    ctx: typer.Context,
    spec: ModelSpec,
    resume: str | None,
    init_from: str | None,
    name: str | None,
    config: str | None,
    preview: bool,
    json: bool,
    given: dict[str, Any],
) -> None:
    groups: tuple[type[Options], ...] = (spec.options(), DataOptions, Settings)
    source, text, toml = read_toml(config) if config else ("", "", {})
    if toml.pop("model", spec.name) != spec.name:
        raise UsageError(
            f"{source} is for another model.", f"See `gencli train {spec.name} --help`."
        )
    fields = [fields_of(group) for group in groups]
    values = merge([field for group in fields for field in group], toml, source, given)
    own, about_data, settings = (
        {f.name: values[f.name] for f in group if f.name in values} for group in fields
    )
    origin = origins.sources(ctx, [field.name for group in fields for field in group], toml)
    settings = origins.lengths(settings, origin)
    told = origins.recorded(origin, config or "", text, os.environ)

    if preview and settings.get("sample_every") == 0:
        raise UsageError("--sample-every 0 draws no previews.", "Leave out one of the two.")
    if resume is None:  # loading torch takes a second or more
        catalogue.see_that_it_is_there(DataOptions(**about_data).data)
    console.begin("loading PyTorch")
    if preview:
        console.the_display().show_previews()
    from gencli.training import session

    reporter = console.the_display()
    with console.counting() as progress:
        if resume is None:
            run, trainer, state = session.start(
                spec.name, own, DataOptions(**about_data), settings,
                name=name, reporter=reporter, progress=progress, origins=told,
                init_from=init_from,
            )  # fmt: skip
        else:
            if name is not None:
                raise UsageError("A resumed run keeps its name.", "Leave out --name.")
            if init_from is not None:
                raise UsageError("A resumed run has begun already.", "Leave out --init-from.")
            run, trainer, state = session.resume(
                spec.name,
                resume,
                own | about_data | settings,
                reporter=reporter,
                progress=progress,
                origins=told,
            )
    if place_in(os.environ).rank:
        return  # the first process says it
    if not json:
        console.emit(str(run.path))
        return
    console.emit_json(
        {
            "run": str(run.path),
            "name": run.name,
            "model": spec.name,
            "data": run.record["data"]["name"],
            "steps": state.step,
            "epochs": state.epoch,
            "images_per_second": round(state.images / state.seconds, 1) if state.seconds else None,
            "seconds": round(state.seconds, 3),
            "metrics": trainer.last_metrics,
        }
    )
