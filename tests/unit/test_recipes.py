from __future__ import annotations

from pathlib import Path

import pytest

import gencli
from gencli import registry
from gencli.cli.parameters import merge, read_toml
from gencli.config import fields_of
from gencli.data.options import DataOptions
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
    assert path.stem.startswith(f"{model}-")
    assert path.stem.endswith(f"-{values['data']}")
    # What its comment tells one to run is the command that reads it.
    text = path.read_text(encoding="utf-8")
    assert f"gencli train {model} --config {path.stem}" in text or "evaluate" not in text
