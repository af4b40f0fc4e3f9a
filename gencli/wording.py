"""Numbers, and reasons of the system, as people read them. No torch here."""

from __future__ import annotations

import math


def reason(error: BaseException) -> str:
    """Why a file cannot be read, in words that are not Python's."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if isinstance(error, UnicodeDecodeError):
        return f"byte {error.start} is no UTF-8 text"
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    return str(error) or type(error).__name__


def shortened(text: str, most: int) -> str:
    """A text that may have any length, cut after `most` characters."""
    return text if len(text) <= most else f"{text[:most]}..."


def counted(n: int, noun: str) -> str:
    """A number and its noun, such as `1 step` or `8,600 steps`."""
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"


def readable(n: int) -> str:
    """A count in three digits or so: 812, 1.1M, 24.3M."""
    if n < 1000:
        return str(n)
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if n >= size * 0.9995:
            return f"{n / size:.3g}{letter}"
    return f"{n / 1e3:.3g}k"


def spoken(seconds: float) -> str:
    """A duration in words: `4.2 s`, `3 min 20 s`, `2 h 5 min`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = math.floor(seconds + 0.5)
    if whole < 60:
        return f"{whole} s"
    minutes, second = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {second} s"
    return f"{minutes // 60} h {minutes % 60} min"


def readable_bytes(n: float) -> str:
    """Such as 812 B, 4.1 MB or 1.2 GB."""
    for unit in ("B", "kB", "MB", "GB"):
        if n < 999.5 or unit == "GB":
            break
        n /= 1000
    return f"{n:.0f} {unit}" if unit == "B" or n >= 99.5 else f"{n:.1f} {unit}"
