"""What the names of a folder's images say: which split and which class each belongs to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gencli.data.cache import Labels
from gencli.data.order import hold_out

SPLITS = {"train": "train", "test": "test", "val": "val", "valid": "val", "validation": "val"}
"""Names of folders at the top that hold splits."""

_MOST_TEST = 10_000


@dataclass(frozen=True)
class Layout:
    """The images of a folder, sorted into splits.

    Attributes:
        splits: Split -> positions in the list of names; "train" and "test", perhaps "val".
        labels: Split -> class of each of its images, for the splits that have labels.
        classes: Names of the classes.
        notes: What the user should be told.
    """

    splits: dict[str, NDArray[np.int64]]
    labels: dict[str, Labels]
    classes: tuple[str, ...]
    notes: tuple[str, ...]


def arrange(names: Sequence[str]) -> Layout:
    """Sort images into splits and classes by their names relative to the folder, `/` between parts.

    Folders `train`, `test` and `val` at the top are splits. Without a `test`, a tenth of the
    training images, at most 10,000, is held out. Classes are the folders that hold all training
    images, if they are two or more; a split whose images lie otherwise has no labels.
    """
    notes = []
    splits, inside = _split(names)
    if left_out := len(names) - sum(map(len, splits.values())):
        notes.append(f"images outside of the folders of splits were left out: {left_out}")
    classes = _classes([inside[i] for i in splits["train"]])
    if not classes and any("/" in inside[i] for i in splits["train"]):
        notes.append("the training images are not all in class folders: there are no labels")
    number = {name: k for k, name in enumerate(classes)}
    labels: dict[str, Labels] = {}
    for split, members in splits.items():
        found = [number.get(_folder(inside[i]), -1) for i in members]
        if classes and min(found) >= 0:
            labels[split] = np.array(found, np.int64)
        elif classes:
            notes.append(f"the {split} images are not all in the training classes: no labels there")
    arrays = {split: np.array(members, np.int64) for split, members in splits.items()}
    if "test" not in arrays:
        n = len(arrays["train"])
        n_test = min(_MOST_TEST, max(1, n // 10)) if n > 1 else 0
        kept, held = (part.numpy() for part in hold_out(n, n_test))
        for columns in (arrays, labels):
            if "train" in columns:
                columns["test"], columns["train"] = columns["train"][held], columns["train"][kept]
        notes.append(
            f"there is no folder of test images: {n_test} of {n}, always the same, are held out"
        )
    return Layout(arrays, labels, classes, tuple(notes))


def _split(names: Sequence[str]) -> tuple[dict[str, list[int]], dict[int, str]]:
    """Positions of each split's images, and each image's name inside its split."""
    tops = {name.partition("/")[0].lower() for name in names if "/" in name}
    kinds = {SPLITS.get(top) for top in tops}
    # A class may be called "train", but hardly beside nothing else, or beside one called "test".
    if "train" not in kinds or not (kinds == {"train"} or kinds & {"test", "val"}):
        return {"train": list(range(len(names)))}, dict(enumerate(names))
    splits: dict[str, list[int]] = {}
    inside: dict[int, str] = {}
    for i, name in enumerate(names):
        top, _, rest = name.partition("/")
        split = SPLITS.get(top.lower())
        if rest and split:
            splits.setdefault(split, []).append(i)
            inside[i] = rest
    return splits, inside


def _folder(name: str) -> str:
    """The class folder of a name of the form folder/file; "" for any other form."""
    folder, _, file = name.partition("/")
    return folder if file and "/" not in file else ""


def _classes(names: Sequence[str]) -> tuple[str, ...]:
    folders = {_folder(name) for name in names}
    if "" in folders or len(folders) < 2:
        return ()
    if all(folder.isdecimal() for folder in folders):
        return tuple(sorted(folders, key=int))
    return tuple(sorted(folders))
