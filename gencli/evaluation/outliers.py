r"""Telling images of another kind from a data set's own, by a model of the latter.

Three scores, each higher for what looks less like the data (log p in nats, x an image):

    likelihood    -log p(x)
    complexity    -log2 p(x) - L(x), L the bits of x as a PNG file (Serra et al. 2020,
                  arXiv:1909.11480): simple images are likely under models of complicated ones
    typicality    |log p(x) - mean log p of training images| (Nalisnick et al. 2019,
                  arXiv:1906.02994, for one image): an image may also be too likely

A score's figure is the area under its receiver operating characteristic: the probability that an
image of the other kind scores higher than one of the split, 0.5 if the score knows nothing. Where a
model has no exact likelihood, its estimate, bound or energy stands in; a conditional model is asked
for the sum over its classes, log p(x) = log sum_y p(x | y) p(y).
"""

from __future__ import annotations

import io
import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from gencli.data.splits import Split
from gencli.data.store import ResidentStore
from gencli.errors import UsageError
from gencli.evaluation.bayes import class_scores, log_prior, marginal
from gencli.evaluation.measuring import Measuring
from gencli.evaluation.results import OUTLIERS, Metric
from gencli.evaluation.scoring import Scoring, scoring_of
from gencli.models.interface import NOTHING
from gencli.random import mix_seed
from gencli.viz.grid import to_pillow, to_uint8

N_IMAGES = 1_000
"""Images of each kind, unless told otherwise."""


def auroc(inliers: Tensor, outliers: Tensor) -> tuple[float, float | None]:
    """The share of pairs in which the outlier scores higher, equal ones counting half.

    Args:
        inliers: Scores (M,).
        outliers: Scores (N,).

    Returns:
        The area under the curve and its standard error (DeLong et al. 1988, Biometrics 44:837, by
        the spread of each image's own share); None where there is but one image of a kind.
    """
    above = _share_below(inliers, outliers)  # (N,)
    below = 1 - _share_below(outliers, inliers)  # (M,)
    area = float(above.mean())
    if min(len(above), len(below)) < 2:
        return area, None
    return area, math.sqrt(float(above.var() / len(above) + below.var() / len(below)))


def _share_below(these: Tensor, of: Tensor) -> Tensor:
    """For each of `of`, the share of `these` that are smaller, equal ones counting half."""
    ordered, of = these.double().sort().values, of.double()
    ranks = torch.searchsorted(ordered, of) + torch.searchsorted(ordered, of, right=True)
    return ranks.double() / (2 * len(ordered))


def compressed_bits(images: Tensor, *, binary: bool) -> Tensor:
    """Lengths (B,) in bits of images (B, C, H, W) in [0, 1] as PNG files, of bits if binary."""
    lengths = []
    for array in to_uint8(images):
        file, picture = io.BytesIO(), to_pillow(array)
        (picture.convert("1") if binary else picture).save(file, "PNG", optimize=True)
        lengths.append(8 * len(file.getbuffer()))
    return torch.tensor(lengths, dtype=torch.float64)


def outlier_scores(log_prob: Tensor, bits: Tensor, typical: float) -> dict[str, Tensor]:
    """The three scores of images, by the keys of their figures.

    Args:
        log_prob: (B,), in nats.
        bits: (B,), of the compressed images.
        typical: The mean log-probability of training images, in nats.
    """
    return {
        "auroc_likelihood": -log_prob,
        "auroc_complexity": -log_prob / math.log(2) - bits,
        "auroc_typicality": (log_prob - typical).abs(),
    }


@dataclass(frozen=True)
class ToldApart:
    """How well images of another kind were told from a split's.

    Attributes:
        metrics: By the keys of `results.OUTLIERS`.
        scores: Of the split's images and of the others, by the same keys.
    """

    metrics: dict[str, Metric]
    scores: dict[str, tuple[Tensor, Tensor]]


def tell_apart(
    measuring: Measuring, others: Tensor, name: str, *, n: int | None, k: int
) -> ToldApart:
    """Score images of the split, of another kind and of the training split.

    Args:
        measuring: The model, in evaluation mode and without gradients, and the split.
        others: Images (N, C, H, W) of the other kind, uint8, in the form of the model's data.
        name: What they are.
        n: How many images of each kind; None is 1,000.
        k: Importance samples per image, for models that need them.

    Raises:
        UsageError: If the model has no likelihood, or must be told what is not known of the others.
    """
    model = measuring.model
    scoring = scoring_of(model, k, measuring.own)
    if scoring is None:
        raise UsageError("This model has no likelihood to tell images apart by.", "Take another.")
    if set(model.conditions) - {"labels"}:
        raise UsageError(
            "This model is told more of an image than its class.",
            "Take one that is told nothing, or --conditional ones.",
        )
    parts = {
        "auroc_likelihood": measuring.images,
        "auroc_complexity": Split(others, None),
        "auroc_typicality": measuring.data.train,
    }
    scored = {
        key: _scored(replace(measuring, images=part), scoring, key, n or N_IMAGES)
        for key, part in parts.items()
    }
    typical = float(scored["auroc_typicality"][0].mean())
    ours = outlier_scores(*scored["auroc_likelihood"], typical)
    theirs = outlier_scores(*scored["auroc_complexity"], typical)
    metrics = {}
    for key in OUTLIERS:
        area, error = auroc(ours[key], theirs[key])
        metrics[key] = Metric(
            area, f"AUROC against {name}, by {scoring.how}",
            "exact" if scoring.kind == "exact" else "estimate", error,
            len(ours[key]) + len(theirs[key]),
        )  # fmt: skip
    return ToldApart(metrics, {key: (ours[key], theirs[key]) for key in OUTLIERS})


def _scored(measuring: Measuring, scoring: Scoring, key: str, n: int) -> tuple[Tensor, Tensor]:
    """Log p (n,) in nats and compressed sizes (n,) in bits of images as the model sees them."""
    model, labels = measuring.model, measuring.data.train.labels
    told = "labels" in model.conditions and labels is not None
    prior = log_prior(labels, model.data.n_classes) if told and labels is not None else None
    chosen = measuring.choose(n)
    store = ResidentStore(chosen, measuring.data.info, model.device)
    drawing = torch.Generator(model.device).manual_seed(mix_seed(measuring.seed, 0))
    log_probs, bits = list[Tensor](), list[Tensor]()
    with measuring.random(key):
        for batch in store.in_order(measuring.batch_size or scoring.batch_size, drawing):
            if prior is None:
                found = scoring.log_prob(batch.images, NOTHING)
            else:
                scores = class_scores(scoring, batch.images, NOTHING, model.data.n_classes)
                found = marginal(scores, prior)
            log_probs.append(found.double().cpu())
            bits.append(compressed_bits(batch.images, binary=measuring.data.info.binary))
            measuring.progress(key, sum(map(len, bits)), len(chosen))
    return torch.cat(log_probs), torch.cat(bits)
