"""What a display of a training must offer, and what it is told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Standing:
    """Where a training stands."""

    stage: str
    step: int
    total_steps: int | None
    epoch: float
    images_per_second: float
    seconds_left: float | None
    metrics: Mapping[str, float]


class Reporter(Protocol):
    """Shows a training to a person."""

    def show(self, standing: Standing) -> None:
        """Called after every step; shows as often as a person can read."""

    def message(self, text: str) -> None:
        """One line."""


class Silent:
    """A reporter that says nothing."""

    def show(self, standing: Standing) -> None:
        """Say nothing."""

    def message(self, text: str) -> None:
        """Say nothing."""
