"""How often each pixel is on: where biases start, so that no weight is spent on it."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor


def base_rates(images: Iterable[Tensor]) -> tuple[Tensor, Tensor]:
    """The mean (D,) and the variance (D,) of each pixel over flat images, batches (B, D).

    In the mean are half an image each of black and white: a constant pixel keeps a finite bias.
    """
    n, total, squares = 0, torch.zeros(()), torch.zeros(())
    for x in images:
        n, total, squares = n + len(x), total + x.sum(0), squares + x.square().sum(0)
    return (total + 0.5) / (n + 1), squares / n - (total / n).square()
