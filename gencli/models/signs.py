"""What a model says of its own logged figures: values that, where they stay, mean trouble."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Sign:
    """A sign of trouble in the figures that a model logs beside its losses.

    Attributes:
        trouble: What it means, for a person.
        cure: What to try.
        figures: Names of those that it is read off.
        measure: Their means over the updates between two lines of metrics.jsonl -> a number.
        least: The number from which on it is trouble; where `of_largest`, relative to the largest
            that there was in the run.
        of_largest: For figures without a scale of their own.
        lasting: Updates in a row for which it must hold before anything is said.
    """

    trouble: str
    cure: str
    figures: tuple[str, ...]
    measure: Callable[[Mapping[str, float]], float]
    least: float
    of_largest: bool = False
    lasting: int = 1_000
