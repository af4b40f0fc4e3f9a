"""What a model is told beside an image: its class, its caption, another image.

Here, in the models and in one place of the command line the kinds have names, and in what is of one
kind by its nature, such as a measure of translations. Training passes a `Condition` on as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from gencli.data.spec import DataInfo
from gencli.errors import UsageError
from gencli.kinds import ConditionKind


@dataclass(frozen=True, slots=True)
class Condition:
    """Conditions of B images, each kind None where there is none.

    Attributes:
        labels: Classes (B,), int64.
        text: Captions as tokens (B, L), int64; 0 is nothing, 1 an unknown word.
        source: Images (B, C', H', W') in [0, 1].
    """

    labels: Tensor | None = None
    text: Tensor | None = None
    source: Tensor | None = None

    @property
    def nothing(self) -> bool:
        """Whether there is none of any kind."""
        return self.labels is None and self.text is None and self.source is None

    def map(self, change: Callable[[Tensor], Tensor]) -> Condition:
        """The condition with every tensor that is there changed."""
        labels, text, source = (
            None if t is None else change(t) for t in (self.labels, self.text, self.source)
        )
        return Condition(labels, text, source)

    def rows(self, which: Tensor | slice) -> Condition:
        """The conditions of some of the images."""
        return self.map(lambda t: t[which])

    def followed_by(self, other: Condition) -> Condition:
        """The conditions of these images and then of others; kinds that both have."""
        pairs = (self.labels, other.labels), (self.text, other.text), (self.source, other.source)
        labels, text, source = (
            None if a is None or b is None else torch.cat([a, b]) for a, b in pairs
        )
        return Condition(labels, text, source)

    def to(self, device: torch.device | str) -> Condition:
        """The same on a device."""
        return self.map(lambda t: t.to(device))

    def only(self, kinds: Collection[ConditionKind]) -> Condition:
        """The same without other kinds than these."""
        return Condition(
            self.labels if "labels" in kinds else None,
            self.text if "text" in kinds else None,
            self.source if "source" in kinds else None,
        )


NOTHING = Condition()
"""No condition at all."""


class Batch(NamedTuple):
    """Images (B, C, H, W), float in [0, 1] (0 or 1 when binarised), and what is known of them."""

    images: Tensor
    condition: Condition = NOTHING


def labels_of(condition: Condition) -> Tensor:
    """The classes (B,) that a model of p(x | class) is told.

    Raises:
        UsageError: If there are none.
    """
    if condition.labels is None:
        raise UsageError("This model needs labels.", "Give it with the condition.")
    return condition.labels


def source_of(condition: Condition) -> Tensor:
    """The source images (B, C', H', W') that a model that translates is told.

    Raises:
        UsageError: If there are none.
    """
    if condition.source is None:
        raise UsageError("This model needs source images.", "Give them with the condition.")
    return condition.source


def text_of(condition: Condition) -> Tensor:
    """The captions (B, L), as tokens, that a model of p(x | caption) is told.

    Raises:
        UsageError: If there are none.
    """
    if condition.text is None:
        raise UsageError("This model needs text.", "Give it with the condition.")
    return condition.text


def in_turn(
    info: DataInfo, kinds: Collection[ConditionKind], n: int, known: Condition = NOTHING
) -> Condition:
    """Conditions for `n` images that nothing particular is asked of.

    With `known` images (of a test split, say) theirs are taken, over and over where they are few.
    Classes alone are taken in turn, so that each comes equally often. Captions are empty and a
    source image is grey where nothing is known.

    Args:
        info: What the data are.
        kinds: What the model takes.
        n: How many.
        known: Conditions of images of the data, any number of rows.
    """
    known = known.only(kinds)
    if "text" in kinds or "source" in kinds:
        there = next((t for t in (known.text, known.source) if t is not None), None)
        if there is not None and len(there):
            return known.rows(torch.arange(n, device=there.device) % len(there))
    return Condition(
        torch.arange(n) % max(info.n_classes, 1),
        torch.zeros(n, max(info.caption_length, 1), dtype=torch.int64),
        torch.tensor(0.5).expand(n, *info.source_shape),
    ).only(kinds)


def checked(condition: Condition, info: DataInfo, kinds: Collection[ConditionKind], n: int) -> None:
    """See that a condition is one for `n` images that a model can be told.

    Raises:
        UsageError: If it has kinds that the model does not take or lacks some that it does, or
            shapes, classes or tokens that there are not.
    """
    if not isinstance(condition, Condition):
        raise UsageError(f"{condition!r} is no condition.", "Give a Condition, with a tensor.")
    given = {"labels": condition.labels, "text": condition.text, "source": condition.source}
    for kind, tensor in given.items():
        if tensor is not None and kind not in kinds:
            raise UsageError(f"This model takes no {kind}.", "Leave it out, or take another model.")
        if tensor is None and kind in kinds:
            raise UsageError(f"This model needs {kind}.", "Give it with the condition.")
        if tensor is not None and len(tensor) != n:
            raise UsageError(f"{len(tensor)} {kind} do not fit {n} images.", "Give one for each.")
    labels, text, source = condition.labels, condition.text, condition.source
    for kind, tensor in (("labels", labels), ("text", text)):
        if tensor is not None and (tensor.is_floating_point() or tensor.is_complex()):
            raise UsageError(f"{kind} are whole numbers.", f"These are {tensor.dtype}.")
    if (
        labels is not None
        and n
        and not 0 <= int(labels.min()) <= int(labels.max()) < info.n_classes
    ):
        last = info.n_classes - 1
        raise UsageError("There is no such class.", f"The classes are numbered 0 to {last}.")
    if text is not None:
        length = max(info.caption_length, 1)
        if text.shape[1:] != (length,):
            raise UsageError(
                f"Captions of {'x'.join(map(str, text.shape[1:]))} tokens do not fit.",
                f"This model takes {length}; 0 is nothing.",
            )
        if n and not 0 <= int(text.min()) <= int(text.max()) < info.n_tokens:
            raise UsageError(
                "There is no such token.", f"The tokens are numbered 0 to {info.n_tokens - 1}."
            )
    if source is not None and source.shape[1:] != info.source_shape:
        raise UsageError(
            f"A source image of shape {tuple(source.shape[1:])} does not fit.",
            f"This model takes {info.source_shape}.",
        )
