"""Images of another kind, in the form that a model knows: of its shape, and binarised as its data.

Another data set's colours are averaged for a model of grey images, and grey is repeated for one of
colours; squares of another size are resized. Three names stand for images that are made: `noise`,
every level of every pixel as likely as any other; `shuffled`, every pixel from a test image of its
own, so that each place is as dark as it should be and nothing else is right; and `blank`, black.
"""

from __future__ import annotations

import torch
from torch import Tensor

from gencli.data import binarize, catalogue
from gencli.data.load import load
from gencli.data.options import DataOptions
from gencli.data.spec import DataInfo
from gencli.data.splits import ImageData
from gencli.errors import UsageError
from gencli.kinds import Progress
from gencli.random import mix_seed

_MOST = 10_000  # images that are made
_BLANK = 100  # blank ones: they are all the same
_STATIC = 3  # of static draws: a number that no split of a data set has


def other_images(
    name: str, data: ImageData, progress: Progress | None = None
) -> tuple[str, Tensor]:
    """Images that are not of a data set, as it would have them.

    Args:
        name: A data set's name, which means its test split, a folder, or one of
            `catalogue.MADE`.
        data: What the model was trained on.
        progress: Told of downloads, reading and decoding.

    Returns:
        The name, or the folder's full path, and images (N, C, H, W), uint8.

    Raises:
        UsageError: If there is no such data set, or its images cannot be of the model's shape.
        DataError: If the data cannot be had or read.
    """
    info = data.info
    if name == "noise":
        stream = torch.Generator().manual_seed(mix_seed(0, 1))
        shape = (min(len(data.test), _MOST), *info.shape)
        images = torch.randint(256, shape, dtype=torch.uint8, generator=stream)
    elif name == "shuffled":
        images = shuffled(data.test.images[:_MOST])
    elif name == "blank":
        images = torch.zeros(_BLANK, *info.shape, dtype=torch.uint8)
    else:
        loaded = load(DataOptions(data=name, image_size=info.height), progress)
        parts = [loaded.test]
        if loaded.name not in catalogue.names():  # a folder, whose splits mean nothing here
            parts += [loaded.train, loaded.val]
        name, images = loaded.name, torch.cat([in_colours(part.images, info) for part in parts])
    if images.shape[1:] != info.shape:
        raise UsageError(
            f"Images of {name} have the shape {tuple(images.shape[1:])}, the model {info.shape}.",
            "Take a folder or a data set of that shape.",
        )
    return name, binarized(images, info)


def in_colours(images: Tensor, info: DataInfo) -> Tensor:
    """uint8 images (N, 1 or 3, H, W) in the number of colours that a model knows."""
    if images.shape[1] == info.channels:
        return images
    if info.channels == 1:
        return images.float().mean(1, keepdim=True).round().to(torch.uint8)
    return images.expand(-1, info.channels, -1, -1)


def binarized(images: Tensor, info: DataInfo) -> Tensor:
    """uint8 images in zeros and ones where the model's are; `dynamic` is drawn with each batch."""
    if info.binarization == "threshold":
        return binarize.threshold(images)
    return binarize.static(images, _STATIC) if info.binarization == "static" else images


def shuffled(images: Tensor) -> Tensor:
    """Every pixel's values (N, C, H, W) in an order of their own."""
    stream = torch.Generator().manual_seed(mix_seed(0, 2))
    order = torch.rand(images.shape, generator=stream).argsort(0)
    return images.gather(0, order)
