"""Threads: how they wait, how many there are, and that the user's word counts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from gencli import threads
from tests.conftest import Gencli

SMALL = ("--hidden", "8", "--latent-dim", "2", "--batch-size", "20", "--steps", "2")


@pytest.mark.parametrize(
    ("said", "policy"),
    [
        ({}, "passive"),
        ({"OMP_WAIT_POLICY": "active"}, "active"),
        ({"GOMP_SPINCOUNT": "5"}, None),
        ({"KMP_BLOCKTIME": "0"}, None),
    ],
)
def test_waiting_threads_sleep_unless_told_otherwise(said: dict[str, str], policy: str | None):
    environment = dict(said)
    threads.wait_asleep(environment)
    assert environment.get("OMP_WAIT_POLICY") == policy
    assert environment == ({"OMP_WAIT_POLICY": policy} if policy else {}) | said


def test_it_is_said_before_torch_is_imported():
    program = (
        "import os, sys, gencli.__main__ as m\n"
        "assert 'torch' not in sys.modules and 'OMP_WAIT_POLICY' not in os.environ\n"
        "import gencli.cli.app as a\n"
        "a.run = lambda: print(os.environ['OMP_WAIT_POLICY'], 'torch' in sys.modules)\n"
        "m.main()"
    )
    said = {k: v for k, v in os.environ.items() if k not in threads.WAITING}
    done = subprocess.run([sys.executable, "-c", program], env=said, capture_output=True, text=True)
    assert done.stdout.split() == ["passive", "False"], done.stderr


@pytest.mark.parametrize(
    ("asked", "before", "environment", "used"),
    [
        *[(3, 1, {}, 3), (None, 1, {}, 1), (None, None, {}, 2), (None, 9, {}, 4)],
        *[(None, 1, {"OMP_NUM_THREADS": "2"}, 5), (3, 1, {"OMP_NUM_THREADS": "2"}, 3)],
    ],
)
def test_who_says_how_many(
    monkeypatch: pytest.MonkeyPatch, asked: int | None, before: int | None, environment, used: int
):
    for name in threads.COUNTS:
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(threads, "cores", lambda: 4)
    restored = torch.get_num_threads()
    try:
        torch.set_num_threads(5)  # as the environment would have it
        assert threads.use(asked, before) == used
        assert threads.use(asked, before) == used  # not half of the half
    finally:
        torch.set_num_threads(restored)


@pytest.mark.slow
def test_a_run_keeps_its_threads(gencli: Gencli, image_folder: Path):
    done = gencli(
        *("train", "vae", "--data", str(image_folder), *SMALL, "--threads", "2", "--name", "two")
    )
    assert "with 2 threads" in done.stderr
    record = json.loads((Path(done.stdout.strip()) / "run.json").read_text())
    assert record["threads"] == 2
    same = gencli("train", "vae", "--resume", "two", "--steps", "4", "--threads", "2")
    assert "last bits" not in same.stderr
    other = gencli("train", "vae", "--resume", "two", "--steps", "6", "--threads", "1")
    assert "threads: 2 before and 1 now; results may differ in the last bits" in other.stderr
