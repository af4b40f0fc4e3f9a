"""A measured figure that says what it is. No torch here: reports read it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

Kind = Literal["exact", "bound", "estimate"]


@dataclass(frozen=True)
class Metric:
    """One figure.

    Attributes:
        value: The figure.
        unit: What it counts, such as "nats per image".
        kind: `exact` where it is the quantity itself, on the images stated; `bound` where the
            quantity is at most `value`; `estimate` where it was found by sampling.
        standard_error: Of `value`, in the same unit; None where it is not known.
        n: How many images it was measured on.
    """

    value: float
    unit: str
    kind: Kind
    standard_error: float | None
    n: int

    def to_json(self) -> dict[str, Any]:
        """The figure as a JSON object."""
        return asdict(self)
