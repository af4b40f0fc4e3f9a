"""How good samples are, by the eyes of a judge."""

from __future__ import annotations

import math
from collections.abc import Collection

import torch
from torch import Tensor

from gencli.evaluation.classifier import one_thread
from gencli.evaluation.copying import authentic, copying_test
from gencli.evaluation.fld import feature_likelihood
from gencli.evaluation.frechet import frechet_distance
from gencli.evaluation.guard import too_few
from gencli.evaluation.halves import errors
from gencli.evaluation.judge import Judge
from gencli.evaluation.kernel import kernel_distance
from gencli.evaluation.prdc import prdc
from gencli.evaluation.results import BESIDE_TRAINING, COPYING, FLD, Metric
from gencli.evaluation.vendi import vendi

_UNITS = {
    "precision": "share of samples",
    "recall": "share of real images",
    "density": "relative to real images",
    "coverage": "share of real images",
}
OF_FEATURES = frozenset({"fd_judge", "kid_judge", *_UNITS, "vendi", "vendi_real"}) | BESIDE_TRAINING
"""The metrics of samples that look at real images."""

_OF_CLASSES = frozenset({"confident", "smallest_class", "label_agreement"})
"""Those that only a judge of classes can tell."""

KEYS = OF_FEATURES | _OF_CLASSES
"""The metrics of samples."""

FEWEST_UNLABELLED = 500
"""Test images needed where a judge has no classes to learn."""

FEWEST = 20
"""Images needed of either kind: two for each of the kernel distance's ten subsets."""

_SURE = 0.9


def sample_quality(
    judge: Judge,
    real: Tensor,
    samples: Tensor,
    *,
    wanted: Collection[str] = KEYS,
    labels: Tensor | None = None,
    train: Tensor | None = None,
    k: int = 5,
    seed: int = 0,
) -> dict[str, Metric]:
    """Compare samples with real images, at least `FEWEST` of either.

    Args:
        judge: A classifier of the data set.
        real: Images (N, C, H, W), float in [0, 1] or uint8.
        samples: Images (M, C, H, W), float in [0, 1] or uint8.
        wanted: Which of `KEYS` to measure.
        labels: Classes (M,) that the samples were asked for, if they were.
        train: The judge's features (T, 64) of two training images or more, where they are wanted.
        k: Neighbours in precision, recall, density and coverage.
        seed: Of the kernel distance's subsets, of halves and of clusters.
    """
    with one_thread():  # figures don't depend on the machine's threads
        found = _measured(judge, real, samples, wanted, labels, train, k, seed)
    return {key: metric for key, metric in found.items() if key in wanted}


def _measured(
    judge: Judge,
    real: Tensor,
    samples: Tensor,
    wanted: Collection[str],
    labels: Tensor | None,
    train: Tensor | None,
    k: int,
    seed: int,
) -> dict[str, Metric]:
    features, p = judge(samples)
    n = len(samples)
    found: dict[str, Metric] = {}
    if not OF_FEATURES.isdisjoint(wanted):
        real_features = judge(real)[0]
        if "fd_judge" in wanted and not too_few("fd_judge", n, len(real)):
            distance = frechet_distance(real_features, features)
            (error,) = errors(
                lambda a, b: [frechet_distance(a, b)], real_features, features, seed=seed
            )
            found["fd_judge"] = Metric(distance, "squared feature distance", "estimate", error, n)
        if "kid_judge" in wanted:
            mmd2, error = kernel_distance(real_features, features, seed=seed)
            found["kid_judge"] = Metric(mmd2, "squared MMD", "estimate", error, n)
        if not set(_UNITS).isdisjoint(wanted):
            figures = prdc(real_features, features, k)._asdict()
            spread = errors(lambda a, b: prdc(a, b, k), real_features, features, seed=seed)
            for (key, value), error in zip(figures.items(), spread, strict=True):
                found[key] = Metric(value, f"{_UNITS[key]}, k = {k}", "estimate", error, n)
        if not {"vendi", "vendi_real"}.isdisjoint(wanted):
            found |= _variety(real_features, features, seed)
        if train is not None and not COPYING.isdisjoint(wanted):
            found |= _originality(train, real_features, features, seed)
        if train is not None and not FLD.isdisjoint(wanted):
            found |= _likelihood(train, real_features, features, seed)
    if judge.task != "classes":
        return found
    found["confident"] = share(p.amax(1) > _SURE)
    counts = torch.bincount(p.argmax(1), minlength=p.shape[1])
    found["smallest_class"] = share(p.argmax(1) == counts.argmin())
    if labels is not None:
        found["label_agreement"] = share(p.argmax(1) == labels.cpu())
    return found


def _variety(real: Tensor, samples: Tensor, seed: int) -> dict[str, Metric]:
    spread = errors(lambda a, b: [vendi(a), vendi(b)], real, samples, seed=seed)
    unit = "effective number"
    return {
        "vendi": Metric(vendi(samples), unit, "estimate", spread[1], len(samples)),
        "vendi_real": Metric(vendi(real), unit, "estimate", spread[0], len(real)),
    }


def _originality(train: Tensor, real: Tensor, samples: Tensor, seed: int) -> dict[str, Metric]:
    found = {
        "authenticity": share(authentic(train, samples)),
        "authenticity_real": share(authentic(train, real), "share of real images"),
    }
    test = copying_test(train, real, samples, seed=seed)
    if test is not None:
        unit = "standard deviations from fresh images"
        found["ct"] = Metric(test.value, unit, "estimate", test.error, len(samples))
    return found


def _likelihood(train: Tensor, real: Tensor, samples: Tensor, seed: int) -> dict[str, Metric]:
    found = feature_likelihood(train, real, samples, seed=seed)
    if found is None:
        return {}
    unit = "1/100 nat per feature"
    figures = {"fld": found.value, "fld_gap": found.gap, "fld_gap_real": found.gap_real}
    return {
        key: Metric(value, unit, "estimate", error, found.n)
        for key, (value, error) in figures.items()
    }


def share(those: Tensor, unit: str = "share of samples") -> Metric:
    """The share of images for which `those` (n,) is true, with its binomial standard error."""
    n, value = len(those), float(those.double().mean())
    error = math.sqrt(value * (1 - value) / n)
    return Metric(value, unit, "estimate", error, n)
