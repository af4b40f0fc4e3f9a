"""A run on one screen, for `gencli info RUN`."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from gencli.evaluations import with_judge
from gencli.wording import counted, readable, readable_bytes, spoken

MOST_EVALUATIONS = 4

HEAD = 13
"""Columns before the text of a line."""


def lines(document: Mapping[str, Any]) -> Iterator[str]:
    """What `overview.describe` found, in words.

    Args:
        document: Of one run.
    """
    for head, text in _rows(document):
        yield f"{head:{HEAD}}{text}"


def _rows(document: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    data = Path(document["data"]["name"]).name
    yield "run", f"{document['name']}: {document['model']} on {data}, {document['status']}"
    yield "directory", f"{document['path']} ({readable_bytes(document['bytes'])})"
    yield "created", _moment(document["created"])
    progress = document["progress"]
    if progress["step"] is not None:
        yield (
            "trained",
            f"{counted(progress['step'], 'step')}, {round(progress['epoch'], 2):g} epochs, "
            f"{spoken(progress['seconds'])} of steps",
        )
    if document["parameters"] is not None:
        yield "parameters", readable(document["parameters"])
    if document["losses"]:
        yield "last losses", _figures(document["losses"])
    if progress.get("best_value") is not None:
        yield (
            "best",
            f"val_loss {progress['best_value']:.5g} at step {document['best_checkpoint']:,}",
        )
    yield "checkpoints", ", ".join(map(str, document["checkpoints"])) or "none yet"
    yield from _evaluations(document["evaluations"])
    differing = document["differing"]
    yield "options", " ".join(flag(*item) for item in differing.items()) or "the defaults"
    yield "made with", _made_with(document)
    yield "command", str(document.get("command", "-"))


def _evaluations(found: list[dict[str, Any]]) -> Iterator[tuple[str, str]]:
    if not found:
        yield "evaluations", "none yet"
    elif len(found) > MOST_EVALUATIONS:
        yield "evaluations", f"{len(found)}, of which the newest:"
    for number, evaluation in enumerate(found[-MOST_EVALUATIONS:]):
        head = "evaluations" if number == 0 and len(found) <= MOST_EVALUATIONS else ""
        data = evaluation.get("data", {})
        weights = "averaged" if evaluation.get("weights") == "ema" else "last"
        values = {
            with_judge(key, evaluation): metric["value"]
            for key, metric in evaluation["metrics"].items()
        }
        yield (
            head,
            f"{_moment(evaluation['created'])}, {data.get('name')} {data.get('split')}, "
            f"step {evaluation.get('step')}, {weights} weights: {_figures(values)}",
        )


def _figures(values: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:.5g}" for name, value in values.items())


def _moment(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))


def flag(name: str, value: Any) -> str:
    """An option as it is typed, such as `--lr 0.01`, `--no-direct`."""
    typed = f"--{name.replace('_', '-')}"
    if isinstance(value, bool):
        return typed if value else f"--no-{typed[2:]}"
    if isinstance(value, list | tuple):
        value = ",".join(map(str, value))
    return f"{typed} {value}"


def _made_with(document: Mapping[str, Any]) -> str:
    versions = [f"{name} {version}" for name, version in document.get("versions", {}).items()]
    threads = document.get("threads")
    where = [str(document.get("device", "-")), str(document.get("precision", "-"))]
    if threads and where[0] == "cpu":
        where.append(counted(threads, "thread"))
    return ", ".join([*versions, *where])
