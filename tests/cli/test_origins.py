"""Where settings come from is recorded, and the stronger of two lengths wins."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from gencli.cli.origins import lengths, recorded
from gencli.errors import UsageError
from tests.conftest import Gencli

FILE = """\
epochs = 3
lr = 0.002
hidden = [16]
"""
SMALL = ("--latent-dim", "2", "--batch-size", "20")


def test_of_each_setting(image_folder: Path, tmp_path: Path):
    (tmp_path / "small.toml").write_text(FILE)
    home = tmp_path / "home"
    gencli = Gencli(home, GENCLI_SEED="4", GENCLI_LR="0.003", GENCLI_STEPS="5")
    config = ("--config", str(tmp_path / "small.toml"), "--data", str(image_folder))
    run = Path(gencli("train", "vae", *config, "--epochs", "1", *SMALL).stdout.strip())
    record = json.loads((run / "run.json").read_text())

    told = record["origins"]
    expected = {
        "epochs": "flag", "latent_dim": "flag", "data": "flag", "lr": "environment",
        "seed": "environment", "hidden": "file", "warmup": "default", "beta": "default",
    }  # fmt: skip
    assert {name: told["sources"][name] for name in expected} == expected
    assert told["file"]["text"] == FILE
    assert told["environment"].items() >= {"GENCLI_SEED": "4", "GENCLI_LR": "0.003"}.items()
    settings = record["settings"]
    assert (settings["epochs"], settings["steps"]) == (1, None)  # the flag beats the environment
    assert (settings["lr"], settings["seed"]) == (0.003, 4)

    Gencli(home)("train", "vae", "--resume", str(run), "--steps", "9")
    after = json.loads((run / "run.json").read_text())["origins"]
    assert after["sources"] == told["sources"] | {"steps": "flag"}
    assert after["file"] == told["file"]


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ({"epochs": "file", "steps": "flag"}, {"steps"}),
        ({"epochs": "flag", "steps": "environment"}, {"epochs"}),
        ({"epochs": "environment", "steps": "file"}, {"epochs"}),
        ({"max_time": "file", "steps": "flag"}, {"steps"}),
        ({"max_time": "environment", "epochs": "file"}, {"max_time", "epochs"}),
        ({"max_time": "flag", "epochs": "file", "steps": "environment"}, {"max_time", "steps"}),
        ({"max_time": "flag", "epochs": "flag"}, {"max_time", "epochs"}),
        ({"max_time": "file", "lr": "flag"}, {"max_time", "lr"}),
    ],
)
def test_the_stronger_length_wins(given: dict[str, str], kept: set[str]):
    assert set(lengths(dict.fromkeys(given, 1), given)) == kept


@pytest.mark.parametrize("origin", ["file", "environment", "flag"])
def test_two_lengths_from_one_place_are_refused(origin: str):
    with pytest.raises(UsageError, match="two lengths"):
        lengths({"epochs": 1, "steps": 2}, {"epochs": origin, "steps": origin})


def test_a_mirror_s_password_is_not_kept():
    told = recorded({}, "", "", {"GENCLI_MIRROR": "https://me:secret@here/data", **os.environ})
    assert "secret" not in json.dumps(told)
    assert told["file"] is None
    assert not {name for name in told["environment"] if not name.startswith("GENCLI_")}
