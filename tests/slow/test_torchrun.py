"""`torchrun -m gencli`: the real launcher, two real processes, and their deaths."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from gencli.runs import Run
from tests.conftest import Gencli

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
SMALL = ("--hidden", "16", "--batch-size", "20", "--log-every", "1", "--sample-every", "0")

pytestmark = pytest.mark.slow


def begin(gencli: Gencli, *arguments: str, restarts: int = 0) -> subprocess.Popen[str]:
    return launched(gencli, "train", "nade", *arguments, restarts=restarts)


def launched(gencli: Gencli, *arguments: str, restarts: int = 0) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*TORCHRUN, "--max-restarts", str(restarts), "-m", "gencli", *arguments],
        env=gencli.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def run_of(gencli: Gencli, name: str) -> Run:
    return Run(Path(gencli.environment["GENCLI_HOME"]) / "runs" / name)


def wait_for_step(gencli: Gencli, name: str, step: int, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 120
    while max((c.step for c in run_of(gencli, name).checkpoints()), default=-1) < step:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)


def workers(process: subprocess.Popen[str]) -> dict[int, int]:
    """The processes that a launcher has started, by rank."""
    found = {}
    for path in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((path / "stat").read_text().rpartition(")")[2].split()[1])
            if parent != process.pid:
                continue
            told = (path / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        ranks = [int(line[5:]) for line in told if line.startswith(b"RANK=")]
        found |= dict.fromkeys(ranks, int(path.name))
    return found


def ends(process: subprocess.Popen[str], within: float = 60) -> tuple[str, str]:
    try:
        return process.communicate(timeout=within)
    finally:
        process.kill()


def test_two_processes_train_and_one_goes_on(gencli: Gencli, image_folder: Path):
    process = begin(gencli, "--data", str(image_folder), "--name", "two", *SMALL, "--steps", "5")
    out, err = ends(process, 200)
    run = run_of(gencli, "two")
    assert process.returncode == 0, err
    assert out == f"{run.path}\n"
    assert err.count("plan: 5 steps, 20 images a batch") == 1
    assert run.record["processes"] == 2
    assert run.checkpoint().step == 5
    done = gencli("train", "nade", "--resume", "two", "--steps", "6")
    assert "processes: 2 before and 1 now" in done.stderr


def test_two_processes_draw_and_measure_as_one_does(
    gencli: Gencli, image_folder: Path, tmp_path: Path
):
    gencli("train", "nade", "--data", str(image_folder), "--name", "n", *SMALL, "--steps", "2")
    draw = ("sample", "n", "-n", "30", "--batch-size", "8", "--format", "npz", "--out")
    measure = ("evaluate", "n", "--metrics", "nll", "--batch-size", "3", "--json")
    gencli(*draw, str(tmp_path / "one.npz"))
    process = launched(gencli, *draw, str(tmp_path / "two.npz"))
    out, err = ends(process, 200)
    assert process.returncode == 0, err
    assert out == f"{tmp_path / 'two.npz'}\n"
    one, two = (np.load(tmp_path / f"{name}.npz")["images"] for name in ("one", "two"))
    assert (one == two).all()
    process = launched(gencli, *measure)
    out, err = ends(process, 200)
    assert process.returncode == 0, err
    assert json.loads(out) == json.loads(gencli(*measure).stdout)


def test_shards_are_trained_and_one_process_draws(gencli: Gencli, image_folder: Path):
    name = ("--data", str(image_folder), "--name", "s", "--sample-every", "1", "--shard")
    small = ("--width", "16", "--depth", "2", "--heads", "2", "--batch-size", "20")
    process = launched(gencli, "train", "transformer", *name, *small, "--steps", "5")
    out, err = ends(process, 200)
    assert process.returncode == 0, err
    assert out == f"{run_of(gencli, 's').path}\n"
    assert (run_of(gencli, "s").path / "samples" / "step-00000005.png").is_file()
    gencli("sample", "s", "-n", "2")
    done = gencli("train", "transformer", "--resume", "s", "--steps", "6")
    assert "One process has all weights: no shards." in done.stderr
    assert run_of(gencli, "s").record["settings"]["shard"] is False
    process = launched(gencli, "train", "transformer", "--resume", "s", "--shard", "--steps", "7")
    _, err = ends(process, 200)
    assert process.returncode == 0, err
    assert run_of(gencli, "s").checkpoint().step == 7


def test_what_one_of_them_refuses_is_said_once(gencli: Gencli, image_folder: Path):
    for arguments in (("sample", "nobody"), ("sample", "n", "--format", "gif"), ("export", "n")):
        process = launched(gencli, *arguments)
        _, err = ends(process, 200)
        assert process.returncode == 1  # torchrun's own
        assert err.count("error: ") == 1, err


def test_a_stop_is_agreed_on(gencli: Gencli, image_folder: Path):
    long = ("--data", str(image_folder), "--name", "stopped", *SMALL, "--steps", "1000000")
    process = begin(gencli, *long, "--checkpoint-every", "1")
    wait_for_step(gencli, "stopped", 3, process)
    process.send_signal(signal.SIGINT)  # as the terminal would, to the launcher alone
    _, err = ends(process)
    assert "error: Stopped; a checkpoint of stopped was written." in err
    assert err.count("error: ") == 1
    run = run_of(gencli, "stopped")
    assert run.status == "interrupted"
    run.checkpoint().tensors("trainer.safetensors")


@pytest.mark.reliability("kills survived")
def test_a_dead_process_ends_all(gencli: Gencli, image_folder: Path):
    long = ("--data", str(image_folder), "--name", "dead", *SMALL, "--steps", "1000000")
    process = begin(gencli, *long, "--checkpoint-every", "1")
    wait_for_step(gencli, "dead", 3, process)
    os.kill(workers(process)[1], signal.SIGKILL)
    _, err = ends(process)
    assert "error: Another of the processes has ended." in err
    assert "Traceback" not in err.partition("error: ")[0]
    run = run_of(gencli, "dead")
    assert run.status == "failed"
    run.checkpoint().tensors("trainer.safetensors")


@pytest.mark.reliability("kills survived")
def test_torchrun_starts_again_and_the_run_goes_on(gencli: Gencli, image_folder: Path):
    steps = ("--data", str(image_folder), "--name", "again", *SMALL, "--steps", "400")
    process = begin(gencli, *steps, "--checkpoint-every", "1", restarts=1)
    wait_for_step(gencli, "again", 3, process)
    os.kill(workers(process)[1], signal.SIGKILL)
    out, err = ends(process, 200)
    run = run_of(gencli, "again")
    assert process.returncode == 0, err
    assert out == f"{run.path}\n"
    rows = [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]
    steps_told = [row["step"] for row in rows if "loss" in row]
    assert steps_told == sorted(set(steps_told))
    assert steps_told[-1] == 400
