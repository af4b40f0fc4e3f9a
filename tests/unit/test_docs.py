from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from gencli import registry
from gencli.config import fields_of


@pytest.fixture(scope="module")
def docs() -> ModuleType:
    path = Path(__file__).parents[2] / "docs" / "generate.py"
    spec = importlib.util.spec_from_file_location("generate", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_generated_pages_are_up_to_date(docs: ModuleType) -> None:
    assert docs.stale_pages() == [], "run python docs/generate.py"


def test_rows_of_recipes_are_in_step(docs: ModuleType) -> None:
    assert docs.results() == (docs.DOCS / "results.md").read_text(encoding="utf-8")


def test_a_row_of_a_recipe_is_written_anew(
    docs: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "| a | b |\n| old <!-- rbm-binarized-mnist:nll_estimate --> |\n| by hand |\n"
    (tmp_path / "results.md").write_text(text, encoding="utf-8")
    monkeypatch.setattr(docs, "DOCS", tmp_path)
    monkeypatch.setattr(docs, "PAGES", {"results.md": docs.results})
    assert docs.main(["--check"]) == 1
    assert docs.main([]) == 0
    assert docs.main(["--check"]) == 0
    first, row, last = (tmp_path / "results.md").read_text(encoding="utf-8").splitlines()
    assert (first, last) == ("| a | b |", "| by hand |")
    assert "| 85.79 ± 0.23 | `nll_estimate`, AIS: 500 chains" in row
    assert "86.34 (by AIS, 500 units, CD-25; Salakhutdinov and Murray 2008)" in row


def test_a_stale_or_missing_page_fails_the_check(
    docs: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = tmp_path / "models.md"
    monkeypatch.setattr(docs, "DOCS", tmp_path)
    monkeypatch.setattr(docs, "PAGES", {"models.md": docs.models_page})
    assert docs.main(["--check"]) == 1
    assert docs.main([]) == 0
    assert docs.main(["--check"]) == 0
    page.write_text(page.read_text() + "x")
    assert docs.main(["--check"]) == 1


def test_another_typer_is_told_apart_from_a_stale_page(
    docs: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(docs, "DOCS", tmp_path)
    monkeypatch.setattr(docs, "PAGES", {"reference.md": docs.reference})
    (tmp_path / "reference.md").write_text(docs.NOTE.format(typer="0.0.1") + "anything")
    assert docs.stale_pages() == []


def test_every_option_of_every_model_is_on_the_page(docs: ModuleType) -> None:
    page = docs.models_page()
    for spec in registry.models().values():
        section = page.partition(f"\n## {spec.name}\n")[2].partition("\n## ")[0]
        for field in fields_of(spec.options()):
            assert f"`{field.flag}`" in section
            assert field.help.replace("|", r"\|") in section


HELP = """
 Usage: gencli [OPTIONS]

 What it does.

╭─ Options ──────────────╮
│ --help   Show this │
╰────────────────────────╯
╭─ Options of x ─────────╮
│ --deep   Deeper.   │
│          Twice.    │
╰────────────────────────╯
╭─ Commands ─────────────╮
│ train    Trains;   │
│          prints.   │
│ list     Lists.    │
╰────────────────────────╯
"""


def test_help_is_read(docs: ModuleType) -> None:
    text = docs.without_boxes(HELP)
    assert not set("╭╮╰╯│─") & set(text)
    assert text.startswith("Usage: gencli [OPTIONS]\n\nWhat it does.\n\nOptions:\n  --help")
    assert docs.commands_in(text) == ["train", "list"]
    assert docs.own_options(text).split() == ["Options", "of", "x:", "--deep", "Deeper.", "Twice."]


def test_markdown(docs: ModuleType) -> None:
    assert docs.table(("a", "b"), [("x|y", "z")]) == "| a | b |\n| --- | --- |\n| x\\|y | z |\n"
    assert docs.linked("see arXiv:1312.6114.") == (
        "see [arXiv:1312.6114](https://arxiv.org/abs/1312.6114)."
    )
