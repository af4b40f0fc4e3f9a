"""Previews in the terminal: sized to it, and rewritten only where they change."""

from __future__ import annotations

import io

import pytest
import torch

from gencli.cli.frames import Style
from gencli.cli.previews import Previews
from gencli.cli.progress import LiveDisplay, PlainDisplay, SilentDisplay
from gencli.cli.region import Region
from gencli.viz.terminal import fitting
from tests.unit.test_frames import standing

IMAGES = torch.rand(64, 1, 28, 28, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("columns", "lines"), [(59, 18), (79, 24), (199, 45), (40, 10), (300, 90)])
@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 64, 64), (1, 20, 40)])
def test_a_grid_fits(columns: int, lines: int, shape: tuple[int, int, int]):
    grid = fitting(torch.rand(64, *shape), columns, lines)
    assert grid is not None
    assert grid.shape[1] <= columns
    assert grid.shape[0] <= 2 * lines
    assert grid.shape[1] > columns / 3 or grid.shape[0] > lines


def test_a_terminal_that_holds_no_image():
    assert fitting(IMAGES, 8, 20) is None
    assert fitting(IMAGES, 80, 3) is None
    few = fitting(IMAGES[:2], 200, 50)
    assert few is not None
    assert few.shape[1] == 2 * 21 + 1


def test_previews_are_lines_of_the_display():
    previews = Previews(Style())
    assert previews.lines(79, 24) == []
    previews.images = IMAGES
    lines = previews.lines(79, 24)
    assert 0 < len(lines) <= 24 - 3
    assert all("▀" in line for line in lines)
    assert previews.lines(79, 24) is lines  # drawn once
    assert len(previews.lines(79, 16)) < len(lines)
    assert previews.lines(79, 6) == []
    previews.images = 1 - IMAGES
    assert previews.lines(79, 24) != lines


def test_without_colours_there_are_shades_and_without_unicode_nothing():
    previews = Previews(Style(colour=False))
    previews.images = IMAGES
    assert set("".join(previews.lines(79, 24))) <= set(" ░▒▓█")
    previews = Previews(Style(unicode=False))
    previews.images = IMAGES
    assert previews.lines(79, 24) == []


def test_lines_that_stay_are_passed_over():
    stream = io.StringIO()
    shown = ["picture", "step 1"]
    region = Region(stream, lambda width: list(shown))
    try:
        first = stream.getvalue()
        assert "picture" in first
        shown[1] = "step 2"
        region.draw()
        second = stream.getvalue().removeprefix(first)
        assert "picture" not in second
        assert "step 2" in second
        region.draw("history\n")
        assert "picture" in stream.getvalue().removeprefix(first + second)
    finally:
        region.close()


def test_the_last_preview_stays_when_the_display_goes():
    stream = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True)

    def shown() -> str:
        return stream.buffer.getvalue().decode()  # type: ignore[attr-defined]

    for wanted in (False, True):
        display = LiveDisplay(stream)
        try:
            if wanted:
                display.show_previews()
            display.show(standing())
            display.pictures(IMAGES)
        finally:
            display.close()
        assert ("▀" in shown()) == wanted


def test_where_there_is_no_terminal_it_is_said():
    stream = io.StringIO()
    display = PlainDisplay(stream)
    display.show_previews()
    display.pictures(IMAGES)
    assert stream.getvalue().count("\n") == 1
    silent = SilentDisplay()
    silent.show_previews()
    silent.pictures(IMAGES)
