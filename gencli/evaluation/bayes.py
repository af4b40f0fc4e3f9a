"""Classes by Bayes' rule: what a model of p(x | y) makes of an image whose class is not told.

    argmax_y log p(x | y) + log p(y),    log p(x) = log sum_y p(x | y) p(y)

p(y) is each class's share of the training labels. A model without an exact likelihood gives its
estimate or its bound instead; all classes then meet the same random numbers, so that they differ by
the class alone.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from gencli.data.conditions import Condition, labels_of
from gencli.data.store import ResidentStore
from gencli.evaluation.measuring import Measuring
from gencli.evaluation.results import Metric
from gencli.evaluation.scoring import Scoring, scoring_of

_FEW = 4


def log_prior(labels: Tensor, n_classes: int) -> Tensor:
    """Log p(y) of every class, (n_classes,) float64; -inf for one that no label (N,) names."""
    return torch.bincount(labels.cpu(), minlength=n_classes).double().div(len(labels)).log()


def class_scores(scoring: Scoring, x: Tensor, condition: Condition, n_classes: int) -> Tensor:
    """Log p(x | y) of images (B, C, H, W) for every class y, (B, n_classes) float64, in nats.

    Random numbers come from torch's global generators, which it seeds.
    """
    seed = int(torch.randint(1 << 62, ()))
    columns = []
    for label in range(n_classes):
        torch.manual_seed(seed)
        asked = replace(condition, labels=torch.full((len(x),), label, device=x.device))
        columns.append(scoring.log_prob(x, asked).double())
    return torch.stack(columns, 1)


def classify(scores: Tensor, prior: Tensor) -> Tensor:
    """The likeliest classes (B,) by scores log p(x | y), (B, n_classes), and log p(y)."""
    return (scores + prior.to(scores.device)).argmax(1)


def marginal(scores: Tensor, prior: Tensor) -> Tensor:
    """Log p(x), (B,), by scores log p(x | y), (B, n_classes), and log p(y)."""
    return (scores + prior.to(scores.device)).logsumexp(1)


def bayes_accuracy(measuring: Measuring, n: int | None, k: int) -> dict[str, Metric]:
    """The share of the images whose class Bayes' rule finds; nothing where there can be none.

    Args:
        measuring: The model and the split, whose labels are the truth.
        n: How many images; None is all for an exact likelihood, else 1,000.
        k: Importance samples per image and class.
    """
    model, labels = measuring.model, measuring.data.train.labels
    scoring = scoring_of(model, k, measuring.own)
    if "labels" not in model.conditions or measuring.images.labels is None or labels is None:
        return {}
    if scoring is None or not _knows_classes(measuring, scoring):
        return {}
    n_classes = model.data.n_classes
    prior = log_prior(labels, n_classes)

    def right(x: Tensor, condition: Condition) -> Tensor:
        found = classify(class_scores(scoring, x, condition, n_classes), prior)
        return found == labels_of(condition)

    accuracy = measuring.mean(
        "bayes_accuracy", right, unit=f"share of images, by {scoring.how}",
        kind="exact" if scoring.kind == "exact" else "estimate", n=scoring.number(n),
        batch_size=scoring.batch_size,
    )  # fmt: skip
    return {"bayes_accuracy": accuracy}


def _knows_classes(measuring: Measuring, scoring: Scoring) -> bool:
    """Whether the likelihood depends on the class: some conditional models give that of p(x)."""
    model = measuring.model
    store = ResidentStore(
        measuring.images.rows(slice(_FEW)), measuring.data.info, model.device, model.conditions
    )
    with measuring.random("bayes_accuracy"):
        batch = next(store.in_order(_FEW))
        scores = class_scores(scoring, batch.images, batch.condition, model.data.n_classes)
    return not torch.equal(scores, scores[:, :1].expand_as(scores))
