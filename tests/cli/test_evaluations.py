"""Evaluations stay with their run, and lists and sheets show them."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import shutil
import struct
import subprocess
import sys
import termios
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.conftest import Gencli


@pytest.fixture(scope="module")
def run(gencli: Gencli, image_folder: Path) -> Path:
    """A small VAE, trained and evaluated by two processes at once."""
    options = ("--hidden", "32", "--latent-dim", "2", "--batch-size", "20", "--name", "flat")
    done = gencli("train", "vae", "--data", str(image_folder), "--epochs", "2", *options, "-q")
    with ThreadPoolExecutor(2) as pool:
        jobs = [
            pool.submit(gencli, "evaluate", "flat", "--metrics", metric, "--seed", "5", "--json")
            for metric in ("nll_bound", "reconstruction")
        ]
    printed = [json.loads(job.result().stdout) for job in jobs]
    assert all("preparing the evaluation" in job.result().stderr for job in jobs)
    run = Path(done.stdout.strip())
    (run / "printed.json").write_text(json.dumps(printed))
    return run


def test_each_has_a_file_of_its_own(run: Path):
    records = [json.loads(file.read_text()) for file in (run / "evaluations").iterdir()]
    assert len(records) == 2
    printed = json.loads((run / "printed.json").read_text())
    by_metric = {next(iter(record["metrics"])): record for record in records}
    for document in printed:
        record = by_metric[next(iter(document["metrics"]))]
        assert {key: record[key] for key in document} == document
        assert record["settings"]["seed"] == 5
        assert record["step"] > 0
        assert record["created"] > 1.7e9


def test_lists_show_the_main_figure_size_and_time(gencli: Gencli, run: Path):
    (row,) = json.loads(gencli("list", "runs", "--json").stdout)
    bound = json.loads((run / "printed.json").read_text())[0]["metrics"]["nll_bound"]["value"]
    assert (row["metric"], row["value"]) == ("nll_bound", bound)
    files = [path for path in run.rglob("*") if path.is_file()]
    assert abs(row["size"] - sum(path.stat().st_size for path in files)) < 100
    assert row["trained"] >= 0
    assert row["status"] == "done"


def test_info_is_one_screen(gencli: Gencli, run: Path):
    shown = gencli("info", "flat").stdout.splitlines()
    heads = {line.split("  ")[0].strip() for line in shown}
    assert len(shown) <= 20
    assert {
        *("run", "directory", "created", "trained", "parameters", "last losses", "best"),
        *("checkpoints", "evaluations", "options", "made with", "command"),
    } <= heads
    text = "\n".join(shown)
    assert "nll_bound" in text
    assert "--latent-dim 2" in text
    assert "--lr " not in text.split("made with")[0]


def on_a_terminal(gencli: Gencli, columns: int, *arguments: str) -> list[str]:
    """The lines that a command writes to a terminal of so many columns."""
    read, write = pty.openpty()
    fcntl.ioctl(write, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    environment = {k: v for k, v in gencli.environment.items() if k != "COLUMNS"}
    command = [sys.executable, "-m", "gencli", *arguments]
    subprocess.run(command, stdin=write, stdout=write, stderr=write, env=environment, check=True)
    text = os.read(read, 65536).decode()
    os.close(read)
    os.close(write)
    return text.splitlines()


@pytest.mark.parametrize("subject", ["flat", "vae"])
def test_info_breaks_lines_at_words(gencli: Gencli, run: Path, subject: str):
    """A path may be longer than a line; nothing else is."""
    shown = on_a_terminal(gencli, 60, "info", subject)
    assert max(len(line) for line in shown if "/" not in line) <= 60
    whole = gencli("info", subject).stdout
    assert " ".join(" ".join(shown).split()) == " ".join(whole.split())


@pytest.mark.parametrize("columns", [60, 80])
def test_the_list_fits_its_terminal(gencli: Gencli, run: Path, columns: int):
    lines = on_a_terminal(gencli, columns, "list", "runs")
    assert len(lines) == 2
    for word in ("flat", "done", "nll_bound"):
        assert word in lines[1]


def test_damage_and_links_are_left_alone(gencli: Gencli, run: Path, tmp_path: Path):
    (run / "evaluations" / "bad.json").write_text('{"format": 1, "metrics": 3}')
    (run / "evaluations" / "empty.json").write_text("")
    assert "nll_bound" in gencli("info", "flat").stdout
    received = tmp_path / "received"
    shutil.copytree(run, received)
    shutil.rmtree(received / "evaluations")
    (tmp_path / "elsewhere").mkdir()
    (received / "evaluations").symlink_to(tmp_path / "elsewhere")
    done = gencli("evaluate", str(received), "--metrics", "reconstruction")
    assert "not kept" in done.stderr
    assert not list((tmp_path / "elsewhere").iterdir())
