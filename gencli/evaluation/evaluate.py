"""Everything that can be measured of a model, found out by its capabilities alone.

A metric that a model cannot have is absent. All random numbers come from the evaluation's own seed:
a figure does not depend on which others are asked for, and torch's global generators stay as they
were.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Literal

import torch

from gencli.data.load import ImageData, Split
from gencli.data.spec import DataInfo
from gencli.errors import DataError, UsageError
from gencli.evaluation import quality
from gencli.evaluation.judge import Judge, judge_for
from gencli.evaluation.likelihood import bits_per_dim, log_prob_estimate
from gencli.evaluation.measuring import Progress, Subject, ink
from gencli.evaluation.results import KEYS, Metric
from gencli.models.abilities import (
    HasAnnealedBound,
    HasBound,
    HasEncoder,
    HasLabels,
    HasLatent,
    HasLogPartition,
    HasLogProb,
)
from gencli.models.interface import GenerativeModel
from gencli.random import mix_seed

__all__ = ["KEYS", "evaluate"]

_N_ESTIMATE = 1_000  # images for importance sampling, unless told otherwise
_AT_ONCE = 4_000_000  # pixels decoded at once in importance sampling: 16 MB for each tensor
_PIECE = 50  # importance samples per image in one of them
_CHAINS, _TEMPERATURES = 100, 10_000
_EIGHT_BIT = 256


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
    n_chains: int | None = None,
    n_temperatures: int | None = None,
    sampling: Mapping[str, Any] | None = None,
    judge: Judge | None = None,
    progress: Progress | None = None,
) -> dict[str, Metric]:
    """Measure a model.

    Importance sampling takes 1,000 images of the split unless `n` says otherwise, everything else
    all of them; fewer images are a random choice that depends on the seed. Samples are the images
    of `gencli sample --seed`, rounded to the 256 levels of a file; on binary data their pixels are
    drawn, with the grey level as the probability. They are compared with all images of the split.
    Conditional models are asked for every class equally often.

    Args:
        model: In any mode; it is measured in evaluation mode, on the device where it is.
        data: What it was trained on, or something of the same shape and binarisation.
        split: Report on `test`, select on `val`.
        n: Images for likelihoods and reconstruction.
        k: Importance samples per image in `nll_estimate`.
        n_samples: Samples drawn for their quality.
        metrics: Only these, of `results.KEYS`; None means all that the model can have.
        seed: Of all random numbers.
        batch_size: Images per forward pass.
        n_chains: Of annealed importance sampling, 100 unless told otherwise.
        n_temperatures: Of annealed importance sampling, 10,000 unless told otherwise.
        sampling: The model's own options of `sample`, such as `steps`.
        judge: For data with labels; None trains one on first use and keeps it in the cache.
        progress: Called with (what, done, in all).

    Raises:
        UsageError: If there is no such metric, or an argument does not fit.
        DataError: If the split has no images, or the judge cannot be cached.
        DivergedError: If a sample has pixels that are not finite.
    """
    wanted = frozenset(KEYS if metrics is None else metrics)
    images: Split = getattr(data, split)
    _check(model, data, images, split, wanted)
    subject = Subject(model, data, images, seed, batch_size, progress or (lambda *_: None))
    with _measuring(model):
        found = _likelihoods(
            subject, wanted, n, k, n_chains or _CHAINS, n_temperatures or _TEMPERATURES
        )
        if "reconstruction" in wanted:
            found |= _reconstruction(subject, n)
        if wanted & {*quality.KEYS, "judge_accuracy"} and _can_judge(data, images):
            found |= _quality(subject, wanted, n_samples, sampling or {}, judge)
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
    if not len(images):
        raise DataError(
            f"{data.name} has no {split} images.",
            "Hold some out with --val N." if split == "val" else "Use --split val.",
        )


@contextmanager
def _measuring(model: GenerativeModel) -> Iterator[None]:
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        model.train(training)


def _likelihoods(
    subject: Subject,
    wanted: Collection[str],
    n: int | None,
    k: int,
    n_chains: int,
    n_temperatures: int,
) -> dict[str, Metric]:
    model, found = subject.model, dict[str, Metric]()
    levels = model.discrete_levels
    in_bits = levels == _EIGHT_BIT and "bits_per_dim" in wanted
    unit = _unit(subject.data.info, levels)
    if isinstance(model, HasAnnealedBound):
        model.n_chains, model.n_temperatures = n_chains, n_temperatures
    if isinstance(model, HasLogProb) and ("nll" in wanted or in_bits):
        found["nll"] = subject.mean(
            "nll", lambda x: -model.log_prob(x), unit=unit, kind="exact", n=n
        )
    if isinstance(model, HasBound) and ("nll_bound" in wanted or in_bits):
        bound = subject.mean(
            "nll_bound", lambda x: -model.log_prob_bound(x), unit=unit, kind="bound", n=n
        )
        found["nll_bound"] = _with_annealing_error(bound, model)
    if "nll_estimate" in wanted or in_bits:
        if isinstance(model, HasBound) and model.importance_weighted:
            estimate = _importance_sampled(subject, model, unit, n, k)
            found["nll_estimate"] = _with_annealing_error(estimate, model)
        elif isinstance(model, HasLogPartition):
            found["nll_estimate"] = _annealed(subject, model, unit, n, n_chains, n_temperatures)
    if in_bits:
        tightest = [found[key] for key in ("nll", "nll_estimate", "nll_bound") if key in found]
        if tightest:
            found["bits_per_dim"] = _in_bits(tightest[0], subject.data.info)
    return found


def _in_bits(nll: Metric, info: DataInfo) -> Metric:
    value, error = bits_per_dim(nll.value, info.n_pixels), nll.standard_error
    if error is not None:
        error = bits_per_dim(error, info.n_pixels)
    return replace(nll, value=value, unit="bits per dimension", standard_error=error)


def _unit(info: DataInfo, levels: int | None) -> str:
    if levels is None:
        return "nats per image (density)"
    # A grey level taken as the probability of ink is a target, not an outcome.
    soft = levels == 2 and not info.binary
    return "nats per image (cross-entropy)" if soft else "nats per image"


def _importance_sampled(
    subject: Subject, model: HasBound, unit: str, n: int | None, k: int
) -> Metric:
    if k < 2:
        raise UsageError("--k 1 gives no estimate beyond the bound.", "It takes at least 2.")
    at_once = max(_AT_ONCE // subject.data.info.n_pixels, 2)
    piece = min(_PIECE, at_once)
    return subject.mean(
        "nll_estimate",
        lambda x: -log_prob_estimate(model.log_prob_bound, x, k, piece=piece),
        unit=unit, kind="estimate", n=n or _N_ESTIMATE, batch_size=at_once // piece,
    )  # fmt: skip


def _annealed(
    subject: Subject,
    model: HasLogPartition,
    unit: str,
    n: int | None,
    n_chains: int,
    n_temperatures: int,
) -> Metric:
    energy = subject.mean("nll_estimate", model.energy, unit=unit, kind="estimate", n=n)
    subject.progress("log_partition", 0, 1)
    with subject.random("nll_estimate"):
        log_z, error = model.log_partition(n_chains, n_temperatures)
    subject.progress("log_partition", 1, 1)
    return _widened(replace(energy, value=energy.value + log_z), error)


def _with_annealing_error(metric: Metric, model: GenerativeModel) -> Metric:
    if not isinstance(model, HasAnnealedBound):
        return metric
    return _widened(metric, model.log_partition(model.n_chains, model.n_temperatures)[1])


def _widened(metric: Metric, error: float) -> Metric:
    """With another, independent error of the same figure."""
    if metric.standard_error is None:
        return metric
    return replace(metric, standard_error=math.hypot(metric.standard_error, error))


def _reconstruction(subject: Subject, n: int | None) -> dict[str, Metric]:
    model = subject.model
    if not isinstance(model, HasEncoder) or not isinstance(model, HasLatent):
        return {}
    error = subject.mean(
        "reconstruction",
        lambda x: (model.decode(model.encode(x)) - x).square().mean((1, 2, 3)),
        unit="squared error per pixel in [0, 1]", kind="exact", n=n,
    )  # fmt: skip
    return {"reconstruction": error}


def _can_judge(data: ImageData, images: Split) -> bool:
    return (
        data.info.n_classes > 1
        and data.train.labels is not None
        and data.test.labels is not None
        and min(len(images), len(data.test)) >= quality.FEWEST
    )


def _quality(
    subject: Subject,
    wanted: Collection[str],
    n_samples: int,
    sampling: Mapping[str, Any],
    judge: Judge | None,
) -> dict[str, Metric]:
    if n_samples < quality.FEWEST:
        raise UsageError(
            f"{n_samples} samples are too few.", f"It takes at least {quality.FEWEST}."
        )
    model, info, report = subject.model, subject.data.info, subject.progress
    if judge is None:
        judge = judge_for(
            subject.data,
            progress=lambda done, total: report("judge", done, total),
        )
    found = {"judge_accuracy": judge.accuracy()}
    if quality.KEYS.isdisjoint(wanted):
        return found
    labels = None
    if isinstance(model, HasLabels) and model.conditional:
        labels = torch.arange(n_samples, device=model.device) % info.n_classes
    samples = subject.draw(n_samples, labels, sampling)
    real, seed = subject.images.images, mix_seed(subject.seed, 3)
    if info.binary:
        real, samples = ink(real, seed), ink(samples, mix_seed(seed, 1))
    return found | quality.sample_quality(
        judge, real, samples, wanted=wanted, labels=labels, seed=seed
    )
