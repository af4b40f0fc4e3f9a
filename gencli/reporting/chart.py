"""Line charts as inline SVG in the page's colours; values show on hover, and are read out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from markupsafe import Markup, escape

Series = Sequence[tuple[float, float]]

_WIDTH, _HEIGHT = 640, 300
_RIGHT, _TOP, _BOTTOM = 12, 12, 44
_LABEL, _DIGIT = 34, 8
"""Room for the vertical axis's label, and for each character of its numbers."""
_MOST = 120
"""Points of a curve that can be pointed at; between them lines are straight."""


def line_chart(curves: Mapping[str, Series], x_label: str, y_label: str) -> Markup:
    """A chart of one or more curves over the same axis.

    Args:
        curves: Name -> points (x, y), all finite.
        x_label: Of the horizontal axis, with its unit.
        y_label: Of the vertical axis, with its unit.

    Returns:
        An <svg> element; empty where there are no points.
    """
    points = [point for series in curves.values() for point in series]
    if not points:
        return Markup("")
    low_x, high_x = min(x for x, _ in points), max(x for x, _ in points)
    xs = [x for x in ticks(low_x, high_x) if low_x <= x <= high_x] or [low_x]
    ys = _y_ticks(points)
    low_y, high_y = ys[0], ys[-1]
    left = _LABEL + _DIGIT * max(len(number(y)) for y in ys)

    def place(x: float, y: float) -> tuple[float, float]:
        across = (x - low_x) / (high_x - low_x) if high_x > low_x else 0.5
        up = (y - low_y) / (high_y - low_y) if high_y > low_y else 0.5
        up = min(max(up, 0.0), 1.0)  # early losses may lie above the axis
        return (
            round(left + across * (_WIDTH - left - _RIGHT), 1),
            round(_HEIGHT - _BOTTOM - up * (_HEIGHT - _TOP - _BOTTOM), 1),
        )

    parts = [
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        f'aria-label="{escape(_told(curves, x_label))}">'
    ]
    for x in xs:
        at, _ = place(x, low_y)
        parts.append(
            f'<line class="grid" x1="{at}" x2="{at}" y1="{_TOP}" y2="{_HEIGHT - _BOTTOM}"/>'
            f'<text x="{at}" y="{_HEIGHT - _BOTTOM + 16}" text-anchor="middle">{number(x)}</text>'
        )
    for y in ys:
        _, at = place(low_x, y)
        parts.append(
            f'<line class="grid" x1="{left}" x2="{_WIDTH - _RIGHT}" y1="{at}" y2="{at}"/>'
            f'<text x="{left - 6}" y="{at + 4}" text-anchor="end">{number(y)}</text>'
        )
    middle = (_TOP + _HEIGHT - _BOTTOM) / 2
    parts.append(
        f'<text class="label" x="{(left + _WIDTH - _RIGHT) / 2}" y="{_HEIGHT - 8}" '
        f'text-anchor="middle">{escape(x_label)}</text>'
        f'<text class="label" x="14" y="{middle}" text-anchor="middle" '
        f'transform="rotate(-90 14 {middle})">{escape(y_label)}</text>'
    )
    for index, (name, series) in enumerate(curves.items()):
        path = " ".join(f"{x},{y}" for x, y in (place(*point) for point in series))
        parts.append(f'<polyline class="curve c{index % 6}" points="{path}"/>')
        seen = " alone" if len(series) == 1 else ""  # a line of one point cannot be seen
        for x, y in series[:: max(len(series) // _MOST, 1)]:
            at, up = place(x, y)
            parts.append(
                f'<circle class="point c{index % 6}{seen}" cx="{at}" cy="{up}" r="5">'
                f"<title>{escape(name)} {number(y)} at {escape(x_label)} {number(x)}</title>"
                "</circle>"
            )
    return Markup("".join(parts) + "</svg>")


def _told(curves: Mapping[str, Series], x_label: str) -> str:
    """What a chart shows, for who cannot see it: the ends of each curve and its lowest point."""

    def at(point: tuple[float, float]) -> str:
        return f"{number(point[1])} at {number(point[0])}"

    parts = []
    for name, series in curves.items():
        if series:
            ends = f"first {at(series[0])}, last {at(series[-1])}"
            parts.append(f"{name}: {ends}, lowest {at(min(series, key=lambda point: point[1]))}")
    return f"{', '.join(curves)} over {x_label}. {'; '.join(parts)}"


def _y_ticks(points: Sequence[tuple[float, float]]) -> list[float]:
    """Ticks over the values but for the first steps, which would flatten the rest."""
    values = sorted(y for _, y in points)
    high = values[-1] if len(values) < 20 else values[int(0.98 * (len(values) - 1))]
    return ticks(values[0], high)


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round numbers that enclose a range, evenly spaced."""
    if not high > low:
        span = abs(low) or 1.0
        return ticks(low - span / 2, low + span / 2, about)
    raw = (high - low) / about
    size = 10.0 ** math.floor(math.log10(raw))
    step = next(m * size for m in (1, 2, 2.5, 5, 10) if m * size >= raw * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(i * step, 12) for i in range(first, last + 1)]


def number(value: float) -> str:
    """A number in a few digits."""
    if value == int(value) and abs(value) < 1e7:
        return f"{int(value):,}"
    return f"{value:.5g}"
