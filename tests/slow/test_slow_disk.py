"""A disk that takes its time over every call: a training waits for it, and loses nothing."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from gencli.runs import Run
from tests.conftest import Gencli

pytestmark = [pytest.mark.slow, pytest.mark.reliability("faults injected")]

SLOWLY = """
import os, sys, time
from gencli.__main__ import main

def waiting(call):
    def slow(*arguments, **options):
        time.sleep(0.15)
        return call(*arguments, **options)
    return slow

for name in ("fsync", "replace", "rename", "mkdir", "unlink"):
    setattr(os, name, waiting(getattr(os, name)))
sys.argv = ["gencli", *sys.argv[1:]]
main()
"""
"""The command on a disk where each of these calls takes 0.15 s more."""

SMALL = ("--hidden", "16", "--latent-dim", "2", "--batch-size", "20", "--sample-every", "0")
EVERY = ("--checkpoint-every", "1", "--keep", "2")
STEPS = 6


def run_of(gencli: Gencli, name: str) -> Run:
    return Run(Path(gencli.environment["GENCLI_HOME"]) / "runs" / name)


@pytest.fixture(scope="module")
def weights(gencli: Gencli, image_folder: Path) -> bytes:
    """Of the same training on a quick disk."""
    train = ("train", "vae", "--data", str(image_folder), *SMALL, "--steps", str(STEPS))
    gencli(*train, "--name", "quick", "-q")
    return model_of(run_of(gencli, "quick"))


def model_of(run: Run) -> bytes:
    checkpoint = run.checkpoint()
    assert checkpoint.step == STEPS
    return (checkpoint.path / "model.safetensors").read_bytes()


def in_the_middle(run: Run, seconds: float = 100) -> None:
    """Wait until a checkpoint is half written, and there is one already."""
    limit = time.monotonic() + seconds
    while time.monotonic() < limit:
        if (run.path / "checkpoints").is_dir():
            names = [path.name for path in (run.path / "checkpoints").iterdir()]
            whole = any(name.startswith("step-") for name in names)
            if whole and any(name.startswith(".") for name in names):
                return
        time.sleep(0.005)
    raise AssertionError("no checkpoint was seen half written")


Started = Callable[[str], subprocess.Popen[bytes]]


@pytest.fixture
def started(gencli: Gencli, image_folder: Path) -> Started:
    """A training on the slow disk that has begun."""

    def start(name: str) -> subprocess.Popen[bytes]:
        train = ("train", "vae", "--data", str(image_folder), *SMALL, *EVERY)
        more = ("--steps", str(STEPS), "--name", name, "-q")
        return gencli.start(*train, *more, program=SLOWLY, stdout=subprocess.DEVNULL)

    return start


def test_a_training_waits_for_it(gencli: Gencli, started: Started, weights: bytes) -> None:
    assert started("patient").wait(timeout=200) == 0
    assert model_of(run_of(gencli, "patient")) == weights


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_stop_while_a_checkpoint_is_written(
    gencli: Gencli, started: Started, weights: bytes, number: signal.Signals
) -> None:
    name = number.name.lower()
    process, run = started(name), run_of(gencli, name)
    in_the_middle(run)
    process.send_signal(number)
    assert process.wait(timeout=100) in (-number, 128 + number)
    kept = run.checkpoint()
    assert kept.step < STEPS
    for file in ("model.safetensors", "trainer.safetensors"):
        kept.tensors(file)  # whole: their checksums fit
    gencli("train", "vae", "--resume", name, "-q")
    assert model_of(run) == weights
    assert not [path for path in (run.path / "checkpoints").iterdir() if path.name[0] == "."]


def test_two_names_of_one_moment(gencli: Gencli, started: Started) -> None:
    """While the first is still waiting for its folder, a second of the same name is refused."""
    first, second = started("same"), started("same")
    assert sorted([first.wait(timeout=200), second.wait(timeout=200)]) == [0, 2]
    assert run_of(gencli, "same").checkpoint().step == STEPS
