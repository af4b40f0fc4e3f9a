"""The lowest lines of a terminal, rewritten in place.

rich's `Live` counts its lines as they were written. When a terminal becomes narrower it breaks them
into more rows, and what `Live` then rewrites leaves the rest standing; here the rows are counted at
the width that the terminal has now. Each frame is one write, so that nothing flickers.
"""

from __future__ import annotations

import math
import os
import re
import shutil
import threading
from collections.abc import Callable
from typing import TextIO

from rich.cells import cell_len

FRAME_SECONDS = 0.2
_STYLE = re.compile(r"\x1b\[[0-9;]*m")
_CLEAR_LINE, _CLEAR_BELOW = "\x1b[K", "\x1b[J"


class Region:
    """Redraws its lines five times a second until it is closed; other lines go above it.

    A terminal that is written to in vain is left alone: a training does not end for its display.

    Args:
        stream: A terminal.
        frame: Width in cells -> the lines to show, none of them wider.
    """

    def __init__(self, stream: TextIO, frame: Callable[[int], list[str]]) -> None:
        self._stream, self._frame = stream, frame
        self._lines: list[str] = []  # those that stand there
        self._widths: list[int] = []  # theirs, in cells
        self._drawn_at = 0
        self._lock, self._closed = threading.RLock(), threading.Event()
        self.draw()
        self._thread = threading.Thread(target=self._refresh, name="display", daemon=True)
        self._thread.start()

    @property
    def width(self) -> int:
        """Cells that a line may take: the last column stays free, where some terminals wrap."""
        return max(self._size().columns - 1, 1)

    @property
    def height(self) -> int:
        """Lines of the terminal."""
        return self._size().lines

    def draw(self, above: str = "") -> None:
        """Draw the frame anew, below lines that are to stay.

        Args:
            above: Ends with a line feed where there is any.
        """
        with self._lock:
            if not self._closed.is_set():
                self._put(above, self._frame(self.width))

    def close(self) -> None:
        """Take the region off the screen, for good."""
        with self._lock:
            if not self._closed.is_set():
                self._put("", [])
                self._closed.set()

    def _refresh(self) -> None:
        while not self._closed.wait(FRAME_SECONDS):
            self.draw()

    def _put(self, above: str, lines: list[str]) -> None:
        columns = self._size().columns
        rows = sum(max(1, math.ceil(width / columns)) for width in self._widths)
        back = f"\x1b[{rows}A" if rows else ""
        if columns != self._drawn_at:  # rows that the terminal has broken are still one line to it
            back, self._drawn_at = f"{back}\r{_CLEAR_BELOW}", columns
            self._lines = []
        shown = above.replace("\n", f"{_CLEAR_LINE}\n")
        stand = [] if above else self._lines  # lines that stay where they are are passed over
        for i, line in enumerate(lines):
            same = i < len(stand) and stand[i] == line
            shown += "\n" if same else f"{line}{_CLEAR_LINE}\n"
        self._lines = lines
        self._widths = [cell_len(_STYLE.sub("", line)) for line in lines]
        try:
            self._stream.write(f"\r{back}{shown}{_CLEAR_BELOW}")
            self._stream.flush()
        except (OSError, ValueError):  # the terminal is gone, or the stream was closed
            self._closed.set()

    def _size(self) -> os.terminal_size:
        try:
            size = os.get_terminal_size(self._stream.fileno())
            return size if all(size) else os.terminal_size((80, 24))
        except (OSError, ValueError):
            return shutil.get_terminal_size()
