"""`kill -9` at random moments of a training loses nothing that was whole."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Gencli

SMALL = ("--hidden", "64", "--latent-dim", "2", "--batch-size", "20", "--log-every", "1")


def whole_steps(run: Path) -> list[int]:
    """Steps of checkpoints under their final name; each must be readable."""
    from gencli.runs import Run

    there = Run(run).checkpoints()
    for checkpoint in there:
        checkpoint.tensors("model.safetensors")
        checkpoint.tensors("trainer.safetensors")
    return [checkpoint.state["step"] for checkpoint in there]


@pytest.mark.slow
@pytest.mark.reliability
def test_kill_minus_nine_at_ten_random_moments(
    gencli: Gencli, image_folder: Path, record_property: Callable[[str, int], None]
):
    record_property("kills survived", 10)
    rng = random.Random(9)
    name = "killed"
    command = [sys.executable, "-m", "gencli", "train", "vae", "-q"]
    common = ["--checkpoint-every", "1", "--sample-every", "0"]
    first = ["--data", str(image_folder), "--name", name, *SMALL, "--steps", "1000000", *common]
    run = Path(gencli.environment["GENCLI_HOME"]) / "runs" / name
    seen = 0
    for attempt in range(10):
        arguments = first if attempt == 0 else ["--resume", name]
        process = subprocess.Popen(
            command + arguments, env=gencli.environment, stderr=subprocess.PIPE, text=True
        )
        deadline = time.monotonic() + 120
        while not run.exists() or not [s for s in whole_steps_quietly(run) if s > seen]:
            assert process.poll() is None, process.stderr.read()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        time.sleep(rng.random())
        before = max(whole_steps_quietly(run))
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        process.stderr.close()
        seen = max(whole_steps(run))
        assert seen >= before
    gencli("train", "vae", "--resume", name, "--steps", str(seen + 3), "-q")
    assert max(whole_steps(run)) == seen + 3
    assert not list((run / "checkpoints").glob(".*"))  # nothing half-written is left
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    steps = [row["step"] for row in rows if "loss" in row]
    assert steps == sorted(set(steps))


def whole_steps_quietly(run: Path) -> list[int]:
    """The steps there are, while the training is at work on them."""
    return [int(path.name[5:]) for path in (run / "checkpoints").glob("step-*")]
