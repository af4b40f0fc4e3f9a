"""The wheel and the source distribution hold what they should, and the wheel works alone."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

pytest.importorskip("hatchling", reason="building a wheel needs hatchling")

ROOT = Path(__file__).parent.parent.parent
PACKAGE = ROOT / "gencli"


def build(project: Path, kind: str, to: Path) -> Path:
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", str(to)],
        cwd=project, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (made,) = to.glob("*.whl" if kind == "wheel" else "*.tar.gz")
    return made


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(ROOT, "wheel", tmp_path_factory.mktemp("wheel"))


def contents(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if ".dist-info/" not in name}


def test_the_wheel_holds_the_package_and_nothing_else(wheel: Path):
    there = {
        path.relative_to(ROOT).as_posix()
        for path in PACKAGE.rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    assert contents(wheel) == there
    assert "gencli/py.typed" in there
    assert sum(name.startswith("gencli/recipes/") for name in there) > 5
    assert sum(name.startswith("gencli/evaluation/judges/") for name in there) >= 2
    with zipfile.ZipFile(wheel) as archive:
        (entry,) = [name for name in archive.namelist() if name.endswith("entry_points.txt")]
        assert "gencli = gencli.__main__:main" in archive.read(entry).decode()


def test_the_source_distribution_gives_the_same_wheel(wheel: Path, tmp_path: Path):
    source = build(ROOT, "sdist", tmp_path)
    with tarfile.open(source) as archive:
        archive.extractall(tmp_path / "unpacked", filter="data")
    (project,) = (tmp_path / "unpacked").iterdir()
    for name in ("pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", "tests", "docs"):
        assert (project / name).exists(), name
    assert contents(build(project, "wheel", tmp_path)) == contents(wheel)


def test_the_wheel_works_alone(wheel: Path, tmp_path: Path):
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    kept = {name: v for name, v in os.environ.items() if not name.startswith("GENCLI_")}
    code = """
import sys, gencli
from gencli.cli.app import run
from gencli.cli.parameters import read_toml
assert gencli.__file__.startswith(sys.argv[1]), gencli.__file__
assert read_toml("vae-binarized-mnist")[2]
codes = [run(words.split()) for words in ("--help", "list models", "list datasets", "info vae")]
sys.exit(codes != [0, 0, 0, 0])
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "site")],
        capture_output=True, text=True, cwd=tmp_path, timeout=120,
        env=kept | {"PYTHONPATH": str(tmp_path / "site"), "GENCLI_HOME": str(tmp_path / "home")},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
