"""What a display of a training must offer, and what it is told."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Standing:
    """Where a training stands.

    Attributes:
        stage: Its name.
        step: Steps taken, of all stages.
        total_steps: Of all stages; None where only the clock decides.
        epoch: Times through the data so far, with the part of the present one.
        total_epochs: None where steps or the clock decide.
        images_per_second: Over the last few seconds of training steps; None until it is known.
        seconds: Since this session's training began.
        seconds_left: An estimate; None until there is one.
        share: Of the training that is done, in [0, 1]; of the time where the clock ends it.
        metrics: The newest losses by name, in an order that stays.
    """

    stage: str
    step: int
    total_steps: int | None
    epoch: float
    total_epochs: int | None
    images_per_second: float | None
    seconds: float
    seconds_left: float | None
    share: float | None
    metrics: Mapping[str, float]


@dataclass(frozen=True)
class Epoch:
    """An epoch that is over.

    Attributes:
        number: From 1.
        total: How many there will be; None where steps or the clock decide.
        metrics: The newest losses by name, the validation's among them.
        seconds: What it took, validation included.
    """

    number: int
    total: int | None
    metrics: Mapping[str, float]
    seconds: float


class Reporter(Protocol):
    """Shows a training to a person."""

    def show(self, standing: Standing) -> None:
        """Called every tenth of a second or so; shows as often as a person can read."""

    def epoch_ended(self, epoch: Epoch) -> None:
        """Called after every epoch."""

    def message(self, text: str) -> None:
        """One line."""

    def pictures(self, images: Tensor) -> None:
        """Called with the images (n, C, H, W) of every preview, on the CPU."""


class Silent:
    """A reporter that says nothing."""

    def show(self, standing: Standing) -> None:
        """Say nothing."""

    def epoch_ended(self, epoch: Epoch) -> None:
        """Say nothing."""

    def message(self, text: str) -> None:
        """Say nothing."""

    def pictures(self, images: Tensor) -> None:
        """Show nothing."""


class Lasting:
    """A reporter whose watcher may go away: the training goes on unwatched.

    Args:
        reporter: Shows the training as long as it can.
    """

    def __init__(self, reporter: Reporter) -> None:
        self._reporter = reporter

    def show(self, standing: Standing) -> None:
        """Show it, or nothing."""
        with suppress(OSError):
            self._reporter.show(standing)

    def epoch_ended(self, epoch: Epoch) -> None:
        """Show it, or nothing."""
        with suppress(OSError):
            self._reporter.epoch_ended(epoch)

    def message(self, text: str) -> None:
        """Show it, or nothing."""
        with suppress(OSError):
            self._reporter.message(text)

    def pictures(self, images: Tensor) -> None:
        """Show it, or nothing."""
        with suppress(OSError):
            self._reporter.pictures(images)
