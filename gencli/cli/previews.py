"""The images of a training's previews as lines of its display, sized to the terminal."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from gencli.cli.frames import Style

_TO_SPARE = 3
"""Lines of the terminal that are left to history."""


class Previews:
    """The newest preview, drawn once for each size of the terminal.

    Args:
        style: Of the terminal; without its characters nothing is shown.

    Attributes:
        images: (n, C, H, W) in [0, 1]; None until there is a preview.
    """

    def __init__(self, style: Style) -> None:
        self.images: Tensor | None = None
        self._style = style
        self._drawn: tuple[Tensor, int, int] | None = None
        self._lines: list[str] = []

    def lines(self, width: int, height: int) -> list[str]:
        """The preview in lines of at most `width` cells, at most `height` of them."""
        if self.images is None or not self._style.unicode:
            return []
        wanted = (self.images, width, height)
        if self._drawn is None or self._drawn[0] is not wanted[0] or self._drawn[1:] != wanted[1:]:
            self._drawn, self._lines = wanted, self._draw(self.images, width, height - _TO_SPARE)
        return self._lines

    def _draw(self, images: Tensor, width: int, height: int) -> list[str]:
        from rich.console import Console

        from gencli.viz.terminal import fitting, half_blocks

        grid = fitting(images, width, height) if height > 0 else None
        if grid is None:
            return []
        out = io.StringIO()
        console = Console(
            file=out, force_terminal=True, width=width + 1, no_color=not self._style.colour,
            color_system="auto" if self._style.colour else None, legacy_windows=False,
        )  # fmt: skip
        console.print(half_blocks(grid, console), end="")
        return out.getvalue().rstrip("\n").split("\n")
