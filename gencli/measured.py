"""A run measured as an evaluation's settings say, and the result kept with it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from gencli import evaluations, loading
from gencli.config import fields_of
from gencli.data.load import load
from gencli.evaluation.evaluate import evaluate
from gencli.evaluation.results import Metric
from gencli.kinds import Progress
from gencli.runs import Run
from gencli.training import session


def measure(
    run: Run,
    settings: Mapping[str, Any],
    *,
    checkpoint: str,
    split: Literal["test", "val"] = "test",
    raw: bool = False,
    progress: Progress | None = None,
) -> dict[str, Metric]:
    """Measure a run on its own data as an evaluation's settings say; the result is kept with it.

    Args:
        run: That is measured.
        settings: `metrics`, `n`, `k`, `samples`, `seed`, `batch_size`, and the model's own options.
        checkpoint: `last`, `best` or a step's number.
        split: `test` or `val`.
        raw: The last weights, not their moving average.
        progress: Told how far it is.

    Raises:
        GencliError: As `gencli evaluate` fails.
    """
    model = loading.load(
        str(run.path), checkpoint=checkpoint, ema=not raw, device=str(run.record["device"])
    )
    data = load(session.recorded(run)[1], progress)
    config = model.model.config
    sampling, measuring = (
        {f.name: settings[f.name] for f in fields_of(options) if f.name in settings}
        for options in (config.sampling(), type(config).Measuring)
    )
    results = evaluate(
        model.model, data, split=split, n=settings.get("n"), k=settings.get("k", 500),
        n_samples=settings.get("samples", 10_000), metrics=settings.get("metrics"),
        seed=settings.get("seed", 0), batch_size=settings.get("batch_size"), own=measuring,
        sampling=sampling, progress=progress,
    )  # fmt: skip
    document = evaluations.document(model, data, split, results)
    about = {"fingerprint": data.fingerprint, "step": model.step}
    evaluations.save(run, {**document, **about}, settings)
    return results
