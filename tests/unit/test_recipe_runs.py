"""Recipes trained whole, and their first steps against a recorded curve."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
from pathlib import Path

import pytest

from gencli import curves, housekeeping, recipe, recipe_runs, runs
from gencli.cli.app import run as command
from gencli.training.reporter import Silent

RECIPE = """\
model = "made"
data = "{data}"
binarize = "threshold"
hidden = [30]
batch_size = 20
epochs = 4
lr = 0.01
sample_every = 0

[figures]
title = "`made`"
training = "4 epochs"
seconds = 3
weights = "raw"
reads = 1
evaluate = {{ checkpoint = "best", metrics = "nll", batch_size = 50 }}

[[figures.of]]
metric = "nll"
value = 300.0
error = {error}
kind = "exact"

[[figures.of.published]]
value = 299
source = "Nobody 2000"
note = "one mask"
"""


@pytest.fixture
def small(home: Path, image_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of recipes with one in it, for a few images; its figure has a large error."""
    folder = tmp_path / "recipes"
    folder.mkdir()
    text = RECIPE.format(data=image_folder, error="1000.5")
    (folder / "small.toml").write_text(text, encoding="utf-8")
    monkeypatch.setattr(recipe, "FOLDER", folder)
    return folder


def losses(seed: int) -> tuple[float, ...]:
    trainer, found = recipe_runs.first_losses(
        recipe.find("small"), 8, 2, reporter=Silent(), seed=seed
    )
    housekeeping.remove(trainer.run)
    name, values = curves.main_loss(found) or ("", [])
    assert name == "loss"
    return tuple(values)


def test_first_losses_are_a_training_s(small: Path) -> None:
    values = losses(0)
    assert len(values) == 4
    assert values == losses(0) != losses(1)
    run, *_ = recipe_runs._start(recipe.find("small"), {"log_every": 2}, None, Silent(), None)
    whole = dict(curves.curves(run)["loss"])
    assert values == tuple(whole[step] for step in (2, 4, 6, 8))


def test_quick_tells_another_training(small: Path, capfd: pytest.CaptureFixture[str]) -> None:
    values = losses(0)
    path = small / "small.toml"
    table = f'\n[curve]\nloss = "loss"\nsteps = [2, 4, 6, 8]\nvalues = {list(values)}\n'
    path.write_text(path.read_text() + table + "tolerance = 4\n")
    before = runs.all_runs()
    assert command(["reproduce", "small", "--quick", "--json", "-q"]) == 0
    assert json.loads(capfd.readouterr().out)[0]["passed"]
    assert runs.all_runs() == before
    path.write_text(path.read_text().replace("lr = 0.01", "lr = 0.002"))
    assert command(["reproduce", "small", "--quick", "-q"]) == 1
    out, err = capfd.readouterr()
    assert "fail" in out
    assert "error: Not on the recorded curve: small." in err
    assert len(runs.all_runs()) == len(before) + 1


def test_figures_beside_the_recorded_and_the_published_ones(
    small: Path, image_folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert command(["reproduce", "small", "--json", "--name", "mine", "-q"]) == 0
    told = json.loads(capfd.readouterr().out)
    assert told["passed"]
    assert Path(told["run"]).name == "mine"
    assert 0 < told["figures"][0]["value"] < 784
    evaluation = next((Path(told["run"]) / "evaluations").iterdir())
    assert json.loads(evaluation.read_text())["settings"]["batch_size"] == 50
    wrong = RECIPE.format(data=image_folder, error="0.1")
    (small / "small.toml").write_text(wrong.replace("300.0", "9.0"))
    assert command(["reproduce", "small", "-q"]) == 1
    out, err = capfd.readouterr()
    assert all(word in out for word in ("9.0 ± 0.1", "299.0 (one mask; Nobody 2000)", "fail"))
    assert "error: small does not reach its figures." in err


def test_the_list_and_what_is_refused(small: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert command(["reproduce", "--list", "--json"]) == 0
    (known,) = json.loads(capfd.readouterr().out)
    assert known["commands"][0] == "gencli train made --config small"
    assert known["commands"][1] == (
        "gencli evaluate made --checkpoint best --metrics nll --batch-size 50 --json"
    )
    assert command(["reproduce", "--list"]) == 0
    assert "nll 300.0 ± 1000.5" in capfd.readouterr().out.replace(",", "")
    for arguments in (["small", "--quick"], [], ["--all"], ["small", "--all", "--quick"]):
        assert command(["reproduce", *arguments, "-q"]) == 2


@pytest.mark.slow
def test_curves_are_recorded(small: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = Path(__file__).parents[2] / "docs" / "record_curves.py"
    spec = importlib.util.spec_from_file_location("record_curves", path)
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    script.TRIAL, script.SECONDS = 2, 0.05
    for _ in range(2):  # the second takes the first one's place
        assert script.main(["small"]) == 0
    text = (small / "small.toml").read_text()
    assert text.count("[curve]") == text.count("[figures]") == 1
    curve = recipe.find("small").curve
    assert curve is not None
    assert len(curve.steps) == len(curve.values) <= 5
    assert command(["reproduce", "small", "--quick", "-q"]) == 0


def test_passing() -> None:
    figure = recipe.Figure("nll", 90.0, 0.3, "exact")
    assert recipe_runs.Reached(figure, 90.9, 0.4).passed
    assert not recipe_runs.Reached(figure, 91.1, 0.4).passed
    curve = recipe.Curve("loss", (1, 2), (5.0, 4.0), 0.5)
    assert recipe_runs.OnCurve(curve, (5.4, 3.6)).passed
    assert not recipe_runs.OnCurve(curve, (5.4, 3.4)).passed
    assert not recipe_runs.OnCurve(curve, (5.4, float("nan"))).passed
    assert dataclasses.asdict(figure)["published"] == ()
