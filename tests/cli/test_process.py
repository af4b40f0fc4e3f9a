"""A training as a process: who watches it may leave, and a signal costs no work."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gencli.runs import Run
from tests.conftest import Gencli
from tests.unit.small_run import rewrite
from tests.warm import Process

pytestmark = pytest.mark.reliability("faults injected")

SMALL = ("--hidden", "16", "--latent-dim", "2", "--batch-size", "20", "--log-every", "1")


@pytest.fixture
def command(gencli: Gencli, image_folder: Path) -> list[str]:
    """The beginning of a command that trains a small model."""
    return ["train", "vae", "--data", str(image_folder), *SMALL]


def run_of(gencli: Gencli, name: str) -> Run:
    return Run(Path(gencli.environment["GENCLI_HOME"]) / "runs" / name)


def wait_for(run: Run, process: subprocess.Popen[bytes] | Process, rows: int = 3) -> None:
    """Wait until a training has written some rows of its log."""
    log = run.path / "metrics.jsonl"
    limit = time.monotonic() + 100
    while not log.exists() or log.read_text().count("\n") < rows:
        assert process.poll() is None
        assert time.monotonic() < limit
        time.sleep(0.02)


def test_a_reader_of_stderr_that_leaves(gencli: Gencli, command: list[str]):
    reader, writer = os.pipe()
    os.close(reader)
    more = ("--name", "unread", "--steps", "5")
    process = gencli.start(*command, *more, stderr=writer, stdout=writer)
    os.close(writer)
    assert process.wait(timeout=100) == 0
    assert run_of(gencli, "unread").checkpoint().step == 5
    assert run_of(gencli, "unread").status == "done"


# The readers of the test above leave, too; `>&-` is part of the last.
@pytest.mark.parametrize(
    "how",
    [*(pytest.param(how, marks=pytest.mark.slow) for how in ("| true", ">&-")), ">&- 2>&- <&-"],
)
def test_a_closed_stdout(gencli: Gencli, command: list[str], how: str):
    name = f"closed-{len(how)}"
    script = f'set -o pipefail; "$@" {how}'
    whole = [sys.executable, "-m", "gencli", *command, "--name", name, "--steps", "2"]
    done = subprocess.run(
        ["bash", "-c", script, "x", *whole, "--sample-every=0"],
        env=gencli.environment, stderr=subprocess.PIPE, text=True, timeout=100,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "rror" not in done.stderr
    assert run_of(gencli, name).status == "done"


def test_a_full_disk_behind_stdout_is_an_error(gencli: Gencli):
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "gencli", "list", "models"],
            env=gencli.environment, stdout=full, stderr=subprocess.PIPE, text=True, timeout=100,
        )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.startswith("error: No space left on device")
    assert done.stderr.count("\n") == 2


@pytest.mark.parametrize(
    ("signals", "code"),
    [
        ([signal.SIGHUP], 129),
        ([signal.SIGTERM], 143),
        ([signal.SIGINT, signal.SIGINT], 130),
    ],
)
def test_a_signal_costs_no_work(
    gencli: Gencli, command: list[str], signals: list[int], code: int, tmp_path: Path
):
    name = "-".join(signal.Signals(s).name for s in signals)
    process = gencli.start(
        *command, "--name", name, "--steps", "1000000", "--sample-every", "0",
        stderr=subprocess.PIPE, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    run = run_of(gencli, name)
    wait_for(run, process)
    assert run.status == "running"
    for number in signals:
        process.send_signal(number)
    assert process.stderr
    with process.stderr as stderr:
        said = stderr.read().decode()
    assert process.wait(timeout=60) == code, said
    assert Run(run.path).status == "interrupted"
    assert f"--resume {name}" in said
    assert "Traceback" not in said
    if len(signals) == 1:
        rows = [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]
        assert run.checkpoint().step == max(row["step"] for row in rows)


@pytest.mark.slow
def test_a_run_that_is_training_is_not_resumed_twice(gencli: Gencli, command: list[str]):
    process = gencli.start(
        *command, "--name", "busy", "--steps", "1000000", "--checkpoint-every", "1", "-q",
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    wait_for(run_of(gencli, "busy"), process)
    refused = gencli("train", "vae", "--resume", "busy", expect=4)
    assert f"error: The run busy is training (process {process.pid})." in refused.stderr
    taken = gencli("train", "vae", "--name", "busy", "--steps", "1", expect=2)
    assert "already" in taken.stderr
    process.kill()
    process.wait()
    listed = json.loads(gencli("list", "runs", "--json").stdout)
    assert [row["status"] for row in listed if row["name"] == "busy"] == ["killed"]
    step = run_of(gencli, "busy").checkpoint().step
    gencli("train", "vae", "--resume", "busy", "--steps", str(step + 2), "-q")
    assert run_of(gencli, "busy").checkpoint().step == step + 2
    assert run_of(gencli, "busy").status == "done"


@pytest.mark.slow
def test_a_run_killed_before_its_first_checkpoint(gencli: Gencli, command: list[str]):
    def kill_one() -> None:
        process = gencli.start(
            *command, "--name", "early", "--steps", "1000000", "--checkpoint-every",
            "1000000", "--val", "0", "-q", stdout=subprocess.DEVNULL,
        )  # fmt: skip
        wait_for(run_of(gencli, "early"), process)
        process.kill()
        process.wait()
        assert run_of(gencli, "early").checkpoints() == []

    kill_one()
    again = gencli("train", "vae", "--resume", "early", "--steps", "4")
    assert "early has no checkpoint: its training begins again." in again.stderr
    more = ["--steps", "4", "--checkpoint-every", "1000000", "--val", "0", "-q"]
    gencli(*command, "--name", "plain", *more)
    one, other = (run_of(gencli, n).checkpoint().path for n in ("early", "plain"))
    for name in ("model.safetensors", "trainer.safetensors"):
        assert (one / name).read_bytes() == (other / name).read_bytes()
    steps = [json.loads(line)["step"] for line in
             (run_of(gencli, "early").path / "metrics.jsonl").read_text().splitlines()]  # fmt: skip
    assert steps == [1, 2, 3, 4]
    gencli(*command, "--name", "early", "--steps", "1", expect=2)  # it has a checkpoint now


def test_what_diverges_keeps_no_weights_that_are_not_finite(gencli: Gencli, command: list[str]):
    more = ["--checkpoint-every", "1", "--keep", "1", "--lr", "1e6", "--steps", "50"]
    refused = gencli(*command, "--name", "wild", *more, expect=5)
    assert "is not finite" in refused.stderr
    run = run_of(gencli, "wild")
    assert run.status == "diverged"
    for checkpoint in run.checkpoints():
        for tensor in checkpoint.tensors("model.safetensors").values():
            assert tensor.isfinite().all()


def test_moments_of_another_shape_are_refused(gencli: Gencli, command: list[str]):
    gencli(*command, "--name", "received", "--steps", "2", "-q")
    run = run_of(gencli, "received")
    for factor in (slice(0, 1), slice(0, 10**6)):

        def change(tensors: dict, factor: slice = factor) -> dict:
            doubled = {k: t.repeat_interleave(2, 0) if t.dim() else t for k, t in tensors.items()}
            return {
                k: (doubled[k][factor].contiguous() if ".exp_avg" in k else t)
                for k, t in tensors.items()
            }

        rewrite(run, trainer=change)
        refused = gencli("train", "vae", "--resume", "received", "--steps", "4", expect=4)
        assert "optimizer" in refused.stderr
        assert "Traceback" not in refused.stderr


@pytest.mark.slow
def test_a_fallback_is_never_silent(gencli: Gencli, command: list[str]):
    gencli(*command, "--name", "averaged", "--steps", "2", "--ema-decay", "0.9", "-q")
    run = run_of(gencli, "averaged")
    rewrite(run, trainer=lambda ts: {k: t for k, t in ts.items() if not k.startswith("ema/")})
    refused = gencli("sample", "averaged", "--n", "1", expect=4)
    assert "lacks" in refused.stderr
    rewrite(run, model=lambda ts: {k: t.char() for k, t in ts.items()})
    refused = gencli("sample", "averaged", "--n", "1", "--raw", expect=4)
    assert "int8" in refused.stderr


@pytest.mark.slow
def test_a_reader_of_a_picture_that_leaves(gencli: Gencli, command: list[str]):
    gencli(*command, "--name", "shown", "--steps", "1", "-q")
    sample = [sys.executable, "-m", "gencli", "sample", "shown", "--n", "4000", "--out", "-"]
    done = subprocess.run(
        ["bash", "-c", 'set -o pipefail; "$@" | head -c 4', "x", *sample],
        env=gencli.environment, capture_output=True, timeout=100,
    )  # fmt: skip
    assert done.stdout == b"\x89PNG"
    assert done.returncode == 0, done.stderr
