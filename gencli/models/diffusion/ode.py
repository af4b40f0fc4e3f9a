"""Solvers of dx/dt = v(x, t): Euler's method, and two of second order that ask v twice in a step.

With k_1 = v(x, t) and k_2 = v(x + c h k_1, t + c h), a step of length h is

    x + h k_1,    or    x + h ((1 - 1 / 2c) k_1 + k_2 / 2c),

where c = 1/2 is the midpoint method and c = 1 that of Heun. h is negative where times fall.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

from torch import Tensor

Velocity = Callable[[Tensor, float], Tensor]
"""x (n, ...) and a time -> dx/dt (n, ...)."""

OnStep = Callable[[int, int, Tensor], None]
"""Called after each step with its number, from 1, how many there are, and x then."""

SOLVERS: dict[str, float | None] = {"euler": None, "midpoint": 0.5, "heun": 1.0}
"""The c of each; Euler's method has none."""


def integrate(
    velocity: Velocity,
    x: Tensor,
    times: Sequence[float],
    *,
    solver: str,
    on_step: OnStep | None = None,
) -> Tensor:
    """Carry x (n, ...) from `times[0]` to `times[-1]`, a step between each two.

    Args:
        velocity: The model.
        x: Where it begins.
        times: Rising or falling.
        solver: Of `SOLVERS`.
        on_step: Called after each step.
    """
    c = SOLVERS[solver]
    for i, (t, s) in enumerate(pairwise(times), 1):
        h, slope = s - t, velocity(x, t)
        if c is not None:
            ahead = velocity(x + c * h * slope, t + c * h)
            slope = slope + (ahead - slope) / (2 * c)
        x = x + h * slope
        if on_step:
            on_step(i, len(times) - 1, x)
    return x
