"""The table of data sets that have names. No torch here: the command line reads this."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

from gencli.errors import DataError, UsageError
from gencli.home import user_path
from gencli.kinds import Binarization, ConditionKind
from gencli.registry import nearest

_DIGITS = tuple("0123456789")


@dataclass(frozen=True)
class DatasetSpec:
    """One row of the table.

    Attributes:
        name: What the user types after `--data`.
        summary: One line for people.
        shape: (C, H, W) of an image.
        n_train: Images of the training split.
        n_test: Images of the test split.
        source: Who made it and where it is described.
        licence: Its terms.
        n_val: Images of its own validation split; 0 where it has none.
        classes: Names of the classes, in the order of the labels; empty where there are none.
        captions: Whether each image has one.
        binarization: Of a set that is binary as it comes; None for grey values and colours.
        sides: The smallest and largest side that it can be drawn at; None for sets of one size.
    """

    name: str
    summary: str
    shape: tuple[int, int, int]
    n_train: int
    n_test: int
    source: str
    licence: str
    n_val: int = 0
    classes: tuple[str, ...] = ()
    captions: bool = False
    binarization: Binarization | None = None
    sides: tuple[int, int] | None = None

    def has(self, kind: ConditionKind) -> bool:
        """Whether its images come with classes or captions; none comes with source images."""
        return {"labels": bool(self.classes), "text": self.captions, "source": False}[kind]

    def at(self, size: int | None) -> DatasetSpec:
        """The set drawn with that many pixels a side, or as nearly so as it can be."""
        if size is None or self.sides is None:
            return self
        smallest, largest = self.sides
        side = min(max(size, smallest), largest)
        return replace(self, shape=(self.shape[0], side, side))


DATASETS: tuple[DatasetSpec, ...] = (
    DatasetSpec(
        "glyphs",
        "Handwriting-like digits drawn by gencli itself; needs no network",
        (1, 28, 28),
        60_000,
        10_000,
        "Drawn by gencli",
        "MIT",
        classes=_DIGITS,
        captions=True,
    ),
    DatasetSpec(
        "scenes",
        "One to three digits in ink on coloured paper, drawn by gencli at any size; with captions",
        (3, 32, 32),
        30_000,
        5_000,
        "Drawn by gencli",
        "MIT",
        classes=_DIGITS,
        captions=True,
        sides=(28, 128),
    ),
    DatasetSpec(
        "mnist",
        "Handwritten digits",
        (1, 28, 28),
        60_000,
        10_000,
        "LeCun, Cortes and Burges 1998, http://yann.lecun.com/exdb/mnist",
        "CC BY-SA 3.0",
        classes=_DIGITS,
    ),
    DatasetSpec(
        "fashion-mnist",
        "Clothes of ten kinds, in the format of MNIST",
        (1, 28, 28),
        60_000,
        10_000,
        "Xiao, Rasul and Vollgraf 2017, arXiv:1708.07747",
        "MIT",
        classes=(
            "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
            "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
        ),
    ),
    DatasetSpec(
        "kmnist",
        "Cursive Japanese characters, in the format of MNIST",
        (1, 28, 28),
        60_000,
        10_000,
        "Clanuwat et al. 2018, arXiv:1812.01718",
        "CC BY-SA 4.0",
        classes=("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"),
    ),
    DatasetSpec(
        "cifar10",
        "Small colour photographs of ten kinds of things",
        (3, 32, 32),
        50_000,
        10_000,
        "Krizhevsky 2009, https://www.cs.toronto.edu/~kriz/cifar.html",
        "not stated",
        classes=(
            "airplane", "automobile", "bird", "cat", "deer",
            "dog", "frog", "horse", "ship", "truck",
        ),
    ),
    DatasetSpec(
        "binarized-mnist",
        "MNIST in black and white: the fixed draw that likelihoods are compared on",
        (1, 28, 28),
        50_000,
        10_000,
        "Salakhutdinov and Murray 2008; Larochelle and Murray 2011",
        "CC BY-SA 3.0",
        n_val=10_000,
        binarization="static",
    ),
)  # fmt: skip


MADE = ("noise", "shuffled", "blank")
"""What `evaluate --outliers` takes beside data sets: images that `others` makes."""


def names() -> list[str]:
    """The names of all data sets."""
    return [spec.name for spec in DATASETS]


def find(name: str) -> DatasetSpec:
    """The data set of that name.

    Raises:
        UsageError: If there is none; the cure names the nearest.
    """
    for spec in DATASETS:
        if spec.name == name:
            return spec
    near = nearest(name, names())
    hint = f"Did you mean {near}?" if near else "See `gencli list datasets`, or name a folder."
    raise UsageError(f"There is no data set or folder called {name}.", hint)


def folder_of(name: str) -> Path | None:
    """The folder that is meant, or None for the name of a data set.

    Raises:
        DataError: If a path was meant, and there is no folder.
        UsageError: If the name is empty.
    """
    if name in names():
        return None
    if not name:
        raise UsageError("--data is empty.", "Name a data set or a folder of images.")
    path = user_path(name)
    if path.is_dir():
        return path.resolve()
    if path.exists():
        raise DataError(f"{path} is not a folder.", "--data takes a folder of images, or a name.")
    separators = {os.sep, os.altsep or os.sep, "/"}
    if name.startswith(("~", ".")) or any(separator in name for separator in separators):
        raise DataError(f"There is no folder {path}.", "Check the path given as --data.")
    return None


def see_that_it_is_there(name: str) -> None:
    """See that a folder or a data set is meant, without looking into either.

    Raises:
        UsageError: If there is no such data set.
        DataError: If a path was meant, and there is no folder.
    """
    if folder_of(name) is None:
        find(name)


def fixed_binarization(name: str) -> Binarization | None:
    """The binarisation of a named set that is binary as it comes; None for everything else."""
    return next((spec.binarization for spec in DATASETS if spec.name == name), None)
