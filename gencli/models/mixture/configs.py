"""Options of mixture models, without torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from gencli.config import ClassConditional, Enough, Training, option


@dataclass(frozen=True)
class MixtureConfig(ClassConditional):
    """Options of `mixture`."""

    training: ClassVar[Training] = Training(epochs=25, batch_size=500, binarize="dynamic")
    enough: ClassVar[Enough | None] = None

    components: int = option(200, "Components; with --conditional, of each class.", min=1)
    kind: Literal["auto", "bernoulli", "gaussian"] = option(
        "auto", "Of what; auto is Bernoullis for binary data and Gaussians otherwise."
    )
    smoothing: float = option(1.0, "Pseudo-images added to every component.", min=0)
    variance_floor: float = option(1e-3, "Least variance of a pixel, for Gaussians.", min=1e-8)
    seeds: int = option(10000, "Images among which k-means++ chooses its starts.", min=1)
