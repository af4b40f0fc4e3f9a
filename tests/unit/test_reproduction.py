"""A run trained again from its run.json: what is equal, what is within its error, what is not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import gencli
from gencli import reproduction
from gencli.cli.app import run as command
from gencli.data.options import DataOptions
from gencli.measured import measure
from gencli.runs import Run
from gencli.training import session
from gencli.training.reporter import Silent

FILE = """\
epochs = 2
lr = 0.002
hidden = [16]
latent_dim = 2
batch_size = 20
sample_every = 0
"""


def trained(folder: Path, stop_after: int | None = None, **given: object) -> Run:
    settings = {"epochs": 2, "batch_size": 20, "sample_every": 0, "log_every": 1} | given
    run, *_ = session.start(
        "vae", {"hidden": [8], "latent_dim": 2}, DataOptions(str(folder)), settings,
        name="first", reporter=Silent(), stop_after=stop_after,
    )  # fmt: skip
    return Run(run.path)


def again(run: Run) -> reproduction.Reproduction:
    return reproduction.reproduce(run, name="second", reporter=Silent())


def changed(run: Run, **entries: object) -> Run:
    """The run with other entries in its run.json."""
    path = run.path / "run.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | entries))
    return Run(run.path)


def test_bit_for_bit_after_file_and_environment_have_changed(
    home: Path,
    image_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    file = tmp_path / "small.toml"
    file.write_text(FILE)
    monkeypatch.setenv("GENCLI_SEED", "4")
    monkeypatch.setenv("GENCLI_BETA", "0.7")
    data = ("--data", str(image_folder), "--config", str(file), "--name", "first")
    assert command(["train", "vae", "-q", *data]) == 0
    path = Path(capfd.readouterr().out.strip())
    before = {file: file.read_bytes() for file in path.rglob("*") if file.is_file()}

    file.write_text(FILE.replace("0.002", "0.5").replace("16", "8"))
    monkeypatch.setenv("GENCLI_SEED", "9")
    monkeypatch.setenv("GENCLI_BETA", "3")
    assert command(["reproduce", "first", "--json", "-q"]) == 0
    told = json.loads(capfd.readouterr().out)
    assert told["equal"]
    assert told["notes"] == []
    assert {part["file"] for part in told["tensors"]} == {"model", "trainer"}
    assert all(part["equal"] > 3 and not part["not_equal"] for part in told["tensors"])
    assert {figure["verdict"] for figure in told["figures"]} == {"equal"}
    records = [json.loads((Path(told[k]) / "run.json").read_text()) for k in ("run", "again")]
    assert records[0]["config"] == records[1]["config"]
    assert records[1]["settings"]["seed"] == 4
    assert records[1]["reproduces"] == str(path)
    assert before == {file: file.read_bytes() for file in path.rglob("*") if file.is_file()}


def test_a_run_that_was_stopped_is_trained_as_far(home: Path, image_folder: Path) -> None:
    run = trained(image_folder, stop_after=3, lr_schedule="cosine")
    assert run.status == "interrupted"
    found = again(run)
    assert found.equal
    assert {part.step for part in found.parts} == {3}
    assert found.new.record["settings"]["epochs"] == 2  # whose end the schedule knows


def test_one_that_the_clock_ended_has_as_many_steps(home: Path, image_folder: Path) -> None:
    run = changed(trained(image_folder, stop_after=3, lr_schedule="constant"), status="done")
    settings = run.record["settings"] | {"max_time": "1s", "epochs": None}
    found = again(changed(run, settings=settings))
    assert found.equal
    assert found.new.checkpoint().step == 3


def test_another_training_is_told_apart(
    home: Path, image_folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run = trained(image_folder)
    measure(run, {"metrics": ["nll_bound"]}, checkpoint="last")
    before = gencli.evaluate("first", metrics=["nll_bound"])["nll_bound"]
    record = run.record
    changed(
        run,
        settings=record["settings"] | {"seed": 5},
        versions=record["versions"] | {"torch": "1.0"},
        processor="an abacus",
    )
    assert command(["reproduce", "first", "--json", "--name", "second"]) == 1
    out, err = capfd.readouterr()
    told = json.loads(out)
    assert any(part["not_equal"] for part in told["tensors"])
    assert {note.split(":")[0] for note in told["notes"]} == {"torch", "processor"}
    figures = {figure["name"]: figure for figure in told["figures"]}
    measured = next(figures[name] for name in figures if name.startswith("nll_bound, test"))
    assert measured["before"] == before.value
    assert measured["after"] != before.value
    assert "error: second is not first to the last bit." in err


def test_other_data_are_said(home: Path, image_folder: Path) -> None:
    run = trained(image_folder)
    changed(run, data=run.record["data"] | {"fingerprint": "of others"})
    assert again(Run(run.path)).notes == ["data: not the images of then"]


def test_a_run_that_was_given_another_length_says_so(home: Path, image_folder: Path) -> None:
    run = trained(image_folder, lr_schedule="cosine", epochs=1)
    session.resume("vae", "first", {"epochs": 2}, reporter=Silent())
    found = again(Run(run.path))
    told = "it was given another length at step 4, which changed its learning rates"
    assert found.notes == [told]
    assert not found.equal


def test_verdicts() -> None:
    def verdict(after: float, error: float | None) -> str:
        return reproduction.Compared("nll", 90.0, after, error).verdict

    assert verdict(90.0, None) == "equal"
    assert verdict(90.39, 0.2) == "within error"
    assert verdict(90.41, 0.2) == "not equal"
    assert verdict(90.1, None) == "not equal"
