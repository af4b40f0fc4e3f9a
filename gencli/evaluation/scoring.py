"""The best that a model can say of log p(x | condition), image by image."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from gencli.data.conditions import Condition
from gencli.evaluation.likelihood import N_ESTIMATE, at_once, log_mean_weight
from gencli.evaluation.results import Kind
from gencli.models.abilities import HasBound, HasEnergy, HasLogProb, HasLogWeights
from gencli.models.interface import GenerativeModel

BATCH = 250
"""Images per forward pass, where samples do not limit them."""


@dataclass(frozen=True)
class Scoring:
    """Log p(x | condition), or what there is in its place.

    Attributes:
        log_prob: Images (B, C, H, W) and their condition -> (B,) nats.
        kind: `exact`, also of an energy, which is so but for one constant.
        how: In words.
        batch_size: Images per forward pass.
    """

    log_prob: Callable[[Tensor, Condition], Tensor]
    kind: Kind
    how: str
    batch_size: int = BATCH

    def number(self, n: int | None) -> int | None:
        """How many images are measured: those asked for, or 1,000 of an estimate, all if exact."""
        return n if n is not None or self.kind == "exact" else N_ESTIMATE


def scoring_of(model: GenerativeModel, k: int, own: Mapping[str, Any]) -> Scoring | None:
    """What a model's images can be scored by; None where it has no likelihood of any kind.

    Args:
        model: In evaluation mode.
        k: Importance samples per image.
        own: Options of the model's own `Measuring`.
    """
    if isinstance(model, HasLogProb):
        return Scoring(model.log_prob, "exact", "exact log p")
    if isinstance(model, HasLogWeights):
        piece, batch = at_once(model.data.n_pixels)

        def estimate(x: Tensor, condition: Condition) -> Tensor:
            return log_mean_weight(
                lambda y, j: model.log_weights(y, j, condition), x, k, piece=piece
            )

        return Scoring(estimate, "estimate", f"log p estimated by {k} importance samples", batch)
    if isinstance(model, HasBound):
        return Scoring(lambda x, c: model.log_prob_bound(x, c, **own), "bound", "a bound on log p")
    if isinstance(model, HasEnergy):
        return Scoring(lambda x, _: -model.energy(x), "exact", "log p up to log Z")
    return None
