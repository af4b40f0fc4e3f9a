"""Files that the command line reads itself, settings and captions: damaged, endless, or none."""

from __future__ import annotations

from pathlib import Path

import pytest

from gencli.cli import conditions
from gencli.cli.parameters import read_toml
from gencli.errors import DataError, GencliError, UsageError

pytestmark = pytest.mark.reliability("faults injected")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"\xff\xfe", "byte 0 is no UTF-8 text"),
        (b"lr = ", "cannot be read"),
        (b"a = " + b"[" * 100_000, "nested too deeply"),
        (b"# " * (1 << 20), "too long"),
    ],
    ids=["bytes", "half", "deep", "long"],
)
def test_settings_that_are_none(content: bytes, problem: str, tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_bytes(content)
    with pytest.raises(UsageError, match=problem) as refused:
        read_toml(str(tmp_path / "x.toml"))
    assert "codec" not in refused.value.problem


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"\xff\xfe", "byte 0 is no UTF-8 text"),
        (b"", "no lines"),
        (b"a\n" * 100_001, "100,001 lines"),
        (b"a" * (1 << 24) + b"\n", "more than 16.8 MB"),
    ],
    ids=["bytes", "empty", "many", "long"],
)
def test_captions_that_are_none(content: bytes, problem: str, tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_bytes(content)
    with pytest.raises(GencliError, match=problem):
        conditions._lines(str(tmp_path / "x.txt"))


@pytest.mark.parametrize(
    ("name", "problem"),
    [("nowhere.txt", "No such file"), (".", "Is a directory"), ("/dev/zero", "more than 16.8 MB")],
)
def test_places_without_captions(name: str, problem: str, tmp_path: Path, monkeypatch) -> None:
    if name.startswith("/") and not Path(name).exists():
        pytest.skip(f"there is no {name}, which would go on for ever")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=problem) as refused:
        conditions._lines(name)
    assert "Errno" not in refused.value.problem


def test_captions_are_lines(tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_bytes("a sévén \r\n\ntwo".encode())
    assert conditions._lines(str(tmp_path / "x.txt")) == ["a sévén", "", "two"]
