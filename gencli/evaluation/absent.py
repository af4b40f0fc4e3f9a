"""Why a figure is not there: a model or its data cannot have it."""

from __future__ import annotations

from collections.abc import Collection

from gencli.data.splits import ImageData
from gencli.evaluation import agreement, fld, guard, inception, quality, translation
from gencli.evaluation.judge import task_of
from gencli.evaluation.representations import CLUSTERING, PROBES
from gencli.evaluation.results import ASKED_FOR, COPYING, FLD, INCEPTION, KEYS
from gencli.models.abilities import abilities_of
from gencli.models.interface import GenerativeModel

LIKELIHOODS = frozenset({"nll", "nll_bound", "nll_estimate"})


def fewest(data: ImageData) -> int:
    """Test images that the measures of samples need."""
    return quality.FEWEST if task_of(data) == "classes" else quality.FEWEST_UNLABELLED


def no_judge_for(data: ImageData, n_images: int) -> str | None:
    """Why the quality of samples cannot be told by so many images; None where it can."""
    if task_of(data) == "rotations" and data.info.height != data.info.width:
        return "the images have no classes and are no squares"
    n, needed = min(n_images, len(data.test)), fewest(data)
    return f"{n:,} test images are too few, it takes {needed:,}" if n < needed else None


def reasons(
    model: GenerativeModel,
    data: ImageData,
    n_images: int,
    found: Collection[str],
    asked: Collection[str] | None,
    n_samples: int = guard.USUAL,
) -> dict[str, list[str]]:
    """Why figures are not among those found: reason -> their keys.

    Args:
        model: That was measured.
        data: What it was measured on.
        n_images: Of the split.
        found: Keys of the figures there are.
        asked: What was asked for by name; None for all, and then only what a person would miss is
            named: likelihoods where there is none at all, and the quality of samples.
        n_samples: Samples drawn for their quality.
    """
    missing = [key for key in KEYS if key in (asked or frozenset(KEYS) - ASKED_FOR)]
    missing = [key for key in missing if key not in found]
    if asked is None:
        expected = quality.KEYS - ASKED_FOR - {"label_agreement"}
        if LIKELIHOODS.isdisjoint(found):
            expected |= LIKELIHOODS
        missing = [key for key in missing if key in expected]
    told: dict[str, list[str]] = {}
    for key in missing:
        reason = _reason(key, model, data, n_images, n_samples, asked is None)
        told.setdefault(reason, []).append(key)
    return told


def _reason(
    key: str,
    model: GenerativeModel,
    data: ImageData,
    n_images: int,
    n_samples: int,
    together: bool,
) -> str:
    if key in LIKELIHOODS:
        kinds = {"nll": "exact likelihood", "nll_bound": "bound on the likelihood"}
        kind = "likelihood" if together else kinds.get(key, "likelihood to estimate by sampling")
        return f"this model has no {kind}"
    if key in quality.KEYS or key == "judge_accuracy":
        if (few := no_judge_for(data, n_images)) is not None:
            return few
        if (few := guard.too_few(key, n_samples, n_images)) is not None:
            return few
        if key in COPYING:
            return "too few training images, or no cluster has twenty samples and real images"
        if key in FLD:
            these = f"{fld.FEWEST} samples and real images"
            return f"it takes {these} and {fld.FEWEST_TRAINING} training images"
        if key == "label_agreement" and not {"labels", "source"} & {
            *abilities_of(model).conditions
        }:
            return "this model is told no classes"
        return "the images have no classes"
    if key in INCEPTION:
        why = inception.why_not(key, data.info.channels, n_samples, n_images)
        return why or "it was not asked for"
    if key in translation.KEYS:
        if "source" not in abilities_of(model).conditions:
            return "this model translates no source images"
        side = min(data.info.height, data.info.width)
        return translation.why_not(key, side, data.info.source) or "it was not asked for"
    if key in agreement.KEYS:
        return "it takes a model that is told captions of scenes"
    if key == "bits_per_dim":
        return "the likelihood is not one of 8-bit values"
    if key == "reconstruction":
        return "this model has no encoder"
    if key in CLUSTERING or key in PROBES:
        if data.train.labels is None or data.info.n_classes < 2:
            return "the images have no classes"
        if "labels" in abilities_of(model).conditions:
            return "this model is told the classes"
        if model.codes_are_images:
            return "this model's codes are the images in other coordinates"
        return "this model has no codes or clusters"
    if key == "bayes_accuracy":
        return "this model has no likelihood given a class"
    return "it takes other images: --outliers"
