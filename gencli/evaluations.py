"""The evaluations of a run: every one stays, in <run>/evaluations/, as a JSON file. No torch here.

A name is never used twice, so that two processes may evaluate one run at once.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gencli import __version__, guarded
from gencli.atomic import write_json
from gencli.errors import RunError
from gencli.evaluation.results import JUDGED, OUTLIERS
from gencli.runs import Run, now

if TYPE_CHECKING:
    from gencli.data.splits import ImageData
    from gencli.evaluation.results import Metric
    from gencli.loaded import LoadedModel

FORMAT = 1

MAIN = ("nll", "nll_estimate", "nll_bound", "fd_judge", "fid", "reconstruction")
"""Which figure stands for a run in a list, the first that there is."""

_FIELDS: dict[str, guarded.Kinds] = {
    **dict.fromkeys(("data", "metrics", "settings"), dict),
    "created": (int, float),
}


def document(
    model: LoadedModel, images: ImageData, split: str, results: Mapping[str, Metric]
) -> dict[str, Any]:
    """What `evaluate --json` prints.

    Args:
        model: That was measured.
        images: On which.
        split: `test` or `val`.
        results: The figures.
    """
    from gencli.evaluation.guard import conditions
    from gencli.evaluation.judge import judged_by

    judge = judged_by(images, results)
    return {
        "run": str(model.run.path),
        "model": model.run.model,
        "data": {
            "name": images.name,
            "split": split,
            "binarization": images.info.binarization,
            "n": len(getattr(images, split)),
        },
        "weights": model.weights,
        "judge": judge,
        "samples": conditions(images, split, model.weights, results, judge),
        "metrics": {key: metric.to_json() for key, metric in results.items()},
    }


def save(run: Run, document: Mapping[str, Any], settings: Mapping[str, Any]) -> Path:
    """Keep an evaluation with its run.

    Args:
        run: That was evaluated.
        document: What `evaluate --json` prints, and the checkpoint's step.
        settings: What was asked for.

    Returns:
        The file.

    Raises:
        GencliError: If the folder is a link, which leads out of the run, or cannot be written.
    """
    folder = run.folder("evaluations")
    moment = now()
    name = f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime(moment))}-{secrets.token_hex(4)}.json"
    record = {"format": FORMAT, "gencli": __version__, "created": moment}
    write_json(folder / name, {**record, **document, "settings": dict(settings)})
    return folder / name


def of(run: Run) -> list[dict[str, Any]]:
    """The evaluations of a run, oldest first; files that cannot be read are left out."""
    found = []
    for path in guarded.entries(run.path / "evaluations"):
        with suppress(RunError, AttributeError, KeyError, TypeError, ValueError):
            record = guarded.read_json(path, "Remove it.")
            guarded.check_fields(record, _FIELDS, path, "Remove it.")
            values = [metric["value"] for metric in record["metrics"].values()]
            numbers = all(type(value) in (int, float) for value in values)
            if record["format"] == FORMAT and values and numbers and 0 <= record["created"] < 1e11:
                found.append((float(record["created"]), path.name, record))
    return [record for *_, record in sorted(found, key=lambda row: row[:2])]


def main_figure(run: Run) -> tuple[str, float] | None:
    """Name and value of the figure that stands for a run: of the newest evaluation that has it.

    Those on the run's own data count, those on the test split before those on the validation split.
    """
    own = str(run.record["data"]["name"])
    there = [e for e in reversed(of(run)) if e["data"].get("name") == own]
    for split in ("test", "val"):
        for key in MAIN:
            for evaluation in there:
                if evaluation["data"].get("split") == split and key in evaluation["metrics"]:
                    value = float(evaluation["metrics"][key]["value"])
                    return with_judge(key, evaluation), value
    return None


def with_judge(key: str, evaluation: Mapping[str, Any]) -> str:
    """A metric's name; a judge's figures name the judge, so that no two of them look alike.

    `fd_judge@e40581` for the judge whose hash begins so, `fd_judge@?` where it was not noted. So
    `auroc_likelihood@noise` names the images that the split's were told from.
    """
    if key in OUTLIERS:
        others = evaluation.get("outliers")
        return f"{key}@{others.get('name') if isinstance(others, Mapping) else '?'}"
    if key not in JUDGED:
        return key
    judge = evaluation.get("judge")
    noted = judge.get("hash") if isinstance(judge, Mapping) else None
    return f"{key}@{str(noted)[:6] if noted else '?'}"
