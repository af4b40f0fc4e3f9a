"""What the commands do, for notebooks and scripts: `gencli.train`, `evaluate` and so on."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from gencli import registry, runs
from gencli.config import Options, fields_of, parse_groups
from gencli.data.options import DataOptions
from gencli.errors import UsageError
from gencli.home import user_path
from gencli.runs import Run
from gencli.training.settings import Settings

if TYPE_CHECKING:
    from gencli.comparison import Table
    from gencli.evaluation.results import Metric
    from gencli.loaded import LoadedModel


def train(
    model: str, *, name: str | None = None, init_from: str | None = None, **options: Any
) -> LoadedModel:
    """Train a model and give it, ready to sample.

        gencli.train("vae", data="mnist", epochs=5, latent_dim=2)

    Args:
        model: Its name, as in `gencli list models`.
        name: Of the run; None makes one up.
        init_from: A run whose weights it begins with, where they fit.
        **options: Those of `gencli train MODEL`, with underscores: the model's own, the data's and
            the training's.

    Raises:
        UsageError: If there is no such model or option, or a value does not fit.
        GencliError: As the command fails.
    """
    from gencli.loading import load
    from gencli.training import session
    from gencli.training.reporter import Silent

    spec = registry.find(model)
    groups: tuple[type[Options], ...] = (spec.options(), DataOptions, Settings)
    own, about_data, settings = parse_groups(groups, options)
    run, _, _ = session.start(
        spec.name,
        own,
        DataOptions(**about_data),
        settings,
        name=name,
        reporter=Silent(),
        init_from=init_from,
    )
    return load(str(run.path), device=settings.get("device", "auto"))


def evaluate(
    run: str,
    *,
    checkpoint: str = "last",
    split: Literal["test", "val"] = "test",
    metrics: Collection[str] | None = None,
    **options: Any,
) -> dict[str, Metric]:
    """Measure a run's model on its data, and keep the figures with the run, for `compare`.

        gencli.evaluate("vae", metrics=["nll_bound"])

    Args:
        run: A run's directory or name, or a model's name for its newest run.
        checkpoint: `last`, `best` (on validation), or a step's number.
        split: Report on `test`, select on `val`.
        metrics: Only these; None means all that the model can have.
        **options: Those of `gencli evaluate RUN`, with underscores: `n`, `k`, `samples`, `seed`,
            `batch_size`, and the model's own.

    Returns:
        The figures by name, each with its unit, kind and standard error.

    Raises:
        UsageError: If there is no such option.
        GencliError: As the command fails.
    """
    from gencli import measured

    found = runs.find(run)
    config = registry.find(found.model).options()
    own = [f.name for group in (config.Sampling, config.Measuring) for f in fields_of(group)]
    for name in options:
        if name not in (known := ["n", "k", "samples", "seed", "batch_size", *own]):
            raise UsageError(f"There is no option {name}.", f"There are: {', '.join(known)}.")
    named = [metrics] if isinstance(metrics, str) else metrics
    settings = {**options, "metrics": None if named is None else list(named)}
    return measured.measure(found, settings, checkpoint=checkpoint, split=split)


def compare(*references: str, data: str | None = None) -> list[Table]:
    """Figures of runs side by side, as their evaluations left them.

        (table,) = gencli.compare("two", "sixteen")
        print(table)

    Args:
        *references: Runs' directories or names, or models' names; none means all runs.
        data: Only figures on this data set.

    Returns:
        A table for each data set, split and binarisation that the runs were measured on.

    Raises:
        GencliError: If there is no such run, or nothing to compare.
    """
    from gencli import comparison

    chosen = [runs.find(reference) for reference in references] or runs.all_runs()
    return comparison.compare(chosen, data)


def report(*references: str, out: str) -> Path:
    """Write a page about runs that opens without a network.

        gencli.report("two", "sixteen", out="report.html")

    Args:
        *references: Runs' directories or names, or models' names.
        out: Where to; what is there is replaced.

    Returns:
        The path of the page.

    Raises:
        GencliError: If there is no such run, or the page cannot be written.
    """
    from gencli.atomic import whole_file
    from gencli.reporting.page import report as page

    where = user_path(out)
    html = page([runs.find(reference) for reference in references])
    with whole_file(where) as file:
        file.write(html.encode("utf-8", "replace"))
    return where


def list_runs() -> list[Run]:
    """The runs there are, newest first."""
    return runs.all_runs()
