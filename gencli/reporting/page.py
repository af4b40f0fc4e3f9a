"""The page: everything known of one run or several, in one file that opens without a network."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from torch import Tensor

from gencli import __version__, comparison, curves, overview
from gencli.data.conditions import NOTHING, Condition
from gencli.data.load import load as load_images
from gencli.data.store import store_of
from gencli.errors import GencliError
from gencli.evaluation import guard
from gencli.evaluation.results import DESCRIPTIONS
from gencli.evaluations import with_judge
from gencli.kinds import Progress
from gencli.loaded import LoadedModel
from gencli.loading import load
from gencli.reporting.chart import line_chart
from gencli.reporting.pictures import Picture, pictures, previews
from gencli.runs import Run
from gencli.training.session import recorded
from gencli.wording import counted, readable, readable_bytes, spoken

_MOST = 100_000  # training images among which the nearest are looked for
_FEW = 64  # test images of which the model is told what is known


@dataclass(frozen=True)
class Section:
    """What the page says of one run.

    Attributes:
        name: The run's.
        facts: Name and value of what was trained, on what, how long, by what.
        charts: Loss curves: heading, names of the curves, picture.
        strip: Previews over the training.
        pictures: Of the trained model.
        figures: Rows (metric, value, error, unit and kind, on what, meaning).
        commands: What makes the run and its figures again.
        missing: What could not be shown, and why.
    """

    name: str
    facts: list[tuple[str, str]]
    charts: list[tuple[str, list[str], Markup]]
    strip: list[Picture]
    pictures: list[Picture]
    figures: list[dict[str, str]]
    commands: list[str]
    missing: list[str]


def report(runs: Sequence[Run], progress: Progress | None = None) -> str:
    """An HTML page about runs, side by side where the window is wide.

    What is missing or damaged is named in its place.

    Args:
        runs: One or more.
        progress: Told which run is looked at.
    """
    sections = []
    for number, run in enumerate(runs):
        if progress:
            progress("writing the report", number, len(runs))
        sections.append(section(run))
    tables: list[comparison.Table] = []
    if len(runs) > 1:
        with suppress(GencliError):  # nothing to compare: each run's figures are in its section
            tables = comparison.compare(runs)
    environment = Environment(
        loader=PackageLoader("gencli.reporting"), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    return environment.get_template("report.html").render(
        title=_title(runs), sections=sections, tables=tables,
        version=__version__, made=time.strftime("%Y-%m-%d %H:%M"),
    )  # fmt: skip


def _title(runs: Sequence[Run]) -> str:
    """The heading: names, or how many where they would fill a screen."""
    return ", ".join(run.name for run in runs) if len(runs) <= 4 else f"{len(runs)} runs"


def section(run: Run) -> Section:
    """All there is to show of a run; nothing of it is fatal but an unreadable run.json."""
    missing: list[str] = []
    model, train, test, known = _trained(run, missing)
    document = overview.describe(run)
    strip = previews(run)
    if not strip:
        missing.append("There are no previews: the training drew none.")
    shown = list(pictures(model, train, test, known)) if model else []
    missing += [f"{p.title}: {p.text}." for p in shown if not p.source]
    figures = _figures(document["evaluations"])
    if not figures:
        missing.append(f"Nothing was measured yet: gencli evaluate {run.name}")
    if document["status"] != "done":
        missing.append(f"The training is not finished: it is {document['status']}.")
    return Section(
        run.name, _facts(document), _charts(run), strip, [p for p in shown if p.source], figures,
        _commands(document), missing,
    )  # fmt: skip


def _trained(
    run: Run, missing: list[str]
) -> tuple[LoadedModel | None, Tensor | None, Tensor | None, Condition]:
    try:
        model = load(str(run.path))
    except GencliError as error:
        missing.append(f"The model cannot be shown: {error.problem}")
        return None, None, None, NOTHING
    try:
        data = load_images(recorded(run)[1])
    except GencliError as error:
        missing.append(f"The data cannot be had: {error.problem}")
        return model, None, None, NOTHING
    if data.fingerprint != run.record["data"]["fingerprint"]:
        missing.append("The data have changed since the training; none of them are shown.")
        return model, None, None, NOTHING
    few = data.test.rows(slice(_FEW))
    known = next(store_of(few, data.info, "cpu", model.model.conditions).in_order(_FEW)).condition
    return model, data.train.rows(slice(_MOST)).images, data.test.images, known


def _facts(document: dict[str, Any]) -> list[tuple[str, str]]:
    info, progress = document["data"].get("info", {}), document["progress"]
    shape = "x".join(str(info.get(key, "?")) for key in ("channels", "height", "width"))
    facts = [
        ("model", str(document["model"])),
        ("data", f"{document['data']['name']}, {shape}, binarisation {info.get('binarization')}"),
        ("state", str(document["status"])),
        ("made", time.strftime("%Y-%m-%d %H:%M", time.localtime(document["created"]))),
    ]
    if document["parameters"] is not None:
        facts.append(("parameters", readable(document["parameters"])))
    if progress["step"] is not None:
        trained = f"{counted(progress['step'], 'step')}, {progress['epoch']:g} epochs"
        facts.append(("trained", f"{trained}, {spoken(progress['seconds'])}"))
        if progress["seconds"] and document["images"]:
            speed = document["images"] / progress["seconds"]
            facts.append(("speed", f"{speed:,.0f} images per second"))
    if progress.get("best_value") is not None:
        best = f"validation loss {progress['best_value']:.5g}"
        facts.append(("best", f"{best} at step {document['best_checkpoint']:,}"))
    facts.append(("size", readable_bytes(document["bytes"])))
    versions = [f"{name} {version}" for name, version in document.get("versions", {}).items()]
    where = [str(document.get(key)) for key in ("device", "precision") if document.get(key)]
    facts.append(("by", ", ".join([*versions, *where])))
    differing = document["differing"]
    options = ", ".join(f"{name} {value}" for name, value in differing.items())
    facts.append(("options", options or "the defaults"))
    return facts


def _charts(run: Run) -> list[tuple[str, list[str], Markup]]:
    """The loss with its validation, then its parts together."""
    series = curves.curves(run)
    main = {name: series[name] for name in ("loss", "val_loss") if series.get(name)}
    rest = {name: points for name, points in series.items() if name not in main}
    groups = [("Loss", main), ("Parts of the loss" if main else "Losses", rest)]
    return [
        (title, list(group), line_chart(group, "step", title.lower()))
        for title, group in groups
        if group
    ]


def _figures(found: list[dict[str, Any]]) -> list[dict[str, str]]:
    rows: dict[tuple[str, str, str], dict[str, str]] = {}
    for evaluation in found:  # the newest of each stays
        on = evaluation["data"]
        for key, metric in evaluation["metrics"].items():
            error = metric.get("standard_error")
            name = with_judge(key, evaluation)
            rows[name, str(on.get("name")), str(on.get("split"))] = {
                "metric": name,
                "value": f"{metric['value']:.5g}",
                "error": f"± {error:.2g}" if isinstance(error, int | float) else "",
                "unit": str(metric.get("unit")),
                "kind": str(metric.get("kind")),
                "on": f"{on.get('name')}, {on.get('split')}, n = {metric.get('n')}",
                "meaning": DESCRIPTIONS.get(key, ""),
                "by": guard.beside(key, evaluation.get("samples")),
            }
    return list(rows.values())


def _commands(document: dict[str, Any]) -> list[str]:
    commands = [str(document["command"])] if document.get("command") else []
    measured = {key for e in document["evaluations"] for key in e["metrics"]}
    if measured:
        keys = ",".join(key for key in DESCRIPTIONS if key in measured)
        commands.append(f"gencli evaluate {document['name']} --metrics {keys}")
    return commands
