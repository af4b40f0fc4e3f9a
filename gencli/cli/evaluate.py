"""`gencli evaluate RUN`: measure a model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from gencli import evaluations, registry
from gencli.cli import console, shell_completion
from gencli.cli.arguments import (
    BatchSize,
    Checkpoint,
    Device,
    Json,
    Quiet,
    Raw,
    RunArgument,
    Seed,
    be_quiet,
)
from gencli.cli.foretold import foretelling
from gencli.cli.neighbours import claimed, see_that_there_is_a_judge
from gencli.cli.neighbours import write as write_neighbours
from gencli.cli.opening import keep, open_run, same_data, together, which
from gencli.cli.outliers import against
from gencli.cli.own_options import given
from gencli.config import fields_of
from gencli.data import catalogue
from gencli.errors import UsageError
from gencli.evaluation.results import KEYS

if TYPE_CHECKING:
    from gencli.evaluation.results import Metric


def evaluate(
    run: RunArgument,
    data: Annotated[
        str | None,
        typer.Option(
            help="Measure on this data set, not the run's own.",
            autocompletion=shell_completion.datasets,
        ),
    ] = None,
    split: Annotated[
        Literal["test", "val"], typer.Option(help="Select on val, report on test.")
    ] = "test",
    outliers: Annotated[
        str | None,
        typer.Option(
            help="Tell these images from the split's: a data set, folder, noise, shuffled, blank.",
            metavar="DATA",
            autocompletion=shell_completion.outliers,
        ),
    ] = None,
    metrics: Annotated[
        str | None,
        typer.Option(
            help="Only these, such as nll,fd_judge.",
            metavar="KEY,...",
            callback=_known,
            autocompletion=shell_completion.metrics,
        ),
    ] = None,
    neighbours: Annotated[
        str | None,
        typer.Option(
            help="Write the samples most like training images, and these beside them.",
            metavar="PATH",
        ),
    ] = None,
    n: Annotated[
        int | None, typer.Option("--n", "-n", help="Test images for the likelihood.", min=1)
    ] = None,
    k: Annotated[
        int,
        typer.Option(
            "--k", "-k", help="Importance samples per image in nll_estimate.", min=1, max=1_000_000
        ),
    ] = 500,
    samples: Annotated[int, typer.Option(help="Samples drawn for their quality.", min=2)] = 10_000,
    seed: Seed = 0,
    batch_size: BatchSize = None,
    checkpoint: Checkpoint = "last",
    raw: Raw = False,
    device: Device = "auto",
    json: Json = False,
    quiet: Quiet = False,
    **own: Any,
) -> None:
    """Measure a model; prints a table, or JSON.

    Every figure says whether it is exact, a bound or an estimate, and its standard error.
    """
    be_quiet(quiet)
    console.begin("loading PyTorch")
    import dataclasses

    from gencli.evaluation import guard
    from gencli.evaluation.absent import reasons
    from gencli.evaluation.evaluate import evaluate as measure
    from gencli.evaluation.results import OUTLIERS
    from gencli.training.session import recorded
    from gencli.training.shared import same_data as same_data_everywhere

    wanted = None if metrics is None else _keys(metrics)
    for key in wanted or ():
        if key in OUTLIERS and outliers is None:
            raise UsageError(f"{key} compares with other images.", "Name them with --outliers.")
    if outliers is not None and wanted is None:
        wanted = list(OUTLIERS)  # not all else, too, which takes its time
    with together({"--outliers": outliers, "--neighbours": neighbours}) as processes:
        sheet = claimed(neighbours)
        model = open_run(run, checkpoint=checkpoint, raw=raw, device=device, processes=processes)
        _, options = recorded(model.run)
        if data is not None and data != options.data:
            # One of the two may be binary as it comes; else it is made as the run's own were.
            fixed = {catalogue.fixed_binarization(name) for name in (data, options.data)} - {None}
            binarize = None if fixed else options.binarize
            options = dataclasses.replace(options, data=data, val=None, binarize=binarize)
        config = model.model.config
        drawing, measuring = given(own, config.sampling()), given(own, type(config).Measuring)
        with console.counting() as counted:
            progress = foretelling(counted)
            images = same_data_everywhere(options, processes, progress, purpose="evaluation")
            if images.info.shape != model.data.shape or images.info.binary != model.data.binary:
                raise UsageError(
                    f"{images.name} {images.info.shape} does not fit a model trained on "
                    f"{model.run.record['data']['name']} {model.data.shape}.",
                    "Evaluate on data of the same shape and binarisation.",
                )
            same_data(model, images)
            if sheet is not None:
                see_that_there_is_a_judge(images)
            results = measure(
                model.model, images, split=split, n=n, k=k, n_samples=samples, metrics=wanted,
                seed=seed, batch_size=batch_size, own=measuring, sampling=drawing,
                progress=progress, processes=processes,
            )  # fmt: skip
            about: dict[str, Any] = {}
            if outliers is not None:
                figures, others = against(
                    outliers, model, images, split, n=n, k=k, seed=seed, batch_size=batch_size,
                    own=measuring, progress=progress,
                )  # fmt: skip
                results |= figures
                about = {"outliers": others}
            if sheet is not None:
                write_neighbours(
                    sheet, model, images, samples=samples, seed=seed, batch_size=batch_size,
                    sampling=drawing, progress=progress,
                )  # fmt: skip
                console.message(f"neighbours in {sheet}")
        if processes.rank:
            return
        document = evaluations.document(model, images, split, results) | about
        asked: dict[str, Any] = {"seed": seed, "batch_size": batch_size, "metrics": wanted}
        asked |= {"outliers": outliers, "n": n, "k": k, "samples": samples, **drawing, **measuring}
        keep(model, {**document, "fingerprint": images.fingerprint}, asked)
        for doubt in dict.fromkeys(metric.doubt for metric in results.values() if metric.doubt):
            flags = " or ".join(f.flag for f in fields_of(type(config).Measuring))
            console.warning(f"{doubt}; give more {flags}" if flags else doubt)
        for few in guard.warnings(results):
            console.warning(few)
        why = reasons(model.model, images, len(getattr(images, split)), results, wanted, samples)
        absent = [f"not there: {', '.join(keys)}: {reason}" for reason, keys in why.items()]
        if json:
            console.emit_json(document)
            for line in absent:
                console.message(line)
        else:
            _table(which(model), document, results, [*guard.lines(document["samples"]), *absent])


def _table(of: str, document: dict[str, Any], results: dict[str, Metric], below: list[str]) -> None:
    """The figures, and below them what they were measured by and why others are not there."""
    from rich.table import Table

    data = document["data"]
    table = Table(
        title=f"{of}; on {data['name']} ({data['split']}, binarisation {data['binarization']})",
        title_justify="left",
    )
    for column, justify in (("metric", "left"), ("value", "right"), ("± s.e.", "right")):
        table.add_column(column, justify=justify)  # type: ignore[arg-type]
    for column in ("unit", "kind"):
        table.add_column(column)
    table.add_column("n", justify="right")
    for key, m in results.items():
        error = "" if m.standard_error is None else f"{m.standard_error:.3g}"
        table.add_row(key, f"{m.value:.4f}", error, m.unit, m.kind, str(m.n))
    if results:
        console.emit_table(table)
    else:
        console.emit(str(table.title))
    for line in below:
        console.emit(line)


def _keys(metrics: str) -> list[str]:
    return [key.strip() for key in metrics.split(",")]


def _known(metrics: str | None) -> str | None:
    """See that there are metrics of these names, before the run is looked for."""
    for key in [] if metrics is None else _keys(metrics):
        if not key:
            raise UsageError("--metrics has an empty name.", f"There are: {', '.join(KEYS)}.")
        if key not in KEYS:
            near = registry.nearest(key, KEYS)
            hint = f"Did you mean {near}? " if near else ""
            raise UsageError(
                f"There is no metric called {key}.", f"{hint}There are: {', '.join(KEYS)}."
            )
    return metrics
