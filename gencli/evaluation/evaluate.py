"""Everything that can be measured of a model, found out by its abilities alone.

A metric that a model cannot have is absent. All random numbers come from the evaluation's own seed:
a figure does not depend on which others are asked for, and torch's global generators stay as they
were.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from functools import cache, partial
from typing import Any, Literal

import torch
from torch import Tensor

from gencli.data.conditions import Condition
from gencli.data.spec import DataInfo
from gencli.data.splits import ImageData, Split
from gencli.errors import DataError, UsageError
from gencli.evaluation import agreement, inception, quality, representations, translation
from gencli.evaluation.absent import no_judge_for
from gencli.evaluation.bayes import bayes_accuracy
from gencli.evaluation.judge import Judge, judge_for
from gencli.evaluation.likelihood import N_ESTIMATE, at_once, bits_per_dim, log_mean_weight
from gencli.evaluation.measuring import Measuring
from gencli.evaluation.results import ASKED_FOR, BESIDE_TRAINING, KEYS, Metric
from gencli.kinds import Progress
from gencli.models.abilities import (
    HasBound,
    HasEncoder,
    HasEnergy,
    HasLatent,
    HasLogPartition,
    HasLogProb,
    HasLogWeights,
    LogPartition,
)
from gencli.models.drawing import evaluating
from gencli.models.interface import GenerativeModel
from gencli.processes import ALONE, Processes
from gencli.random import mix_seed

__all__ = ["KEYS", "evaluate"]

_EIGHT_BIT = 256
_DENSITY = "nats per image (density)"


def evaluate(
    model: GenerativeModel,
    data: ImageData,
    *,
    split: Literal["test", "val"] = "test",
    n: int | None = None,
    k: int = 500,
    n_samples: int = 10_000,
    metrics: Collection[str] | None = None,
    seed: int = 0,
    batch_size: int | None = None,
    own: Mapping[str, Any] | None = None,
    sampling: Mapping[str, Any] | None = None,
    judge: Judge | None = None,
    progress: Progress | None = None,
    processes: Processes = ALONE,
) -> dict[str, Metric]:
    """Measure a model.

    Importance sampling takes 1,000 images of the split unless `n` says otherwise, everything else
    all of them; fewer images are a random choice that depends on the seed. Samples are the images
    of `gencli sample --seed`, rounded to the 256 levels of a file; on binary data their pixels are
    drawn, with the grey level as the probability. They are compared with all images of the split.
    Conditional models are asked for every class equally often; those that translate, for what the
    split's images show, in order, and over again where samples are more than these.

    Args:
        model: In any mode; it is measured in evaluation mode, on the device where it is.
        data: What it was trained on, or something of the same shape and binarisation.
        split: Report on `test`, select on `val`.
        n: Images for likelihoods, reconstruction and translations.
        k: Importance samples per image in `nll_estimate`.
        n_samples: Samples drawn for their quality.
        metrics: Only these, of `results.KEYS`; None means all that the model can have, but those of
            `results.ASKED_FOR`.
        seed: Of all random numbers.
        batch_size: Images per forward pass.
        own: The model's own options of measuring, such as `chains`; the others have their defaults.
        sampling: The model's own options of `sample`, such as `steps`.
        judge: Of the data; None trains one on first use and keeps it in the cache.
        progress: Called with (what, done, in all).
        processes: Those that measure together, each of them called alike; all find the same.

    Raises:
        UsageError: If there is no such metric, or an argument does not fit.
        DataError: If the split has no images, the judge cannot be cached, or Inception's weights
            cannot be had.
        DivergedError: If a sample has pixels that are not finite.
    """
    named = (metrics,) if isinstance(metrics, str) else metrics
    wanted = frozenset(KEYS) - ASKED_FOR if named is None else frozenset(named)
    images: Split = getattr(data, split)
    _check(model, data, images, split, wanted)
    measuring = Measuring(
        model, data, images, seed, batch_size, progress or (lambda *_: None),
        dataclasses.asdict(type(model.config).Measuring.parsed(own or {})),
        dataclasses.asdict(model.config.sampling().parsed(sampling or {})), processes,
    )  # fmt: skip
    drawn = cache(measuring.draw)
    # First: perhaps it can't be had.
    look = processes.in_turn(partial(inception.extractor, measuring, wanted, n_samples))
    with evaluating(model):
        found = _likelihoods(measuring, wanted, n, k)
        if "bayes_accuracy" in wanted:
            found |= bayes_accuracy(measuring, n, k)
        if "reconstruction" in wanted:
            found |= _reconstruction(measuring, n)
        if wanted & {*quality.KEYS, "judge_accuracy"} and not no_judge_for(data, len(images)):
            found |= _quality(measuring, wanted, n_samples, judge, drawn)
        if look is not None:
            seen = partial(inception.measured, measuring, wanted, look, drawn(n_samples)[0])
            found |= measuring.by_the_first(seen)
        if not wanted.isdisjoint(agreement.KEYS) and agreement.possible(measuring):
            seen = partial(agreement.measured, measuring, wanted, *drawn(n_samples))
            found |= measuring.by_the_first(seen)
        found |= measuring.by_the_first(partial(representations.measured, measuring, wanted))
        if "source" in model.conditions:
            found |= translation.measured(measuring, wanted, n)
    return {key: found[key] for key in KEYS if key in found and key in wanted}


def _check(
    model: GenerativeModel, data: ImageData, images: Split, split: str, wanted: Collection[str]
) -> None:
    for key in wanted:
        if key not in KEYS:
            raise UsageError(f"There is no metric called {key}.", f"There are: {', '.join(KEYS)}.")
    if data.info.shape != model.data.shape:
        raise UsageError(
            f"{data.name} has images of shape {data.info.shape}, the model {model.data.shape}.",
            "Evaluate on data of the same shape.",
        )
    for kind in model.conditions:
        if data.info.meaning(kind) != model.data.meaning(kind):
            raise UsageError(
                f"{data.name} has other {kind} than the model is told, or none.",
                "Evaluate on the data that it was trained on.",
            )
    if not len(images):
        raise DataError(
            f"{data.name} has no {split} images.",
            "Hold some out with --val N." if split == "val" else "Use --split val.",
        )


def _likelihoods(
    measuring: Measuring, wanted: Collection[str], n: int | None, k: int
) -> dict[str, Metric]:
    model, found = measuring.model, dict[str, Metric]()
    levels = model.discrete_levels
    in_bits = levels == _EIGHT_BIT and "bits_per_dim" in wanted
    unit = _unit(measuring.data.info, levels)
    density = model.log_prob_is_density
    if isinstance(model, HasLogProb) and ("nll" in wanted or (in_bits and not density)):
        found["nll"] = measuring.mean(
            "nll", lambda x, c: -model.log_prob(x, c), unit=_DENSITY if density else unit,
            kind="exact", n=n,
        )  # fmt: skip
    bound, estimate = "nll_bound" in wanted or in_bits, "nll_estimate" in wanted or in_bits
    log_z = _log_partition(measuring) if bound or estimate else None
    if isinstance(model, HasBound) and bound:
        own = measuring.own if log_z is None else {}  # they are the log_partition's
        found["nll_bound"] = measuring.mean(
            "nll_bound", lambda x, c: -model.log_prob_bound(x, c, **own), unit=unit, kind="bound",
            n=n,
        )  # fmt: skip
    if isinstance(model, HasLogWeights):
        if bound and "nll_bound" not in found:
            found["nll_bound"] = measuring.mean(
                "nll_bound", lambda x, c: -model.log_weights(x, 1, c)[0], unit=unit, kind="bound",
                n=n,
            )  # fmt: skip
        if estimate:
            found["nll_estimate"] = _importance_sampled(measuring, model, unit, n, k)
    elif isinstance(model, HasEnergy) and log_z is not None and estimate:
        found["nll_estimate"] = measuring.mean(
            "nll_estimate", lambda x, _: model.energy(x), unit=unit, kind="estimate", n=n
        )
    if log_z is not None:
        found = {key: _normalised(metric, log_z) for key, metric in found.items()}
    if in_bits:
        probable = {key: metric for key, metric in found.items() if metric.unit != _DENSITY}
        keys = ("nll", "nll_estimate", "nll_bound")
        tightest = [probable[key] for key in keys if key in probable]
        if tightest:
            found["bits_per_dim"] = _in_bits(tightest[0], measuring.data.info)
    return found


def _log_partition(measuring: Measuring) -> LogPartition | None:
    """The model's log Z, estimated once for all figures; None where nothing lacks it."""
    model = measuring.model
    if not isinstance(model, HasLogPartition):
        return None
    measuring.progress("log_partition", 0, 1)
    with measuring.random("nll_estimate"):
        log_z = model.log_partition(**measuring.own)
    measuring.progress("log_partition", 1, 1)
    return log_z


def _normalised(metric: Metric, log_z: LogPartition) -> Metric:
    """A figure of an unnormalised density, with log Z and its independent error."""
    error = metric.standard_error
    if error is not None:
        error = math.hypot(error, log_z.standard_error)
    value = metric.value + log_z.value
    return replace(metric, value=value, standard_error=error, doubt=log_z.doubt)


def _in_bits(nll: Metric, info: DataInfo) -> Metric:
    value, error = bits_per_dim(nll.value, info.n_pixels), nll.standard_error
    if error is not None:
        error = bits_per_dim(error, info.n_pixels)
    return replace(nll, value=value, unit="bits per dimension", standard_error=error)


def _unit(info: DataInfo, levels: int | None) -> str:
    if levels is None:
        return _DENSITY
    # A grey level taken as the probability of ink is a target, not an outcome.
    soft = levels == 2 and not info.binary
    return "nats per image (cross-entropy)" if soft else "nats per image"


def _importance_sampled(
    measuring: Measuring, model: HasLogWeights, unit: str, n: int | None, k: int
) -> Metric:
    piece, batch_size = at_once(measuring.data.info.n_pixels)
    return measuring.mean(
        "nll_estimate",
        lambda x, c: -log_mean_weight(lambda y, j: model.log_weights(y, j, c), x, k, piece=piece),
        unit=unit, kind="estimate", n=n or N_ESTIMATE, batch_size=batch_size,
    )  # fmt: skip


def _reconstruction(measuring: Measuring, n: int | None) -> dict[str, Metric]:
    model = measuring.model
    if not isinstance(model, HasEncoder) or not isinstance(model, HasLatent):
        return {}
    error = measuring.mean(
        "reconstruction",
        lambda x, c: (model.decode(model.encode(x, c), c) - x).square().mean((1, 2, 3)),
        unit="squared error per pixel in [0, 1]", kind="exact", n=n,
    )  # fmt: skip
    return {"reconstruction": error}


def _quality(
    measuring: Measuring,
    wanted: Collection[str],
    n_samples: int,
    judge: Judge | None,
    drawn: Callable[[int], tuple[Tensor, Condition]],
) -> dict[str, Metric]:
    if n_samples < quality.FEWEST:
        raise UsageError(
            f"{n_samples} samples are too few.", f"It takes at least {quality.FEWEST}."
        )
    if judge is None:
        look = partial(judge_for, measuring.data, progress=partial(measuring.progress, "judge"))
        judge = measuring.processes.in_turn(look)
    found = {"judge_accuracy": judge.accuracy()}
    if quality.KEYS.isdisjoint(wanted):
        return found
    seen = partial(_judged, measuring, wanted, judge, *drawn(n_samples))
    return found | measuring.by_the_first(seen)


def _judged(
    measuring: Measuring,
    wanted: Collection[str],
    judge: Judge,
    samples: Tensor,
    condition: Condition,
) -> dict[str, Metric]:
    measuring.progress("comparing samples with real images", 0, 0)
    labels, classes = condition.labels, measuring.images.labels
    if labels is None and classes is not None and condition.source is not None:
        labels = classes[torch.arange(len(samples)) % len(classes)]
    real, samples = measuring.beside(samples)
    train, seed = None, mix_seed(measuring.seed, 3)
    if not BESIDE_TRAINING.isdisjoint(wanted) and len(measuring.data.train) > 1:
        train = measuring.training_features(judge, seed)
    return quality.sample_quality(
        judge, real, samples, wanted=wanted, labels=labels, train=train, seed=seed
    )
