"""One broken plug-in or one damaged run never breaks the others; one line names it."""

from __future__ import annotations

import json
import subprocess
import sys
import warnings
from dataclasses import replace
from pathlib import Path

import pytest

from gencli import plugins, registry, runs
from gencli.errors import GencliWarning
from tests.conftest import Gencli
from tests.unit.small_run import small_run

GOOD = """
from gencli.registry import MODELS
from dataclasses import replace
SPEC = replace(MODELS[0], name="{name}", aliases=(), summary="[red]Of another package")
"""
MODULES = {
    "raises": "raise RuntimeError('first line\\nsecond line')",
    "leaves": "raise SystemExit(3)",
    "imports": "import no_such_module_at_all",
    "lacks": "",
    "text": "SPEC = 'vae'",
    "taken": GOOD.format(name="vae"),
    "alias": GOOD.format(name="gmm"),
    "named": GOOD.format(name="My Model"),
    "good": GOOD.format(name="my-model"),
    "good_too": GOOD.format(name="my-model"),
}


def install(folder: Path, *names: str) -> Path:
    """Packages with an entry point each, as an installer leaves them."""
    for name in names:
        (folder / f"plug_{name}.py").write_text(MODULES[name])
        info = folder / f"plug_{name}-1.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: plug-{name}\nVersion: 1\n")
        (info / "entry_points.txt").write_text(f"[gencli.models]\n{name} = plug_{name}:SPEC\n")
    return folder


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A function that installs plug-ins and gives the names of models, and the warnings."""
    monkeypatch.syspath_prepend(tmp_path)

    def read(*names: str) -> tuple[list[str], list[str]]:
        install(tmp_path, *names)
        registry.models.cache_clear()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            found = list(registry.models())
        assert all(issubclass(warning.category, GencliWarning) for warning in caught)
        return found, [str(warning.message) for warning in caught]

    yield read
    registry.models.cache_clear()
    for name in MODULES:
        sys.modules.pop(f"plug_{name}", None)


BUILTIN = [spec.name for spec in registry.MODELS]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("raises", "RuntimeError: first line second line"),
        ("leaves", "SystemExit: 3"),
        ("imports", "no_such_module_at_all"),
        ("lacks", "AttributeError"),
        ("text", "it names a str, not a ModelSpec"),
        ("taken", "there is a model called vae already"),
        ("alias", "there is a model called gmm already"),
        ("named", "'My Model' is no name"),
    ],
)
def test_a_broken_plug_in_is_left_out_and_named(table, name: str, reason: str):
    found, told = table(name)
    assert found == BUILTIN
    assert len(told) == 1
    assert told[0].startswith(f"The plug-in {name} of plug-{name} is left out: ")
    assert reason in told[0]
    assert "\n" not in told[0]


def test_of_two_with_one_name_the_first_stays(table):
    found, told = table("good", "good_too", "raises")
    assert found == [*BUILTIN, "my-model"]
    assert len(told) == 2


@pytest.mark.parametrize(
    "change",
    [
        {"name": ""},
        {"name": 3},
        {"summary": None},
        {"aliases": ["a"]},
        {"aliases": "ab"},
        {"target": "vae.VAE"},
        {"family": "other"},
    ],
    ids=str,
)
def test_what_a_spec_holds_is_looked_at(change: dict[str, object]):
    good = replace(registry.MODELS[0], name="my-model", aliases=())
    assert plugins.fault(good, {"vae"}, registry.FAMILIES) is None
    assert plugins.fault(replace(good, **change), {"vae"}, registry.FAMILIES)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "arguments", ["list models", "train --help", "train vae --help", "info vae"]
)
def test_commands_of_the_others_go_on(arguments: str, gencli: Gencli, tmp_path: Path):
    install(tmp_path, "raises", "good")
    path = ":".join([str(tmp_path), *filter(None, [gencli.environment.get("PYTHONPATH")])])
    done = subprocess.run(
        [sys.executable, "-m", "gencli", *arguments.split()],
        capture_output=True, text=True, env=gencli.environment | {"PYTHONPATH": path}, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("warning: The plug-in raises of plug-raises is left out")
    if arguments == "list models":
        assert "[red]Of another" in done.stdout


def test_a_damaged_run_does_not_hide_the_others(home: Path):
    run = small_run()
    for name, text in {"half": '{"format": 2', "list": "[]"}.items():
        (run.path.parent / name).mkdir()
        (run.path.parent / name / "run.json").write_text(text)
    (run.path.parent / "being-made").mkdir()
    with pytest.warns(GencliWarning, match=r"The run half and 1 more cannot be read: .*half") as w:
        assert [found.name for found in runs.all_runs()] == [run.name]
    assert len(w) == 1
    with pytest.warns(GencliWarning):
        assert runs.find("vae").name == run.name
    problems = json.loads(Gencli(home)("doctor", "--json").stdout)["problems"]
    assert any("The run half and 1 more" in found["problem"] for found in problems)
    done = Gencli(home)("list", "runs")
    assert run.name in done.stdout
    assert len(done.stderr.splitlines()) == 1
