"""What several test files share."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import warm

# pytest runs a process on each core (pyproject.toml); subprocesses of the command inherit this
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Subprocesses inherit what is ignored: under nohup or in the background no signal would reach them.
if threading.current_thread() is threading.main_thread():
    for _number, _handler in (
        (signal.SIGINT, signal.default_int_handler),
        (signal.SIGHUP, signal.SIG_DFL),
    ):
        if signal.getsignal(_number) is signal.SIG_IGN:
            signal.signal(_number, _handler)

COUNTED = (
    "kills survived", "flips caught", "cases fuzzed", "faults injected", "exact resumes",
)  # fmt: skip
"""What `pytest -m reliability` counts; docs/reliability.md says which tests."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A test marked `reliability(KIND)` counts as one of that kind."""
    for item in items:
        mark = item.get_closest_marker("reliability")
        item.user_properties.extend((kind, 1) for kind in (mark.args if mark else ()))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many there were in the tests that passed."""
    told = [
        (kind, number)
        for report in terminalreporter.stats.get("passed", ())
        if report.when == "call"
        for kind, number in report.user_properties
    ]
    totals = {kind: sum(number for of, number in told if of == kind) for kind in COUNTED}
    if any(totals.values()):
        counts = ", ".join(f"{n:,} {kind}" for kind, n in totals.items())
        terminalreporter.write_line(f"reliability: {counts}")


@pytest.fixture(scope="module", autouse=True)
def _little_to_look_through() -> None:
    """What earlier files and their imports left is no more looked through as memory is freed."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def _no_waiting_for_the_disk() -> Iterator[None]:
    """No test cuts the power, and a training waits for the disk twenty times; see `warm` too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", os.fstat)
        yield


TIMEOUT = 280.0
"""Seconds for a command."""

REAL_DATA = Path(__file__).parent.parent.parent / "shared" / "data"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fresh GENCLI_HOME, and nothing else of the environment that gencli reads."""
    for name in [name for name in os.environ if name.startswith("GENCLI_")]:
        monkeypatch.delenv(name)
    folder = tmp_path / "home"
    monkeypatch.setenv("GENCLI_HOME", str(folder))
    return folder


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real data sets, laid out as a mirror."""
    if not (REAL_DATA / "mnist").is_dir():
        pytest.skip("the real data sets are not on this machine")
    return REAL_DATA


ROOT = Path(__file__).parent.parent


class Gencli:
    """Runs the real command in a process of its own with a GENCLI_HOME of its own."""

    def __init__(self, home: Path, **environment: str) -> None:
        kept = {k: v for k, v in os.environ.items() if not k.startswith("GENCLI_")}
        self.environment = kept | {"GENCLI_HOME": str(home)} | environment

    def start(
        self, *arguments: str, cwd: Path | None = None, program: str | None = None, **streams: int
    ) -> subprocess.Popen[bytes] | warm.Process:
        """The command, or a program, as it runs; streams are as `subprocess.Popen` takes them."""
        if hasattr(os, "fork") and warm.at_start(self.environment) == warm.at_start(os.environ):
            return warm.Process(arguments, self.environment, cwd, program=program, **streams)
        what = ["-m", "gencli"] if program is None else ["-c", program]
        whole = [sys.executable, *what, *arguments]
        return subprocess.Popen(whole, env=self.environment, cwd=cwd, **streams)

    def python(self, program: str, *arguments: str, expect: int = 0) -> subprocess.CompletedProcess:
        """A finished program, which may import these tests; see `__call__`."""
        return self(*arguments, expect=expect, cwd=ROOT, program=program)

    def __call__(
        self, *arguments: str, expect: int = 0, cwd: Path | None = None, binary: bool = False,
        program: str | None = None,
    ) -> subprocess.CompletedProcess:  # fmt: skip
        """The finished command.

        Args:
            *arguments: Its own.
            expect: Its exit code.
            cwd: Where it runs.
            binary: Leave what it wrote as bytes.
            program: Python's, in place of the command.
        """
        process = self.start(
            *arguments, cwd=cwd, program=program, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        try:
            out, err = process.communicate(timeout=TIMEOUT)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
        done = subprocess.CompletedProcess(process.args, process.returncode, out, err)
        if not binary:
            done.stdout, done.stderr = done.stdout.decode(), done.stderr.decode()
        assert done.returncode == expect, f"{arguments}: {done.stdout!r}\n{done.stderr!r}"
        return done


@pytest.fixture(scope="module")
def image_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes of 40 small grey PNG files each, drawn by the package's own stroke model."""
    from PIL import Image

    from gencli.data.glyphs import render

    folder = tmp_path_factory.mktemp("images")
    glyphs = render(400, seed=3)
    for digit in (0, 1):
        (folder / f"class-{digit}").mkdir()
        for i, image in enumerate(glyphs.images[glyphs.labels == digit][:40]):
            Image.fromarray(image[0]).save(folder / f"class-{digit}" / f"{i:03d}.png")
    assert len(list(folder.glob("*/*.png"))) > 60
    return folder


@pytest.fixture(scope="module")
def gencli(tmp_path_factory: pytest.TempPathFactory) -> Gencli:
    """The command, with one GENCLI_HOME for the tests of a file."""
    return Gencli(tmp_path_factory.mktemp("home"))
