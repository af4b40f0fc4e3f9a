"""The display as a person sees it: a real terminal, captured many times while the command runs."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(
    shutil.which("tmux") is None, reason="there is no tmux, whose terminal is captured here"
)

TINY = ("--hidden", "16", "--latent-dim", "2", "--batch-size", "8", "--log-every", "5")
TINY += ("--sample-every", "0")
JOBS = re.compile(r"loading PyTorch|decoding|reading|drawing|preparing")


class Terminal:
    """A tmux server of its own with one window that runs one gencli command."""

    def __init__(self, folder: Path, columns: int, environment: dict[str, str]) -> None:
        self._socket, self._environment = folder / "tmux", environment
        self._process = folder / "process"
        self.columns, self.lines = columns, 30

    def run(self, *arguments: str) -> None:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("GENCLI_", "TMUX"))}
        command = shlex.join([sys.executable, "-m", "gencli", *arguments])
        told = " ".join(f"{k}={shlex.quote(v)}" for k, v in self._environment.items())
        subprocess.run(
            [
                *("tmux", "-S", str(self._socket), "-f", "/dev/null", "new-session", "-d"),
                *("-x", str(self.columns), "-y", str(self.lines)),
                f"sh -c 'echo $$ > {self._process}; exec \"$@\"' sh env {told} {command}; "
                "echo exit status $?; sleep 60",
            ],
            check=True,
            env=kept,
        )

    def stop(self) -> None:
        """Ask the command to end, as `kill` does."""
        os.kill(int(self._process.read_text()), signal.SIGTERM)

    def tmux(self, *arguments: str) -> str:
        done = subprocess.run(
            ["tmux", "-S", str(self._socket), *arguments], capture_output=True, text=True
        )
        return done.stdout

    def resize(self, columns: int) -> None:
        self.tmux("resize-window", "-x", str(columns), "-y", str(self.lines))
        self.columns = columns

    def screen(self, *how: str) -> list[str]:
        text = self.tmux("capture-pane", "-p", *how)
        return [line.rstrip() for line in text.rstrip().split("\n")]

    def screens(self, seconds: float = 120) -> Iterator[list[str]]:
        """A capture every tenth of a second or so until the command is over."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            screen = self.screen()
            yield screen
            if any(line.startswith("exit status") for line in screen):
                return
            time.sleep(0.1)
        raise AssertionError(f"the command did not end: {self.screen()}")

    def close(self) -> None:
        self.tmux("kill-server")


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    opened = Terminal(tmp_path, 80, {"GENCLI_HOME": str(tmp_path / "home")})
    yield opened
    opened.close()


def faults(screen: list[str], columns: int) -> list[str]:
    """What is wrong: there is one display, whole, with losses as soon as there is a training."""
    bars = [i for i, line in enumerate(screen) if "images/s" in line]
    jobs = [line for line in screen if JOBS.search(line)]
    found = ["two displays"] if len(bars) + len(jobs) > 1 else []
    if any(line.startswith("plan:") for line in screen):
        found += [f"{job} is over" for job in jobs if "preparing the training" not in job]
    for i in bars:
        below = screen[i + 1] if i + 1 < len(screen) else ""
        if not re.match(r"(train )? *epoch +\d+.* left$", screen[i]):
            found.append("the columns are not whole")
        if not below.startswith("loss "):
            found.append("there are no losses")
        if max(len(screen[i]), len(below)) >= columns:
            found.append("a line is too wide")
    return found


def busy() -> bool:
    """Whether so much runs on this machine that nothing can be said of times."""
    return os.getloadavg()[0] > 2 * (os.cpu_count() or 1)


def check(terminal: Terminal, screen: list[str], columns: int) -> None:
    """Nothing is wrong; a capture in the middle of a frame's arrival is taken once again."""
    if faults(screen, columns):
        time.sleep(1 if busy() else 0.05)
        again = terminal.screen()
        if not any(line.startswith("exit status") for line in again):
            assert not faults(again, columns), again


def history(screen: list[str]) -> list[str]:
    return [line for line in screen if re.match(r"epoch +\d", line) and line.endswith(" s")]


@pytest.mark.parametrize(
    "columns", [60, *(pytest.param(n, marks=pytest.mark.slow) for n in (80, 200))]
)
def test_one_display_with_history(terminal: Terminal, image_folder: Path, columns: int):
    terminal.columns = columns
    began = time.monotonic()
    terminal.run("train", "vae", "--data", str(image_folder), "--max-time", "110s", *TINY)
    seen: list[str] = []
    first, training, stopped = None, 0, False
    for screen in terminal.screens():
        if first is None and any(screen):
            first = time.monotonic() - began
        if any(line.startswith("exit status") for line in screen):
            break
        check(terminal, screen, columns)
        training += any("images/s" in line for line in screen)
        lines = history(screen)
        assert lines[: len(seen)] == seen, (seen, screen)
        seen = lines
        if training > 5 and len(seen) >= 2 and not stopped:
            terminal.stop()
            stopped = True
    assert stopped, (training, seen)
    assert "exit status 143" in screen, screen
    assert all("val_loss" in line for line in seen)
    assert not any("images/s" in line for line in screen)
    assert first is not None
    assert first < 4 or busy()  # 2 s alone; other tests run beside this one


@pytest.mark.slow
def test_the_display_survives_resizing(terminal: Terminal, image_folder: Path):
    terminal.columns = 120
    terminal.run("train", "vae", "--data", str(image_folder), "--max-time", "9s", *TINY)
    widths, number = iter([60, 100, 50, 200, 61]), 0
    for screen in terminal.screens():
        if any(line.startswith("exit status") for line in screen):
            break
        if not any("images/s" in line for line in screen):
            continue
        number += 1
        if number % 4 == 0 and (columns := next(widths, None)):
            terminal.resize(columns)
            time.sleep(0.6)  # three frames
            check(terminal, terminal.screen(), columns)
    assert next(widths, None) is None, "the training was over too soon"
    assert not any("images/s" in line for line in screen)


@pytest.mark.slow
def test_without_colour_there_is_none(terminal: Terminal, image_folder: Path):
    terminal._environment["NO_COLOR"] = "1"
    terminal.run("train", "vae", "--data", str(image_folder), "--max-time", "12s", *TINY)
    *screens, last = ((plain, terminal.screen("-e")) for plain in terminal.screens())
    assert any("images/s" in line for plain, _ in screens for line in plain)
    assert not any("\x1b[" in line for _, coded in screens for line in coded)
    assert "exit status 0" in last[0]


def test_a_dumb_terminal_gets_plain_lines(terminal: Terminal, image_folder: Path):
    terminal._environment["TERM"] = "dumb"
    terminal.run("train", "vae", "--data", str(image_folder), "--steps", "20", *TINY)
    *_, screen = terminal.screens()
    assert "exit status 0" in screen
    assert sum("images/s" in line for line in screen) in (1, 2)
    assert screen[0].startswith("loading PyTorch")


@pytest.mark.slow
@pytest.mark.parametrize("columns", [60, 80, 200])
def test_previews_stand_above_the_one_display(terminal: Terminal, image_folder: Path, columns: int):
    terminal.columns = columns
    more = ("--sample-every", "1", "--preview", "--max-time", "20s")
    terminal.run("train", "vae", "--data", str(image_folder), *TINY, *more)
    both = 0
    for screen in terminal.screens():
        if any(line.startswith("exit status") for line in screen):
            break
        check(terminal, screen, columns)
        blocks = [i for i, line in enumerate(screen) if "▀" in line]
        bars = [i for i, line in enumerate(screen) if "images/s" in line]
        if blocks and bars:
            both += 1
            assert blocks == list(range(blocks[0], bars[0]))  # one picture, just above
            assert max(len(screen[i]) for i in blocks) < columns
    assert "exit status 0" in screen
    assert both > 3
    assert any("▀" in line for line in screen)  # the last one stays
