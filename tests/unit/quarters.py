"""A labelled data set that a classifier learns in a second: the class is a bright quarter."""

from __future__ import annotations

import torch

from gencli.data.spec import DataInfo
from gencli.data.splits import ImageData, Split
from gencli.kinds import Binarization


def split(
    n: int, *, channels: int = 1, size: int = 12, seed: int = 0, labelled: bool = True
) -> Split:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 4, (n,), generator=generator)
    images = torch.randint(0, 120, (n, channels, size, size), generator=generator)
    half = size // 2
    for i, label in enumerate(labels.tolist()):
        row, column = divmod(label, 2)
        images[i, :, row * half :, column * half :][:, :half, :half] += 100
    return Split(images.to(torch.uint8), labels if labelled else None)


def data(
    *,
    n_train: int = 400,
    n_val: int = 100,
    n_test: int = 200,
    channels: int = 1,
    size: int = 12,
    binarization: Binarization = "none",
    labelled: bool = True,
    fingerprint: str = "quarters",
) -> ImageData:
    info = DataInfo(channels, size, size, tuple("abcd") if labelled else (), binarization)
    train, val, test = (
        split(n, channels=channels, size=size, seed=seed, labelled=labelled)
        for seed, n in enumerate((n_train, n_val, n_test))
    )
    return ImageData("quarters", info, train, val, test, fingerprint)
