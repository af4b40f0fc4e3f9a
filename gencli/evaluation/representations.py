"""What a model's clusters and codes know of the classes of images, which it was not told."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection

import torch
from torch import Tensor

from gencli.data.conditions import Condition
from gencli.data.splits import Split
from gencli.data.store import store_of
from gencli.evaluation.classifier import one_thread
from gencli.evaluation.clustering import (
    contingency,
    majority,
    matched,
    normalized_mutual_information,
)
from gencli.evaluation.measuring import Measuring
from gencli.evaluation.probe import predictions, principal_axes
from gencli.evaluation.results import Metric
from gencli.models.abilities import HasAssignments, HasEncoder
from gencli.models.k_means import k_means, nearest

CLUSTERING = frozenset({"clustering_accuracy", "nmi"})
"""The figures of clusters."""

PROBES = {
    f"probe_accuracy{labels}{of}": (n, of)
    for labels, n in (("_1000", 1_000), ("", None))
    for of in ("", "_pixels", "_pca")
}
"""The figures of linear classifiers: their keys, how many labels they see, and of what they are."""

_AT_ONCE = 500
_N_SEEN = 10_000  # training images that k-means and principal components see, at most
_RESTARTS = 5  # of k-means
_FEWEST = 20  # labels that a classifier can learn from


def measured(measuring: Measuring, wanted: Collection[str]) -> dict[str, Metric]:
    """Those of the figures here that are wanted and that the model and the data can have.

    Images must have classes, in the split and in training, that the model is not told; and codes
    must be more than the images in other coordinates.
    """
    data, told = measuring.data, measuring.model.conditions
    labelled = data.train.labels is not None and measuring.images.labels is not None
    alike = measuring.model.codes_are_images
    if not labelled or data.info.n_classes < 2 or "labels" in told or alike:
        return {}
    found = {} if CLUSTERING.isdisjoint(wanted) else clustering(measuring)
    return found | probes(measuring, [key for key in PROBES if key in wanted])


def clustering(measuring: Measuring) -> dict[str, Metric]:
    """How well clusters agree with the classes: a mixture's components, or k-means of codes.

    K-means finds as many clusters as there are classes, among the codes of up to 10,000 training
    images. Clusters, where there are no more than classes, are matched with classes one to one so
    that most images of the split are right. Where there are more, each is given the class that most
    training images in it have.
    """
    data, images = measuring.data, measuring.images
    n_classes, n = data.info.n_classes, len(images)
    with measuring.random("clustering_accuracy"), one_thread():
        found = _clusters(measuring)
    if found is None or images.labels is None or data.train.labels is None:
        return {}
    seen, columns = torch.unique(torch.cat(found), return_inverse=True)
    mine, theirs = columns.split([n, len(columns) - n])
    counts = contingency(mine, images.labels, len(seen), n_classes)
    if len(seen) > n_classes:
        classes = majority(contingency(theirs, data.train.labels, len(seen), n_classes))
        how = "by majority in training"
    else:
        classes, how = matched(counts), "matched one to one"
    nmi = normalized_mutual_information(counts)
    return {
        "clustering_accuracy": share(
            classes[mine] == images.labels, f"share of images; {len(seen)} clusters {how}"
        ),
        "nmi": Metric(nmi, f"from 0 to 1; {len(seen)} clusters", "exact", None, n),
    }


def _clusters(measuring: Measuring) -> tuple[Tensor, Tensor] | None:
    """The clusters of the split's images, and of the training images where they are needed.

    That is for a mixture's components, which may be more than there are classes.
    """
    model, train = measuring.model, measuring.data.train
    if isinstance(model, HasAssignments):
        mine, theirs = (
            through(measuring, split, model.assign) for split in (measuring.images, train)
        )
        return mine, theirs
    if not isinstance(model, HasEncoder):
        return None
    some = train.rows(torch.randperm(len(train))[:_N_SEEN])
    codes, new = (
        through(measuring, split, model.encode).flatten(1).float()
        for split in (some, measuring.images)
    )
    mine = nearest(new, k_means(codes, measuring.data.info.n_classes, restarts=_RESTARTS).centres)
    return mine, mine[:0]


def probes(measuring: Measuring, keys: Collection[str]) -> dict[str, Metric]:
    """How many images a linear classifier gets right that learnt from training images.

    It sees their codes by the model's encoder; their pixels; or as many principal components as a
    code has dimensions, where that is fewer than pixels. With 1,000 labels these are of the same
    images, at random, for all three.

    Args:
        measuring: A model, and data with labels.
        keys: Of `PROBES`.
    """
    train, images = measuring.data.train, measuring.images
    found: dict[str, Metric] = {}
    for key in keys:
        n, of = PROBES[key]
        if len(train) < (n or _FEWEST) or not isinstance(measuring.model, HasEncoder):
            continue
        with measuring.random("probe_accuracy_1000"):
            seen = train.rows(torch.randperm(len(train))[:n])
            points = _points(measuring, measuring.model, of, seen)
        if points is None or seen.labels is None or images.labels is None:
            continue
        measuring.progress(key, 0, 1)
        x, new = points
        classes = predictions(x, seen.labels, new, measuring.data.info.n_classes)
        measuring.progress(key, 1, 1)
        unit = f"share of images, {len(x)} labels"
        found[key] = share(classes == images.labels, unit)
    return found


def _points(
    measuring: Measuring, model: HasEncoder, of: str, seen: Split
) -> tuple[Tensor, Tensor] | None:
    """Codes, pixels or principal components of training images and of the split's, flat."""

    def both(function: Callable[[Tensor, Condition], Tensor]) -> tuple[Tensor, Tensor]:
        x, new = (through(measuring, split, function) for split in (seen, measuring.images))
        return x.flatten(1).float(), new.flatten(1).float()

    if of == "":
        return both(model.encode)
    n_code = through(measuring, seen.rows(slice(1)), model.encode).numel()
    if of == "_pca" and n_code >= measuring.data.info.n_pixels:
        return None
    x, new = both(lambda images, _: images)
    if of == "_pixels":
        return x, new
    train = measuring.data.train
    some = train.rows(torch.randperm(len(train))[:_N_SEEN])
    axes = principal_axes(through(measuring, some, lambda images, _: images).flatten(1), n_code)
    return x @ axes, new @ axes


def through(
    measuring: Measuring, split: Split, function: Callable[[Tensor, Condition], Tensor]
) -> Tensor:
    """What a function of the model gives for all images of a split, on the CPU."""
    model = measuring.model
    store = store_of(split, measuring.data.info, model.device, model.conditions)
    parts: list[Tensor] = []
    for batch in store.in_order(measuring.batch_size or _AT_ONCE):
        parts.append(function(batch.images, batch.condition).cpu())
        measuring.progress("codes", sum(map(len, parts)), len(split))
    return torch.cat(parts)


def share(those: Tensor, unit: str) -> Metric:
    """The share of the images for which `those` (n,) is true, with its binomial standard error."""
    value = float(those.double().mean())
    error = math.sqrt(value * (1 - value) / len(those))
    return Metric(value, unit, "exact", error, len(those))
