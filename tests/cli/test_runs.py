"""`gencli runs`: renamed, removed and thinned out, and never while another process trains."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from gencli import housekeeping, loading
from gencli.atomic import discard
from gencli.cli.app import run as command
from gencli.errors import RunError, UsageError
from gencli.lock import Lock
from gencli.runs import Run, all_runs, exactly
from tests.unit.small_run import small_run


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with checkpoints of the steps 2, 3 (an epoch), 4 and 6."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GENCLI_HOME", str(tmp_path_factory.mktemp("home")))
        return small_run(steps=6, checkpoint_every=2, keep=5).path


@pytest.fixture
def a(trained: Path, home: Path) -> Run:
    shutil.copytree(trained, home / "runs" / "a")
    record = json.loads((home / "runs" / "a" / "run.json").read_text())
    (home / "runs" / "a" / "run.json").write_text(json.dumps(record | {"name": "a"}))
    return Run(home / "runs" / "a")


def said(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().err


def test_rename(a: Run, capsys: pytest.CaptureFixture[str]):
    assert command(["runs", "rename", "a", "b c"]) == 2
    assert command(["runs", "rename", "a", "a"]) == 2
    assert command(["runs", "rename", "a", "b"]) == 0
    path = Path(capsys.readouterr().out.strip())
    assert path == a.path.with_name("b")
    assert Run(path).record["name"] == "b"
    assert len(Run(path).checkpoints()) == 4
    assert not a.path.exists()
    path.with_name("empty").mkdir()
    with pytest.raises(UsageError, match="already"):
        housekeeping.rename(Run(path), "empty")
    assert [run.name for run in all_runs()] == ["b"]


def test_a_run_that_is_training_is_left_alone(a: Run, capsys: pytest.CaptureFixture[str]):
    lock = Lock(a.path)
    try:
        for arguments in (["rename", "a", "b"], ["rm", "a", "--yes"], ["prune", "a", "--yes"]):
            assert command(["runs", *arguments]) == 4
            assert "is training" in said(capsys)
    finally:
        lock.release()
    assert len(a.checkpoints()) == 4
    assert not a.path.with_name("b").exists()


def test_removing_asks_and_frees(a: Run, capsys: pytest.CaptureFixture[str]):
    (a.path / "outputs").mkdir(exist_ok=True)
    outside = a.path.parent.parent / "mine.txt"
    outside.write_text("mine")
    (a.path / "outputs" / "link").symlink_to(outside)
    assert command(["runs", "rm", "a"]) == 2  # pytest's stdin is no terminal
    assert "--yes" in said(capsys)
    assert a.path.exists()
    assert command(["runs", "rm", "a", "--yes"]) == 0
    assert "removed 1 run" in said(capsys)
    assert list(a.path.parent.iterdir()) == []
    assert outside.read_text() == "mine"
    assert command(["runs", "rm", "a", "--yes"]) == 4


def test_a_models_name_is_not_enough_to_remove(a: Run, capsys: pytest.CaptureFixture[str]):
    assert command(["runs", "rm", "vae", "--yes"]) == 2
    assert "Name the run: a" in said(capsys)
    assert command(["runs", "path", "vae"]) == 0
    assert Path(capsys.readouterr().out.strip()) == a.path.resolve()
    assert exactly(str(a.path)).path == a.path.resolve()


def test_links_are_not_followed(a: Run):
    link = a.path.with_name("link")
    link.symlink_to(a.path)
    with pytest.raises(RunError, match="link"):
        housekeeping.remove(Run(link))
    assert len(a.checkpoints()) == 4


@pytest.mark.parametrize("keep", ["best", "last", "both"])
def test_prune(a: Run, keep: str, capsys: pytest.CaptureFixture[str]):
    best, last = a.checkpoint("best").step, a.checkpoint("last").step
    expected = {"best": {best}, "last": {last}, "both": {best, last}}[keep]
    assert command(["runs", "prune", "--all", "--keep", keep, "--yes"]) == 0
    assert f"removed {4 - len(expected)} checkpoint" in said(capsys)
    assert {checkpoint.step for checkpoint in a.checkpoints()} == expected
    assert len(list((a.path / "checkpoints").iterdir())) == len(expected)
    assert command(["runs", "prune", "--yes"]) == 2


def test_nothing_goes_before_what_stays_is_whole(a: Run, capsys: pytest.CaptureFixture[str]):
    weights = a.checkpoint("last").path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    assert command(["runs", "prune", "a", "--keep", "last", "--yes"]) == 4
    assert "damaged" in said(capsys)
    assert len(a.checkpoints()) == 4


def test_list_and_show_are_those_of_list_and_info(a: Run, capsys: pytest.CaptureFixture[str]):
    assert command(["runs", "list", "--json"]) == 0
    assert [row["name"] for row in json.loads(capsys.readouterr().out)] == ["a"]
    assert command(["runs", "show", "a"]) == 0
    assert "checkpoints" in capsys.readouterr().out


@pytest.mark.parametrize("change", [{"name": None}, {"name": "other", "path": "/elsewhere"}])
def test_a_run_is_called_what_its_folder_is_called(
    a: Run, change: dict[str, str | None], capsys: pytest.CaptureFixture[str]
):
    """Whatever its record says, or does not say: it may have been copied."""
    document = json.loads((a.path / "run.json").read_text()) | change
    kept = {key: value for key, value in document.items() if value is not None}
    (a.path / "run.json").write_text(json.dumps(kept))
    assert command(["runs", "show", a.name]) == 0
    out = capsys.readouterr().out
    assert f"run          {a.name}: " in out
    assert str(a.path) in out
    assert "/elsewhere" not in out


def test_a_checkpoint_that_is_pruned_meanwhile_is_no_reason_to_fail(
    a: Run, monkeypatch: pytest.MonkeyPatch
):
    real = loading.load_model
    pruned = []

    def while_pruning(model, saved, *, ema):
        if len(pruned) < 2:  # as a training does that writes a newer one
            pruned.append(saved.step)
            discard(saved.path)
        return real(model, saved, ema=ema)

    monkeypatch.setattr(loading, "load_model", while_pruning)
    steps = [checkpoint.step for checkpoint in a.checkpoints()]
    assert loading.load(str(a.path)).step == steps[-3]
    assert pruned == steps[:-3:-1]

    def damaged(model, saved, *, ema):
        pruned.append(saved.step)
        raise RunError("It is damaged.", "Use another.")

    monkeypatch.setattr(loading, "load_model", damaged)
    with pytest.raises(RunError, match="damaged"):
        loading.load(str(a.path))
    assert len(pruned) == 3
