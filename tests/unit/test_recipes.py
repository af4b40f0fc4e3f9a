from __future__ import annotations

from pathlib import Path

import pytest

import gencli
from gencli import recipe, registry
from gencli.cli.parameters import merge, read_toml
from gencli.config import fields_of
from gencli.data.options import DataOptions
from gencli.evaluation.results import KEYS
from gencli.training.settings import Settings

RECIPES = sorted((Path(gencli.__file__).parent / "recipes").glob("*.toml"))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_is_for_the_model_and_the_data_in_its_name(path: Path) -> None:
    source, _, toml = read_toml(path.stem)
    model = toml.pop("model")
    spec = registry.find(model)
    values = merge(
        [*fields_of(spec.options()), *fields_of(DataOptions), *fields_of(Settings)],
        toml,
        source,
        {},
    )
    data = values.get("data", "photos")  # which are in the user's own folder
    assert path.stem.startswith(f"{model}-")
    assert path.stem.endswith(f"-{data}")
    # What its comment tells one to run is the command that reads it.
    text = path.read_text(encoding="utf-8")
    assert f"gencli train {model} --config {path.stem}" in text or "evaluate" not in text


FIGURES = [r for r in map(recipe.find, recipe.names()) if r.figures is not None]
RESULTS = Path(gencli.__file__).parents[1] / "docs" / "results.md"


@pytest.mark.parametrize("known", FIGURES, ids=lambda known: known.name)
def test_figures_are_measured_by_options_that_there_are(known: recipe.Recipe) -> None:
    figures, config = known.figures, registry.find(known.model).options()
    assert figures is not None
    options = {"checkpoint", "metrics", "n", "k", "samples", "seed"}
    for own in (config.Sampling, config.Measuring):
        options |= {field.name for field in fields_of(own)}
    assert figures.evaluate.keys() <= options
    asked = str(figures.evaluate["metrics"]).split(",")
    assert {figure.metric for figure in figures.of} <= set(asked) <= set(KEYS)
    assert all(figure.error > 0 for figure in figures.of)
    assert {figure.kind for figure in figures.of} <= {"exact", "bound", "estimate"}


@pytest.mark.parametrize("known", FIGURES, ids=lambda known: known.name)
def test_the_page_of_results_has_a_recipe_s_figures(known: recipe.Recipe) -> None:
    page = RESULTS.read_text(encoding="utf-8")
    assert known.figures is not None
    for figure in known.figures.of:
        assert any(
            f"`{known.model}`" in line or f"<!-- {known.name}:" in line
            for line in page.splitlines()
            if line.startswith("|") and figure.text in line
        ), figure
    if f"<!-- {known.name}:" in page:
        for command in known.commands():
            assert f"    {command}\n" in page


def test_a_file_s_figures_and_curve_are_not_options() -> None:
    known = next(r for r in FIGURES if r.curve is not None)
    _, text, toml = read_toml(known.name)
    assert "[figures]" in text
    assert "[curve]" in text
    assert toml == known.options


CURVES = [r for r in map(recipe.find, recipe.names()) if r.curve is not None]


@pytest.mark.parametrize("known", CURVES, ids=lambda known: known.name)
def test_curves_can_be_held_against_a_training(known: recipe.Recipe) -> None:
    curve = known.curve
    assert curve is not None
    every = curve.steps[0]
    assert curve.steps == tuple(every * (i + 1) for i in range(len(curve.values)))
    assert 0 < curve.tolerance < max(map(abs, curve.values))
