"""Help and lists at 60 columns: no name is cut, no line is too long; wider ones have more."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from gencli import registry
from gencli.config import fields_of
from gencli.data import catalogue
from tests.conftest import Gencli

ON_A_TERMINAL = """
import os, sys
os.environ["COLUMNS"] = sys.argv[1]
os.environ["NO_COLOR"] = "1"
sys.stdout.isatty = lambda: True
from gencli.cli.app import run
for words in sys.argv[2:]:
    print("==", words)
    run(words.split())
"""
HELPS = [
    "--help",
    "train --help",
    "train vae --help",
    *(f"{verb} --help" for verb in ("sample", "interpolate", "evaluate", "export", "list")),
]


def shown(width: int, gencli: Gencli, *commands: str) -> dict[str, str]:
    """Each command's output, as a terminal so wide would show it."""
    done = subprocess.run(
        [sys.executable, "-c", ON_A_TERMINAL, str(width), *commands],
        capture_output=True, text=True, env=gencli.environment, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    parts = re.split(r"^== (.*)\n", done.stdout, flags=re.MULTILINE)[1:]
    styles = re.compile(r"\x1b\[[0-9;]*m")
    return {
        words: styles.sub("", text) for words, text in zip(parts[::2], parts[1::2], strict=True)
    }


@pytest.mark.parametrize("width", [60, pytest.param(80, marks=pytest.mark.slow)])
def test_help_cuts_no_name(width: int, gencli: Gencli):
    wide = shown(200, gencli, *HELPS)
    own = {  # of models, whose other options are those of the first
        f"train {spec.name} --help": {field.flag for field in fields_of(spec.options())}
        for spec in registry.MODELS
    }
    for words, text in shown(width, gencli, *dict.fromkeys([*HELPS, *own])).items():
        assert "…" not in text, words
        assert max(map(len, text.splitlines())) <= width, words
        flags = own.get(words, set())
        if words in wide:
            flags = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", wide[words]))
            assert len(flags) > 1 or words == "train --help", words
        missing = {flag for flag in flags if flag not in text}
        assert not missing, f"{words}: {missing}"
        assert "[dim]" not in text
        assert not re.search(r"[a-z]\.\.\.$", text, re.MULTILINE), words


@pytest.mark.parametrize("width", [60, 80, 100, 200])
def test_lists_fit(width: int, gencli: Gencli):
    texts = shown(width, gencli, "list models", "list datasets")
    for text in texts.values():
        assert "…" not in text
        assert max(map(len, text.splitlines())) <= width
    for spec in registry.MODELS:
        assert re.search(rf"^  {spec.name} ", texts["list models"], re.MULTILINE)
        assert spec.summary.split()[0] in texts["list models"]
    for entry in catalogue.DATASETS:
        assert re.search(rf"^{entry.name} ", texts["list datasets"], re.MULTILINE)
    assert ("arXiv:1312.6114" in texts["list models"]) == (width >= 100)


def test_models_are_listed_by_family(gencli: Gencli):
    lines = shown(100, gencli, "list models")["list models"].splitlines()[1:]
    family, found = "", {}
    for line in lines:
        if re.match(r"[a-z]", line):
            family = line.strip()
        elif match := re.match(r"  ([a-z][a-z0-9-]*) ", line):
            found[match[1]] = family
    assert found == {spec.name: spec.family for spec in registry.MODELS}
