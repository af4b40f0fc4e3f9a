"""Models and data sets are known by name in their tables alone."""

from __future__ import annotations

import ast
from itertools import product
from pathlib import Path

import gencli
from gencli import kin, registry
from gencli.config import fields_of
from gencli.data import catalogue

ROOT = Path(gencli.__file__).parent
TABLES = {"registry.py", "kin.py", "data/catalogue.py", "data/sources.py"}
WORDS = {"made", "mixture", "boltzmann"}
"""Models that are words, too, or families."""

ALLOWED = {
    ("data/options.py", "glyphs"),  # the default
    ("evaluation/agreement.py", "scenes"),  # a measure of what these captions ask for
}


def test_nothing_else_names_one() -> None:
    spoken = {name for spec in registry.MODELS for name in (spec.name, *spec.aliases)} - WORDS
    spoken |= set(catalogue.names())
    found = {
        (name, node.value)
        for file in ROOT.rglob("*.py")
        if (name := file.relative_to(ROOT).as_posix()) not in TABLES
        and not name.startswith("models/")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Constant) and node.value in spoken
    }
    assert found == ALLOWED


def test_models_that_suit_data_have_the_options_that_go_with_them() -> None:
    names = ("binary", "small_grey", "classes", "few")
    for values in product((False, True), repeat=len(names)):
        models = kin.suited(**dict(zip(names, values, strict=True)))
        assert len({model for model, _ in models}) == len(models) >= 3
        for model, own in models:
            flags = {field.flag for field in fields_of(registry.find(model).options())}
            assert {word for word in own.split() if word.startswith("--")} <= flags
