"""Faults around a training: its disk is full, its folder goes, the clock jumps, others read it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gencli import loading
from gencli.cli.app import run as command
from gencli.data.fetch import RemoteFile, fetch
from gencli.errors import GencliError
from gencli.runs import Run
from gencli.training.reporter import Epoch, Silent

from .small_run import copy_of, small_run, trainer_of
from .test_fetch import CHECKSUM, CONTENT, Server, left_behind, server  # noqa: F401
from .test_full_disk import disk, fill  # noqa: F401

pytestmark = pytest.mark.reliability("faults injected")


@pytest.fixture
def run(home: Path) -> Run:
    return small_run()


def test_a_full_disk_under_the_log(run: Run, disk: Path, tmp_path: Path) -> None:  # noqa: F811
    """The rows that were written are whole, and so is the last checkpoint."""
    moved = copy_of(run, disk / "run")
    log = moved.path / "metrics.jsonl"
    fill(disk, but=0)
    with pytest.raises(GencliError) as caught:
        trainer_of(moved, steps=2_000, log_every=1, checkpoint_every=10_000).fit(resume=True)
    assert str(log) in caught.value.problem
    assert "No space left on device" in caught.value.problem
    assert moved.checkpoint().step == 5
    moved = copy_of(moved, tmp_path / "elsewhere")
    trainer_of(moved, steps=20, log_every=1).fit(resume=True)
    log = moved.path / "metrics.jsonl"
    steps = [row["step"] for row in map(json.loads, log.read_text().splitlines()) if "loss" in row]
    assert steps[-15:] == list(range(6, 21))
    assert steps == sorted(set(steps))


def test_a_full_disk_under_a_download(
    server: Server, disk: Path, monkeypatch: pytest.MonkeyPatch  # noqa: F811
) -> None:  # fmt: skip
    monkeypatch.setenv("GENCLI_HOME", str(disk))
    monkeypatch.setenv("no_proxy", "*")
    server.script["/a.bin"] = ["whole"]
    fill(disk, but=len(CONTENT) // 2)
    with pytest.raises(GencliError) as caught:
        fetch("somewhere", [RemoteFile("a.bin", (server.url,), CHECKSUM)])
    assert "No space left on device" in caught.value.problem
    assert left_behind(disk) == []


class Removing(Silent):
    """Removes a run at the end of its first epoch."""

    def __init__(self, run: Run) -> None:
        self.run = run

    def epoch_ended(self, epoch: Epoch) -> None:
        shutil.rmtree(self.run.path, ignore_errors=True)


@pytest.mark.parametrize("every", [{"log_every": 1}, {"log_every": 10_000}])
def test_a_folder_that_goes_while_it_is_trained_in(run: Run, every: dict[str, int]) -> None:
    trainer = trainer_of(run, epochs=3, **every)
    trainer.reporter = Removing(run)
    with pytest.raises(GencliError) as caught:
        trainer.fit(resume=True)
    assert str(run.path) in caught.value.problem
    assert not run.path.exists()


def test_a_clock_that_jumps(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It changes what is written of time, and nothing that was computed."""
    quiet = small_run(steps=12, checkpoint_every=3)
    times = iter([1e9, 4e9, 0.0, -5.0] * 1000)
    monkeypatch.setattr(time, "time", lambda: next(times))
    jumped = small_run(steps=12, checkpoint_every=3)
    monkeypatch.undo()
    for name in ("model.safetensors", "trainer.safetensors"):
        first, second = (run.checkpoint().tensors(name) for run in (quiet, jumped))
        assert first.keys() == second.keys()
        assert all(first[key].equal(second[key]) for key in first)
    assert len(jumped.checkpoints()) == len(quiet.checkpoints())


def test_reading_while_a_training_removes_its_old_checkpoints(run: Run) -> None:
    """Whoever takes the last checkpoint gets one that is whole, however often it is replaced."""
    trainer = trainer_of(run, steps=60, checkpoint_every=1, keep=1)
    training = threading.Thread(target=trainer.fit, kwargs={"resume": True})
    training.start()
    steps = []
    while training.is_alive():
        steps.append(loading.load(str(run.path)).step)
    training.join()
    assert run.checkpoint().step == 60
    assert len(steps) > 5
    assert len(set(steps)) > 3


@pytest.mark.parametrize("arguments", [["list", "runs"], ["train", "vae", "--steps", "1"]])
def test_a_home_that_is_a_file(
    arguments: list[str], home: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    home.write_text("no folder")
    code = command([*arguments, "-q"])
    lines = capfd.readouterr().err.splitlines()
    assert code == {"list": 0, "train": 3}[arguments[0]]
    assert code == 0 or (len(lines) == 2 and str(home) in lines[0]), lines
    assert home.read_text() == "no folder"


def test_a_home_that_cannot_be_written(
    disk: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]  # noqa: F811
) -> None:  # fmt: skip
    monkeypatch.setenv("GENCLI_HOME", str(disk))
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    assert command(["train", "vae", "--steps", "1", "-q"]) != 0
    problem, cure = capfd.readouterr().err.splitlines()
    assert str(disk) in problem
    assert "Read-only file system" in problem
    assert cure.startswith("  try: ")


@pytest.mark.parametrize("to", ["file:///etc/hostname", "ftp://127.0.0.1/x", "http://127.0.0.1:1/"])
def test_a_redirection_to_elsewhere(server: Server, home: Path, to: str) -> None:  # noqa: F811
    """What it leads to is not read, or is not what was asked for; the next source serves."""
    server.script["/first/a.bin"] = [f"redirect {to}"]
    server.script["/second/a.bin"] = ["whole"]
    sources = tuple(server.url + name for name in ("first/", "second/"))
    (path,) = fetch("somewhere", [RemoteFile("a.bin", sources, CHECKSUM)])
    assert path.read_bytes() == CONTENT


@pytest.fixture
def forked(home: Path) -> Iterator[Callable[[Run, int], list[str]]]:
    """Kill trainings of a run at random moments; gives the lines that were printed."""
    program = """
import os, random, signal, sys, time
from gencli.runs import Run
from tests.unit.small_run import small_run, trainer_of
import torch
torch.set_num_threads(1)
small_run(steps=1)  # imports here what each child would import
rng, run = random.Random(7), Run(__import__("pathlib").Path(sys.argv[1]))
for _ in range(int(sys.argv[2])):
    before = run.checkpoint().step
    pid = os.fork()
    if pid == 0:
        trainer_of(run, steps=10**6, checkpoint_every=1, log_every=1).fit(resume=True)
        os._exit(0)
    deadline = time.monotonic() + 60
    while run.checkpoint().step == before and time.monotonic() < deadline:
        time.sleep(0.002)
    time.sleep(rng.random() * 0.05)
    os.kill(pid, signal.SIGKILL)
    assert os.WIFSIGNALED(os.waitpid(pid, 0)[1])
    for checkpoint in run.checkpoints():
        checkpoint.tensors("model.safetensors")
        checkpoint.tensors("trainer.safetensors")
    print(before, run.checkpoint().step)
"""

    def kill(run: Run, n: int) -> list[str]:
        done = subprocess.run(
            [sys.executable, "-c", program, str(run.path), str(n)], capture_output=True, text=True,
            cwd=Path(__file__).parents[2],
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    return kill


@pytest.mark.slow
def test_200_kills_at_random_moments(
    run: Run, forked: Callable[[Run, int], list[str]], record_property: Callable[[str, int], None]
) -> None:
    n = 200
    record_property("kills survived", n)
    lines = [tuple(map(int, line.split())) for line in forked(run, n)]
    assert len(lines) == n
    assert all(before < after for before, after in lines)
    trainer_of(run, steps=lines[-1][1] + 2).fit(resume=True)
    assert not list((run.path / "checkpoints").glob(".*"))
    rows = [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]
    steps = [row["step"] for row in rows if "loss" in row]
    assert steps == sorted(set(steps))


@pytest.mark.slow
def test_eight_trainings_on_a_cold_cache(gencli, image_folder: Path) -> None:  # type: ignore[no-untyped-def]
    start = [sys.executable, "-m", "gencli", "train", "vae", "--data", str(image_folder), "-q"]
    small = ["--hidden", "8", "--latent-dim", "2", "--steps", "3", "--sample-every", "0"]
    trainings = [
        subprocess.Popen([*start, *small], env=gencli.environment, stderr=subprocess.PIPE)
        for _ in range(8)
    ]
    for training in trainings:
        _, err = training.communicate(timeout=250)
        assert training.returncode == 0, err
    runs = list((Path(gencli.environment["GENCLI_HOME"]) / "runs").glob("vae*"))
    assert len(runs) == 8
    losses = {(run / "metrics.jsonl").read_text().split('"loss"')[1][:12] for run in runs}
    assert len(losses) == 1
