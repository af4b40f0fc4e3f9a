"""What people are told: before a training, after it, and of which run a command took."""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path

import pytest

from gencli.cli import console
from gencli.cli.app import run as command
from gencli.wording import readable, spoken
from tests.conftest import Gencli

SMALL = ("--hidden", "32", "--latent-dim", "2", "--batch-size", "20", "--name", "flat")


@pytest.fixture(scope="module")
def told(gencli: Gencli, image_folder: Path) -> list[str]:
    """What stderr says of a small training."""
    done = gencli("train", "vae", "--data", str(image_folder), "--epochs", "2", *SMALL)
    return done.stderr.splitlines()


def test_before_a_training(told: list[str], image_folder: Path):
    where = next(i for i, line in enumerate(told) if line.startswith("vae: "))
    data, model, plan = told[where - 1 : where + 2]
    assert re.fullmatch(
        rf"{image_folder.name}: \d\d train, \d validation, \d test, 1x28x28, 2 classes",
        data,
    )
    assert model == "vae: 51.2k parameters"
    assert re.fullmatch(
        r"plan: 2 epochs, \d+ steps, 20 images a batch, on cpu in (fp32|bf16) with \d+ threads?",
        plan,
    )


def test_after_a_training(told: list[str]):
    taken, last, best, preview, following = told[-5:]
    assert re.fullmatch(r"flat: \d+ steps, 2 epochs, in [\d.]+ s", taken)
    assert re.match(r"last: loss [\d.]+, .*val_loss [\d.]+", last)
    assert re.match(r"best: val_loss [\d.]+ at step \d+", best)
    assert Path(preview.removeprefix("preview: ")).is_file()
    assert following == "next: gencli sample flat"


@pytest.mark.parametrize(
    "command",
    [
        ["sample", "vae", "--n", "2"],
        pytest.param(
            ["interpolate", "vae", "--rows", "1", "--points", "2"], marks=pytest.mark.slow
        ),
        pytest.param(["evaluate", "vae", "--metrics", "reconstruction"], marks=pytest.mark.slow),
        pytest.param(["export", "vae", "--format", "weights"], marks=pytest.mark.slow),
    ],
    ids=["sample", "interpolate", "evaluate", "export"],
)
def test_commands_say_which_run_they_took(gencli: Gencli, told: list[str], command: list[str]):
    done = gencli(*command)
    which = re.search(r"^vae: run flat, step \d+, last weights$", done.stderr, re.MULTILINE)
    assert which is not None, done.stderr
    if command[0] == "evaluate":
        assert done.stdout.startswith(which[0])
    assert gencli(*command, "-q").stderr == ""


def test_a_resumed_training_says_from_where(gencli: Gencli, told: list[str]):
    done = gencli("train", "vae", "--resume", "flat", "--epochs", "3")
    assert re.search(r"^plan: 3 epochs, \d+ steps from step \d+, ", done.stderr, re.MULTILINE)


@pytest.mark.parametrize(
    ("n", "text"), [(812, "812"), (52_481, "52.5k"), (999_700, "1M"), (24_310_000, "24.3M")]
)
def test_readable_counts(n: int, text: str):
    assert readable(n) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(4.21, "4.2 s"), (59.7, "1 min 0 s"), (200, "3 min 20 s"), (7500, "2 h 5 min")],
)
def test_durations_in_words(seconds: float, text: str):
    assert spoken(seconds) == text


def test_a_display_that_was_left_takes_nothing(
    home: Path,
    image_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    """A caller in this process may have begun one, on a stderr that has been another since."""
    elsewhere = io.StringIO()
    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(sys, "stderr", elsewhere)
        console.the_display()
    arguments = ["--data", str(image_folder), "--hidden", "8", "--steps", "1", "--val", "0"]
    assert command(["train", "vae", "--batch-size", "20", "--sample-every", "0", *arguments]) == 0
    assert "plan: 1 step" in capsys.readouterr().err
    assert not elsewhere.getvalue()
