"""`gencli sweep`: every combination once; stopped and continued it gives the same table."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gencli import sweep
from gencli.errors import UsageError
from tests.conftest import Gencli


def test_sets_are_checked_before_anything_runs():
    sets = sweep.parse_sets("vae", ["lr=1e-4,1e-3", "hidden=8,4;16", "--kl-warmup=3"])
    assert sets == {"lr": ["1e-4", "1e-3"], "hidden": ["8,4", "16"], "kl_warmup": ["3"]}
    for wrong in ("lr", "lr=", "lrr=1", "lr=fast", "latent_dim=0", "activation=none"):
        with pytest.raises(UsageError):
            sweep.parse_sets("vae", [wrong])
    with pytest.raises(UsageError, match="twice"):
        sweep.parse_sets("vae", ["lr=1", "lr=2"])


def test_the_plan_is_every_combination_or_some():
    sets = {"a": ["1", "2"], "b": ["x", "y", "z"]}
    points = sweep.plan("s", sets, at_random=None, seeds=2)
    assert len({tuple(point.options.items()) for point in points}) == len(points) == 12
    assert points[0].run == "s-001"
    assert points[1].options == {"a": "1", "b": "x", "seed": "1"}
    drawn = sweep.plan("s", sets, at_random=4, seeds=1)
    assert len({tuple(point.options.items()) for point in drawn}) == 4
    assert drawn == sweep.plan("s", sets, at_random=4, seeds=1)
    assert len(sweep.plan("s", sets, at_random=99, seeds=1)) == 6
    with pytest.raises(UsageError):
        sweep.plan("s", {"seed": ["1", "2"]}, at_random=None, seeds=2)
    with pytest.raises(UsageError):
        sweep.plan("s", {"a": ["1"] * 200}, at_random=None, seeds=999)
    truth = sweep.Point("s-001", {"direct": "false", "lr": "1"})
    assert truth.arguments() == ["--no-direct", "--lr", "1"]


COMMON = ("--batch-size", "20", "--hidden", "8", "--val", "8", "--sample-every", "0")


def rows_of(done: subprocess.CompletedProcess) -> list[dict]:
    return json.loads(done.stdout)["combinations"]


def test_a_sweep_and_what_it_refuses(gencli: Gencli, image_folder: Path):
    options = ("--data", str(image_folder), "--epochs", "1", *COMMON)
    first = ("sweep", "vae", "--set", "latent_dim=1,2", "--name", "s", "--json", "--jobs", "2")
    trained = gencli(*first, *options)
    rows = rows_of(trained)
    assert "s-001 (latent_dim 1) ..." in trained.stderr.splitlines()
    assert sorted(row["options"]["latent_dim"] for row in rows) == ["1", "2"]
    assert all(row["states"] == ["done"] and row["val_loss"] > 0 for row in rows)
    assert rows[0]["val_loss"] <= rows[1]["val_loss"]
    again = gencli(*first, *options)
    assert rows_of(again) == rows
    assert "2 runs, 2 of them done" in again.stderr
    gencli("sweep", "vae", "--set", "latent_dim=3", "--name", "s", *options, expect=2)
    wrong = gencli("sweep", "vae", "--set", "latent_dim=3", "--no-such-option", "1", expect=2)
    assert "no-such-option" in wrong.stderr
    table = gencli(
        "sweep", "vae", "--set", "latent_dim=1,2", "--name", "s", *options, "--jobs", "2"
    )
    assert "sweep s, by validation loss" in table.stdout.splitlines()


@pytest.mark.slow
def test_a_sweep_that_was_stopped_goes_on_to_the_same_table(gencli: Gencli, image_folder: Path):
    options = ("--data", str(image_folder), "--steps", "1500", *COMMON, "--checkpoint-every", "50")
    sets = ("--set", "latent_dim=1,2", "--json")
    whole = rows_of(gencli("sweep", "vae", *sets, "--name", "whole", *options))
    command = ["sweep", "vae", *sets, "--name", "part", *options]
    runs = Path(gencli.environment["GENCLI_HOME"]) / "runs"
    started = subprocess.Popen(
        [sys.executable, "-m", "gencli", *command], env=gencli.environment,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while not list(runs.glob("part-001/checkpoints/step-*")) and time.monotonic() < deadline:
        time.sleep(0.05)
    started.send_signal(signal.SIGINT)
    _, told = started.communicate(timeout=60)
    assert started.returncode == 130, told
    assert "continues it" in told
    rows = rows_of(gencli(*command))
    assert [(r["options"], r["val_loss"]) for r in rows] == [
        (r["options"], r["val_loss"]) for r in whole
    ]
