"""What there is to know of a data set before a model is trained on it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gencli.data.captions import NOTHING
from gencli.data.catalogue import folder_of
from gencli.data.files import Files, describe_files
from gencli.data.folder_names import arrange
from gencli.data.likeness import Pair, nearly_same
from gencli.data.load import load
from gencli.data.options import DataOptions
from gencli.data.splits import ImageData
from gencli.kin import suited
from gencli.kinds import Progress

_FEW = 2_000


@dataclass(frozen=True)
class Inspection:
    """A data set as a model will see it.

    Attributes:
        data: The images, none held out of training for validation.
        files: Of a folder; None for a named data set.
        bad: Files that cannot be read: name and reason.
        names: Of a folder: split -> its images' names, in the order of the arrays.
        pairs: Images of the test split that are nearly the same as one of the training split.
        grey: Images of a colour set, of all splits, whose three channels agree.
        mean: Of each channel of the training images, in [0, 1].
        spread: Standard deviation of each channel, likewise.
    """

    data: ImageData
    files: Files | None
    bad: tuple[str, ...]
    names: dict[str, list[str]]
    pairs: list[Pair]
    grey: int
    mean: tuple[float, ...]
    spread: tuple[float, ...]

    @property
    def bytes(self) -> int:
        """Memory that the images take in training."""
        return sum(split.images.numel() for split in (self.data.train, self.data.test))


def inspect(options: DataOptions, progress: Progress | None = None) -> Inspection:
    """Look at all there is.

    Args:
        options: What the user said; bad files are left out and named, whatever it says of them.
        progress: Told of reading, decoding and looking.

    Raises:
        UsageError: If there is no such data set, or a setting does not fit it.
        DataError: If the data cannot be had or read.
    """
    root = folder_of(options.data)
    files = describe_files(root, progress) if root is not None else None
    data = load(replace(options, val=0, skip_bad=True), progress)
    unreadable = {text.rpartition(" (")[0] for text in data.bad}
    names: dict[str, list[str]] = {}
    if files is not None:
        good = [name for name in files.names if name not in unreadable]
        names = {split: [good[i] for i in rows] for split, rows in arrange(good).splits.items()}
        names["train"] += names.pop("val", [])  # nothing is held out here
    if progress:
        progress("comparing test and training images", 0, 0)
    pairs = nearly_same(data.train.images, data.test.images)
    mean, spread = _moments(data.train.images)
    grey = sum(_grey(split.images) for split in (data.train, data.test))
    return Inspection(data, files, data.bad, names, pairs, grey, mean, spread)


def _moments(images: Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel, in [0, 1]."""
    total = torch.zeros(2, images.shape[1], dtype=torch.float64)
    for part in torch.split(images, 4096):
        x = part.double() / 255
        total += torch.stack([x.sum((0, 2, 3)), x.square().sum((0, 2, 3))])
    mean, square = total / max(images[:, 0].numel(), 1)
    return tuple(mean.tolist()), tuple((square - mean.square()).clamp_min(0).sqrt().tolist())


def _grey(images: Tensor) -> int:
    if images.shape[1] == 1:
        return 0
    agree = [
        (part[:, 1:] == part[:, :1]).flatten(1).all(1).sum() for part in torch.split(images, 4096)
    ]
    return int(sum(agree))


def class_counts(found: Inspection) -> dict[str, int]:
    """Training images of each class, in the order of the classes."""
    labels = found.data.train.labels
    if labels is None:
        return {}
    counts = Counter(labels.tolist())
    return {name: counts[k] for k, name in enumerate(found.data.info.classes)}


def n_captioned(found: Inspection) -> int:
    """Images of all splits that have a caption."""
    texts = [split.text for split in (found.data.train, found.data.test)]
    return sum(int((text != NOTHING).any(1).sum()) for text in texts if text is not None)


def suggested(found: Inspection) -> list[str]:
    """Lines to type: models that suit these images, the likeliest first."""
    info, n = found.data.info, len(found.data.train)
    data = found.data.name if found.files is None else _quoted(found.data.name)
    large = info.height * info.width > 32 * 32
    size = " --image-size 32" if large else ""
    models = suited(
        binary=info.binary, small_grey=info.channels == 1 and not large,
        classes=info.n_classes > 1, few=n < _FEW,
    )  # fmt: skip
    return [f"gencli train {model} --data {data}{size}{own}" for model, own in models]


def _quoted(path: str) -> str:
    import shlex

    return shlex.quote(path)


def to_json(found: Inspection) -> dict[str, Any]:
    """All of it as a JSON object."""
    data, files = found.data, found.files
    document: dict[str, Any] = {
        "name": data.name,
        "shape": data.info.shape,
        "binarization": data.info.binarization,
        "splits": {"train": len(data.train), "test": len(data.test)},
        "classes": class_counts(found),
        "captions": {
            "images": n_captioned(found),
            "words": len(data.info.vocabulary),
            "length": data.info.caption_length,
        },
        "mean": found.mean,
        "spread": found.spread,
        "bytes": found.bytes,
        "grey": found.grey,
        "bad": list(found.bad),
        "near_duplicates": [
            {
                "train": name_of(found, "train", pair.first),
                "test": name_of(found, "test", pair.second),
                "correlation": round(pair.correlation, 5),
            }
            for pair in found.pairs
        ],
        "notes": list(data.notes),
        "suggested": suggested(found),
    }
    if files is not None:
        document["files"] = {
            "images": len(files.names),
            "bytes": files.bytes,
            "other": files.other,
            "formats": files.formats,
            "misnamed": files.misnamed,
            "same": [list(group) for group in files.same],
            "huge": {name: files.sizes[name] for name in files.huge},
        }
    return document


def name_of(found: Inspection, split: str, number: int) -> str:
    """A file's name, or such as test:12 in a named data set."""
    names = found.names.get(split)
    return Path(names[number]).as_posix() if names else f"{split}:{number}"
