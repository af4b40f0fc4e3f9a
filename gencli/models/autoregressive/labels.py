"""How a class enters the fully connected and the convolutional models: by their biases.

    a = W x + b    becomes    a = W x + b + V y,    y the one-hot class

as in van den Oord et al. 2016 (arXiv:1606.05328, section 2.3), where each layer has a V of its own.
V is zero at first: before training all classes are alike.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gencli.data.conditions import Condition, labels_of


class LabelBiases(nn.Module):
    """A learnt vector for each class and layer, added to the layer's biases.

    Args:
        n_classes: How many classes there are.
        widths: Of the layers.
    """

    def __init__(self, n_classes: int, widths: Sequence[int]) -> None:
        super().__init__()
        self.tables = nn.ParameterList(torch.zeros(n_classes, width) for width in widths)

    def forward(self, condition: Condition) -> list[Tensor]:
        """The vectors (B, width) of the images' classes, for each layer.

        Raises:
            UsageError: If the condition names no classes.
        """
        labels = labels_of(condition)
        return [F.embedding(labels, table) for table in self.tables]


def with_labels(
    biases: Sequence[Tensor], classes: LabelBiases | None, condition: Condition
) -> list[Tensor]:
    """Biases (width,) as they are, or those of each image, (B, width), if there are classes."""
    if classes is None:
        return list(biases)
    return [bias + own for bias, own in zip(biases, classes(condition), strict=True)]
