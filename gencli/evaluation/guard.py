"""What a figure of samples hangs on, told with it, and how few images are too few. No torch here.

A Frechet distance is biased upwards, the more the fewer images there are. With fewer images than
features a covariance has not even full rank: then there is a reason in the figure's place. Below
the usual number of samples the figure stands, with a warning.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from gencli.evaluation.results import INCEPTION, JUDGED

if TYPE_CHECKING:
    from gencli.data.spec import DataInfo
    from gencli.data.splits import ImageData
    from gencli.evaluation.results import Metric

BIASED = {"fd_judge": 64, "fid": 2_048}
"""The Frechet distances, and how many features their extractors have."""

FEWEST = {**BIASED, "kid": 20}
"""Images of either kind that a figure takes: a Frechet distance as many as there are features, a
kernel distance two for each of its ten subsets."""

USUAL = 10_000
"""Samples that Frechet distances are usually of; by fewer there is a warning."""

OF_SAMPLES = INCEPTION | JUDGED - {
    "judge_accuracy",
    "vendi_real",
    "authenticity_real",
    "fld_gap_real",
}
"""Figures whose `n` counts samples."""


def too_few(key: str, n_samples: int, n_real: int) -> str | None:
    """Why there is no distance of so many images; None where there is one.

    Args:
        key: Of a metric, any.
        n_samples: Samples.
        n_real: Real images.
    """
    needed = FEWEST.get(key, 0)
    if min(n_samples, n_real) >= needed:
        return None
    why = ", as many as there are features" if key in BIASED else ""
    these = f"these are {n_samples:,} and {n_real:,}"
    return f"it takes {needed:,} samples and real images{why}; {these}"


def warnings(results: Mapping[str, Metric]) -> list[str]:
    """What a person must know of figures by few samples, a line for each."""
    return [
        f"{key} by {results[key].n:,} samples is higher than by the usual {USUAL:,}; compare it by "
        "equal numbers only"
        for key in BIASED
        if key in results and results[key].n < USUAL
    ]


def conditions(
    images: ImageData,
    split: str,
    weights: str,
    results: Mapping[str, Metric],
    judge: Mapping[str, Any] | None,
) -> dict[str, Any] | None:
    """What figures of samples were measured by; None where there are none.

    Args:
        images: The data set.
        split: That samples were compared with.
        weights: `ema` or `raw`.
        results: The figures.
        judge: As `judge.judged_by` gives it.
    """
    keys = [key for key in results if key in OF_SAMPLES]
    if not keys:
        return None
    extractors = []
    if judge is not None:
        extractors.append(
            {
                "name": f"the judge of {judge['name']}",
                "hash": judge["hash"],
                "metrics": [key for key in results if key in JUDGED],
                "sees": f"{size(images.info)}, not resized",
            }
        )
    if not INCEPTION.isdisjoint(results):
        extractors.append(_inception(images.info, results))
    return {
        "n": results[keys[0]].n,
        "real": len(getattr(images, split)),
        "split": split,
        "weights": weights,
        "extractors": extractors,
    }


def _inception(info: DataInfo, results: Mapping[str, Metric]) -> dict[str, Any]:
    from gencli.evaluation.inception import WEIGHTS

    repeated = ", repeated to three channels" if info.channels == 1 else ""
    return {
        "name": "Inception v3 of 2015-12-05 (torch-fidelity)",
        "hash": WEIGHTS.checksum[:16],
        "metrics": [key for key in results if key in INCEPTION],
        "sees": f"{size(info)}{repeated}, stretched to 299x299 (bilinear, as TensorFlow 1 does)",
    }


def size(info: DataInfo) -> str:
    """Such as `28x28 grey`."""
    colour = {1: " grey", 3: " colour"}.get(info.channels, f" of {info.channels} channels")
    return f"{info.height}x{info.width}{colour}"


def lines(conditions: Mapping[str, Any] | None) -> Iterator[str]:
    """The same for people: what was compared with what, then each extractor."""
    if conditions is None:
        return
    weights = "averaged" if conditions["weights"] == "ema" else "last"
    yield (
        f"samples: {conditions['n']:,} of the {weights} weights, beside {conditions['real']:,} "
        f"{conditions['split']} images"
    )
    for each in conditions["extractors"]:
        yield f"by {each['name']}, hash {each['hash']}, images {each['sees']}"


def beside(key: str, conditions: object) -> str:
    """What a person must know of one figure, "" where it is not of samples.

    Args:
        key: The metric.
        conditions: As `conditions` gave them, perhaps read from a file and not what they should be.
    """
    try:
        first, *others = lines(conditions)  # type: ignore[arg-type]
        extractors = conditions["extractors"]  # type: ignore[index]
        by = [line for line, e in zip(others, extractors, strict=True) if key in e["metrics"]]
    except (KeyError, TypeError, ValueError, AttributeError):
        return ""
    return "; ".join([first, *by]) if key in OF_SAMPLES else ""
