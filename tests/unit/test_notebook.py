"""The notebook of the documentation runs from top to bottom."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from gencli.comparison import Table
from gencli.data import glyphs

NOTEBOOK = Path(__file__).parents[2] / "docs" / "gencli.ipynb"


@pytest.fixture(scope="module")
def cells() -> list[dict[str, Any]]:
    document = json.loads(NOTEBOOK.read_text())
    assert document["nbformat"] == 4
    return document["cells"]


def test_it_is_kept_without_outputs(cells: list[dict[str, Any]]):
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert len(code) > 5
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)


def test_it_runs(
    cells: list[dict[str, Any]], home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """On fewer glyphs, and for fewer of them shorter."""
    monkeypatch.setattr(glyphs, "SPLITS", {"train": (5_600, 1601), "test": (400, 1602)})
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for number, cell in enumerate(cells):
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), f"cell {number}", "exec"), names)
    assert isinstance(names["show"](names["images"]), Image.Image)
    assert isinstance(names["table"], Table)
    assert (tmp_path / "report.html").stat().st_size > 10_000
