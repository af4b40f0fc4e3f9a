"""The verbs of the contract, as a shell would use them."""

from __future__ import annotations

import io
import json
import pickle
import shutil
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gencli.cli.doctor import _said
from tests.conftest import Gencli

SMALL = ("--hidden", "32", "--latent-dim", "2", "--batch-size", "20", "--log-every", "1")


@pytest.fixture(scope="module")
def trained(gencli: Gencli, image_folder: Path) -> Path:
    """The run of a small VAE."""
    done = gencli("train", "vae", "--data", str(image_folder), "--epochs", "2", *SMALL, "-q")
    assert done.stderr == ""
    run = Path(done.stdout.strip())
    assert run.is_dir()
    return run


def test_a_run_holds_what_the_design_says(trained: Path):
    record = json.loads((trained / "run.json").read_text())
    assert record["status"] == "done"
    assert record["config"]["latent_dim"] == 2
    assert record["settings"]["epochs"] == 2
    assert set(record["versions"]) == {"gencli", "torch", "python"}
    checkpoint = sorted((trained / "checkpoints").iterdir())[-1]
    assert {p.name for p in checkpoint.iterdir()} == {
        "model.safetensors",
        "trainer.safetensors",
        "state.json",
    }
    assert (trained / "metrics.jsonl").read_text().count("\n") > 2
    assert list((trained / "samples").glob("step-*.png"))


def test_train_json(gencli: Gencli, image_folder: Path):
    done = gencli("train", "vae", "--data", str(image_folder), "--steps", "3", *SMALL, "--json")
    document = json.loads(done.stdout)
    assert set(document) == {
        *("run", "name", "model", "data", "steps", "epochs"),
        *("images_per_second", "seconds", "metrics"),
    }
    assert document["steps"] == 3
    assert document["images_per_second"] > 0
    assert document["metrics"]["loss"] > 0
    assert "train:" in done.stderr


def test_sample_pipes_a_png(gencli: Gencli, trained: Path):
    done = gencli("sample", str(trained), "--n", "16", "--out", "-", binary=True)
    with Image.open(io.BytesIO(done.stdout)) as picture:
        assert picture.format == "PNG"
        assert picture.width > 4 * 28


@pytest.mark.slow
def test_samples_depend_on_seed_and_place_alone(gencli: Gencli, trained: Path, tmp_path: Path):
    arrays = {}
    for name, more in {
        "whole": ["--n", "8"],
        "parts": ["--n", "8", "--batch-size", "3"],
        "fewer": ["--n", "5"],
        "other": ["--n", "8", "--seed", "1"],
    }.items():
        out = tmp_path / f"{name}.npz"
        gencli("sample", str(trained), "--format", "npz", "--out", str(out), *more)
        arrays[name] = np.load(out, allow_pickle=False)["images"]
    assert arrays["whole"].shape == (8, 28, 28, 1)
    assert arrays["whole"].dtype == np.uint8
    as_int = {name: array.astype(int) for name, array in arrays.items()}
    assert abs(as_int["whole"] - as_int["parts"]).max() <= 1
    assert abs(as_int["whole"][:5] - as_int["fewer"]).max() <= 1
    assert abs(as_int["whole"] - as_int["other"]).max() > 1


def test_outputs_are_never_overwritten(gencli: Gencli, trained: Path, tmp_path: Path):
    first = gencli("sample", str(trained), "--n", "2").stdout.strip()
    second = gencli("sample", str(trained), "--n", "2").stdout.strip()
    assert first != second
    assert Path(first).parent == trained / "outputs"
    out = tmp_path / "x.png"
    gencli("sample", str(trained), "--n", "2", "--out", str(out))
    refused = gencli("sample", str(trained), "--n", "2", "--out", str(out), expect=2)
    assert "--force" in refused.stderr
    gencli("sample", str(trained), "--n", "2", "--out", str(out), "--force")


def test_one_png_each(gencli: Gencli, trained: Path, tmp_path: Path):
    gencli("sample", str(trained), "--n", "3", "--format", "png", "--out", str(tmp_path / "each"))
    files = sorted((tmp_path / "each").glob("*.png"))
    assert len(files) == 3
    for file in files:
        with Image.open(file) as picture:
            assert picture.size == (28, 28)


@pytest.mark.parametrize(
    "options",
    [["--label", "3"], ["--guidance", "2"], ["--complete", "test:0"], ["--format", "gif"]],
)
def test_options_of_other_models_are_refused(gencli: Gencli, trained: Path, options: list[str]):
    assert len(gencli("sample", str(trained), "-q", *options, expect=2).stderr.splitlines()) == 2


def test_interpolate(gencli: Gencli, trained: Path, image_folder: Path, tmp_path: Path):
    with Image.open(gencli("interpolate", str(trained), "--grid", "5").stdout.strip()) as sheet:
        assert sheet.width == sheet.height
    ends = sorted(image_folder.glob("*/*.png"))
    out = tmp_path / "walk.gif"
    gencli(
        *("interpolate", str(trained), "--from", str(ends[0]), "--to", "test:1"),
        *("--format", "gif", "--out", str(out)),
    )
    with Image.open(out) as walk:
        assert walk.n_frames > 10
    gencli("interpolate", str(trained), "--from", "test:0", expect=2)
    gencli("interpolate", str(trained), "--from", "test:0", "--to", "test:99999", expect=3)


def test_evaluate_json(gencli: Gencli, trained: Path):
    done = gencli(
        *("evaluate", str(trained), "--json", "--k", "5"),
        *("--metrics", "nll_bound,nll_estimate,reconstruction"),
    )
    document = json.loads(done.stdout)
    told = {"judge", "samples"}
    assert set(document) - told == {"run", "model", "data", "weights", "metrics"}
    assert document["data"]["split"] == "test"
    metrics = document["metrics"]
    assert set(metrics) == {"nll_bound", "nll_estimate", "reconstruction"}
    for metric in metrics.values():
        assert set(metric) == {"value", "unit", "kind", "standard_error", "n"}
    assert metrics["nll_bound"]["kind"] == "bound"
    assert metrics["nll_estimate"]["kind"] == "estimate"
    assert metrics["nll_estimate"]["value"] < metrics["nll_bound"]["value"] + 1
    gencli("evaluate", str(trained), "--metrics", "beauty", expect=2)


def test_runs_are_found_by_directory_name_and_model(gencli: Gencli, trained: Path):
    for reference in (str(trained), trained.name):
        assert trained.name in gencli("info", reference).stdout
    assert "vae-" in gencli("sample", "vae", "--n", "1").stdout
    listed = json.loads(gencli("list", "runs", "--json").stdout)
    assert trained.name in {row["name"] for row in listed}


def test_no_run_is_exit_4_with_the_command_that_would_make_one(tmp_path: Path):
    done = Gencli(tmp_path)("sample", "vae", expect=4)
    assert "gencli train vae" in done.stderr
    Gencli(tmp_path)("sample", "no-such-run", expect=4)


SEEN_IN_PROCESS = ("truncated", "text", "missing", "state")
"""Damage that unit/test_durability.py looks for, too."""


class Bomb:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


@pytest.mark.parametrize(
    "damage", ["pickle", *(pytest.param(d, marks=pytest.mark.slow) for d in SEEN_IN_PROCESS)]
)
def test_a_damaged_checkpoint_is_exit_4_and_nothing_is_executed(
    gencli: Gencli, trained: Path, tmp_path: Path, damage: str
):
    run = tmp_path / "damaged"
    shutil.copytree(trained, run)
    mark = tmp_path / "executed"
    for checkpoint in (run / "checkpoints").iterdir():
        file = checkpoint / "model.safetensors"
        if damage == "truncated":
            file.write_bytes(file.read_bytes()[:-100])
        elif damage == "text":
            file.write_text("these are not weights\n" * 100)
        elif damage == "pickle":
            file.write_bytes(pickle.dumps(Bomb(mark)))
        elif damage == "missing":
            file.unlink()
        else:
            (checkpoint / "state.json").write_text('{"format": 99}')
    for verb in (["sample", str(run)], ["train", "vae", "--resume", str(run), "--epochs", "9"]):
        done = gencli(*verb, expect=4)
        assert done.stdout == ""
        assert len([line for line in done.stderr.splitlines() if "error:" in line]) == 1
        assert "Traceback" not in done.stderr
    assert not mark.exists()


@pytest.mark.slow
def test_resume_continues_with_nothing_else_given(gencli: Gencli, image_folder: Path):
    common = ["train", "vae", "--data", str(image_folder), *SMALL, "--lr-schedule", "constant"]
    whole = Path(gencli(*common, "--epochs", "4", "-q").stdout.strip())
    half = Path(gencli(*common, "--epochs", "2", "-q").stdout.strip())
    gencli("train", "vae", "--resume", half.name, "--epochs", "4", "-q")
    ends = [sorted((run / "checkpoints").iterdir())[-1] for run in (whole, half)]
    assert ends[0].name == ends[1].name
    for name in ("model.safetensors", "trainer.safetensors"):
        assert (ends[0] / name).read_bytes() == (ends[1] / name).read_bytes()
    gencli("train", "vae", "--resume", half.name, "--lr", "0.1", expect=2)
    gencli("train", "vae", "--resume", half.name)  # nothing left to do is no error


def test_precedence_default_toml_environment_flag(
    gencli: Gencli, image_folder: Path, tmp_path: Path
):
    toml = tmp_path / "mine.toml"
    toml.write_text(f'data = "{image_folder}"\nlatent_dim = 3\nbeta = 0.5\nsteps = 1\nhidden = [8]')
    changed = Gencli(
        Path(gencli.environment["GENCLI_HOME"]), GENCLI_LATENT_DIM="4", GENCLI_BETA="2"
    )
    run = changed("train", "vae", "--config", str(toml), "--beta", "3", "-q").stdout.strip()
    config = json.loads((Path(run) / "run.json").read_text())["config"]
    assert config["hidden"] == [8]
    assert config["latent_dim"] == 4
    assert config["beta"] == 3
    toml.write_text("latnet_dim = 3")
    refused = gencli("train", "vae", "--config", str(toml), expect=2)
    assert "latent_dim" in refused.stderr


def test_a_diverging_loss_is_exit_5(gencli: Gencli, image_folder: Path):
    done = gencli(
        *("train", "vae", "--data", str(image_folder), *SMALL, "--epochs", "30", "--lr", "1e30"),
        expect=5,
    )
    assert "not finite" in done.stderr
    assert "step" in done.stderr


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGINT, 130), pytest.param(signal.SIGTERM, 143, marks=pytest.mark.slow)],
)
def test_a_signal_leaves_a_checkpoint_and_says_how_to_resume(
    gencli: Gencli, image_folder: Path, number: signal.Signals, code: int
):
    name = f"stopped-{code}"
    process = gencli.start(
        *("train", "vae", "--data", str(image_folder)),
        *(*SMALL, "--name", name, "--epochs", "100000"),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    run = Path(gencli.environment["GENCLI_HOME"]) / "runs" / name
    deadline = time.monotonic() + 60
    while not (run / "metrics.jsonl").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(number)
    err = process.communicate(timeout=60)[1].decode()
    assert process.returncode == code, err
    assert f"gencli train vae --resume {name}" in err
    assert json.loads((run / "run.json").read_text())["status"] == "interrupted"
    step = int(sorted((run / "checkpoints").iterdir())[-1].name[5:])
    assert step >= 1
    gencli("train", "vae", "--resume", name, "--steps", str(step + 2), "-q")
    assert int(sorted((run / "checkpoints").iterdir())[-1].name[5:]) == step + 2


def test_missing_data_is_exit_3_and_names_files_places_and_glyphs(tmp_path: Path):
    gone = Gencli(tmp_path, GENCLI_MIRROR=str(tmp_path / "nowhere"))
    gone("train", "vae", "--data", "./no/such/folder", expect=3)
    empty = tmp_path / "empty"
    empty.mkdir()
    gone("train", "vae", "--data", str(empty), expect=3)


def test_export_weights(gencli: Gencli, trained: Path):
    from safetensors import safe_open

    path = Path(gencli("export", str(trained), "--format", "weights").stdout.strip())
    with safe_open(path, "pt") as file:
        assert "decoder.to_map.weight" in list(file.keys())
        assert json.loads(file.metadata()["gencli"])["config"]["latent_dim"] == 2
    assert not path.with_suffix(".json").exists()


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, "not installed"),
        (True, "yes"),
        (False, "no"),
        ([], "none"),
        (["A", "B"], "A, B"),
        (1, "1"),
    ],
)
def test_doctor_says_values_in_words(value: object, said: str):
    assert _said(value) == said


def test_doctor_and_info(gencli: Gencli, trained: Path):
    document = json.loads(gencli("doctor", "--json").stdout)
    assert document["packages"]["torch"]
    assert document["devices"]["chosen"]
    info = json.loads(gencli("info", trained.name, "--json").stdout)
    assert info["config"]["latent_dim"] == 2
    assert info["checkpoints"]
