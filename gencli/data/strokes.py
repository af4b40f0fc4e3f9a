"""Pen paths of handwritten digits: the skeletons that `gencli.data.glyphs` bends, inks and draws.

Every digit has several allographs, the different ways in which people write it. A path is text, so
that it can be read and edited by hand: points `x,y` on a page 100 units high (x to the right, y
down) that the pen goes through in a smooth curve; `/` makes the point before it a sharp corner and
`|` lifts the pen. A smooth run is a natural cubic spline with fixed knots, hence linear in its
control points: sampling a path, whatever happened to its points, is one product with a matrix
that is computed once.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

N_SAMPLES = 80  # points per glyph; a path is about 43 pixels long, so 0.55 pixels apart
ROUNDING = 2.5  # samples, the standard deviation of the smoothing that rounds corners


@dataclass(frozen=True)
class Allograph:
    """One way to write one digit.

    Attributes:
        digit: The class, 0 to 9.
        frequency: How common this form is among the digit's forms; they sum to one.
        adjective: What a caption calls it, empty for the usual form.
        path: The pen's path, in the notation of this module.
    """

    digit: int
    frequency: float
    adjective: str
    path: str

    @cached_property
    def runs(self) -> tuple[tuple[int, int, bool], ...]:
        """(first point, last point, pen lifted before) of every smooth run."""
        runs: list[tuple[int, int, bool]] = []
        first, n, lifted = 0, 0, True
        for token in [*self.path.split(), "|"]:
            if token not in "/|":
                n += 1
                continue
            runs.append((first, n - 1, lifted))
            lifted = token == "|"
            first = n if lifted else n - 1
        return tuple(runs)

    @cached_property
    def strokes(self) -> tuple[tuple[int, int], ...]:
        """(first point, last point) of every stroke, from pen down to pen up."""
        starts = [a for a, _, lifted in self.runs if lifted]
        return tuple(zip(starts, [*(a - 1 for a in starts[1:]), len(self.points) - 1], strict=True))

    @cached_property
    def points(self) -> Floats:
        """(P, 2) control points; x about the path's middle, y from -0.5 (top) to 0.5."""
        tokens = [token.split(",") for token in self.path.split() if token not in "/|"]
        points: Floats = np.array(tokens, dtype=np.float64) / 100 - 0.5
        points[:, 0] -= (points[:, 0].min() + points[:, 0].max()) / 2
        return points

    @cached_property
    def sampler(self) -> Floats:
        """(N_SAMPLES, P): control points to points along the path, evenly spaced."""
        lengths = np.array([self._knots(a, b)[-1] for a, b, _ in self.runs])
        counts = _apportion(lengths, N_SAMPLES)
        rows = np.zeros((N_SAMPLES, len(self.points)))
        start = 0
        for (a, b, _), count in zip(self.runs, counts, strict=True):
            knots = self._knots(a, b)
            at = np.linspace(0, knots[-1], count)
            rows[start : start + count, a : b + 1] = spline_matrix(knots, at)
            start += count
        return rows

    @cached_property
    def stroke(self) -> NDArray[np.int64]:
        """(N_SAMPLES,) which stroke, counted by pen lifts, a sample belongs to."""
        lengths = np.array([self._knots(a, b)[-1] for a, b, _ in self.runs])
        strokes = np.cumsum([lifted for _, _, lifted in self.runs]) - 1
        return np.repeat(strokes, _apportion(lengths, N_SAMPLES))

    @cached_property
    def rounded_sampler(self) -> Floats:
        """(N_SAMPLES, P): `sampler` followed by a smoothing along each stroke: round corners."""
        index = np.arange(N_SAMPLES)
        kernel = np.exp(-((index[:, None] - index) ** 2) / (2 * ROUNDING**2))
        kernel *= self.stroke[:, None] == self.stroke
        smoothed: Floats = kernel / kernel.sum(axis=1, keepdims=True)
        return smoothed @ self.sampler

    def _knots(self, a: int, b: int) -> NDArray[np.float64]:
        steps = np.diff(self.points[a : b + 1], axis=0)
        return np.concatenate([[0.0], np.cumsum(np.sqrt((steps**2).sum(axis=1)))])


def _apportion(lengths: NDArray[np.float64], total: int) -> NDArray[np.int64]:
    """Share `total` samples among runs by length; rounding is settled at the ends of the runs."""
    ends = np.rint(np.cumsum(lengths) / lengths.sum() * total).astype(np.int64)
    counts: NDArray[np.int64] = np.diff(ends, prepend=0)
    return counts


def spline_matrix(knots: NDArray[np.float64], at: NDArray[np.float64]) -> NDArray[np.float64]:
    """Natural cubic spline interpolation as a matrix.

    Args:
        knots: (P,) increasing positions of the values, P >= 2.
        at: (S,) positions to evaluate, within the knots.

    Returns:
        (S, P) matrix W: `W @ values` are the spline's values at `at`.
    """
    n = len(knots)
    h = np.diff(knots)
    # Second derivatives m = inv(system) @ slopes @ values, with m = 0 at both ends.
    system, slopes = np.eye(n), np.zeros((n, n))
    for i in range(1, n - 1):
        system[i, i - 1 : i + 2] = h[i - 1], 2 * (h[i - 1] + h[i]), h[i]
        slopes[i, i - 1 : i + 2] = 6 / h[i - 1], -6 / h[i - 1] - 6 / h[i], 6 / h[i]
    curvature = np.linalg.solve(system, slopes)
    cell = np.clip(np.searchsorted(knots, at, side="right") - 1, 0, n - 2)
    width = h[cell]
    right = (at - knots[cell]) / width
    left = 1 - right
    values = np.eye(n)
    bend = (width**2 / 6)[:, None]
    result: NDArray[np.float64] = (
        left[:, None] * values[cell]
        + right[:, None] * values[cell + 1]
        + bend * (left**3 - left)[:, None] * curvature[cell]
        + bend * (right**3 - right)[:, None] * curvature[cell + 1]
    )
    return result


ALLOGRAPHS = (
    Allograph(0, 0.40, "", "55,3 32,10 18,38 20,68 38,95 60,94 78,68 80,35 68,10 48,3"),
    Allograph(0, 0.30, "", "64,12 48,3 30,22 24,58 36,92 58,92 74,60 70,22 50,5 38,12"),
    Allograph(0, 0.26, "", "30,20 52,4 80,28 82,66 58,97 30,86 16,55 22,28 42,8"),
    Allograph(
        0, 0.04, "slashed", "55,3 32,10 18,38 20,68 38,95 60,94 78,68 80,35 68,10 48,3 | 80,8 20,94"
    ),
    Allograph(1, 0.50, "", "50,2 50,50 50,98"),
    Allograph(1, 0.18, "", "53,2 47,35 47,70 53,98"),
    Allograph(1, 0.20, "flagged", "34,24 46,13 54,2 / 54,50 54,98"),
    Allograph(1, 0.12, "footed", "30,26 42,16 52,3 / 51,50 50,95 | 26,96 50,95 76,95"),
    Allograph(2, 0.24, "", "20,26 32,8 54,4 74,18 72,40 48,66 18,94 / 45,93 84,92"),
    Allograph(
        2, 0.28, "looped", "22,24 36,6 58,4 74,20 70,44 50,68 28,90 14,88 20,76 40,80 60,92 88,90"
    ),
    Allograph(2, 0.20, "", "28,34 22,20 36,6 60,6 74,24 64,50 40,74 16,92 / 34,86 58,94 86,86"),
    Allograph(2, 0.14, "", "24,16 48,4 72,14 70,36 46,64 24,88 40,94 84,86"),
    Allograph(2, 0.14, "long-footed", "14,24 30,6 56,4 70,18 60,46 34,76 8,93 / 50,92 100,90"),
    Allograph(3, 0.42, "", "22,14 44,3 70,10 72,30 42,46 / 72,54 78,78 54,97 20,88"),
    Allograph(3, 0.28, "", "24,16 46,4 70,14 66,34 46,46 40,50 50,49 74,60 74,84 48,97 20,86"),
    Allograph(3, 0.12, "flat-topped", "22,8 50,7 74,6 / 46,42 / 74,54 78,76 54,97 22,90"),
    Allograph(
        3, 0.18, "looped", "24,14 48,3 70,14 66,34 46,48 36,47 42,41 58,50 76,68 66,92 42,97 18,86"
    ),
    Allograph(4, 0.34, "open", "26,6 22,32 18,56 / 50,56 84,52 | 70,4 66,50 62,98"),
    Allograph(4, 0.24, "open", "28,8 20,36 24,52 48,54 74,44 | 74,6 69,50 64,98"),
    Allograph(4, 0.14, "closed", "62,98 64,50 68,4 / 40,34 14,64 / 50,64 88,61"),
    Allograph(4, 0.10, "closed", "60,4 36,36 14,64 / 50,65 88,63 | 66,36 63,66 60,98"),
    Allograph(4, 0.18, "rounded", "26,8 20,38 40,54 64,42 76,6 / 70,50 64,98"),
    Allograph(5, 0.28, "", "36,6 32,26 28,46 / 50,40 74,54 74,80 50,97 20,90 | 36,7 56,6 82,4"),
    Allograph(
        5, 0.10, "long-topped", "32,14 / 24,46 52,40 68,58 62,84 36,97 8,90 | 32,14 60,8 98,3"
    ),
    Allograph(5, 0.36, "", "80,5 56,7 36,8 / 32,26 28,46 / 50,40 74,56 72,82 46,97 18,88"),
    Allograph(5, 0.26, "rounded", "80,8 54,6 36,15 34,37 54,48 74,64 66,90 40,97 16,86"),
    Allograph(6, 0.30, "", "66,3 40,24 24,56 28,86 50,97 72,84 70,62 50,55 30,68 26,80"),
    Allograph(6, 0.12, "round-bellied", "58,2 30,34 14,66 30,94 64,96 86,76 70,58 44,62 26,80"),
    Allograph(6, 0.32, "straight-backed", "58,2 40,34 27,68 34,92 56,96 72,80 64,64 46,62 28,80"),
    Allograph(6, 0.26, "curled", "76,10 56,4 32,26 20,60 28,90 54,97 76,80 70,58 46,52 24,68"),
    Allograph(7, 0.34, "", "18,11 48,10 80,8 / 62,44 50,72 42,98"),
    Allograph(7, 0.16, "crossed", "18,12 48,10 80,8 / 64,44 52,72 44,98 | 34,53 56,50 78,48"),
    Allograph(7, 0.12, "swept", "8,20 40,9 66,12 86,8 / 58,48 50,98"),
    Allograph(7, 0.18, "hooked", "20,26 22,9 / 50,10 80,8 / 60,50 48,98"),
    Allograph(7, 0.20, "rounded", "18,16 36,6 64,9 78,12 70,34 54,64 48,98"),
    Allograph(
        8, 0.44, "", "70,16 48,3 28,16 36,38 58,52 74,74 56,96 32,92 26,72 46,50 66,34 72,16"
    ),
    Allograph(
        8, 0.28, "", "50,48 28,32 32,10 52,3 70,14 68,36 50,48 28,62 24,84 46,98 72,88 74,64 50,48"
    ),
    Allograph(8, 0.28, "open", "78,8 52,5 32,18 38,40 62,56 70,80 50,97 26,84 34,62 60,42 80,14"),
    Allograph(9, 0.32, "", "72,20 54,4 30,14 24,36 42,47 64,36 74,12 / 71,50 68,98"),
    Allograph(
        9,
        0.22,
        "curly-tailed",
        "72,20 52,3 28,16 28,40 50,48 70,32 75,14 / 76,50 66,84 42,97 22,88",
    ),
    Allograph(9, 0.08, "open", "66,6 40,10 22,30 34,44 58,34 74,10 / 72,50 68,98"),
    Allograph(9, 0.38, "", "70,14 48,4 24,22 30,44 54,42 72,14 72,20 64,60 50,98"),
)
"""Every form, grouped by digit."""
