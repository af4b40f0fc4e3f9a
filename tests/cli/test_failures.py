"""Whatever fails reaches a person as two lines; whatever stream is closed, work done is exit 0."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from gencli.cli.failures import MEMORY, described
from gencli.errors import DataError
from tests.conftest import Gencli

pytestmark = pytest.mark.reliability("faults injected")

RAISING = """
import sys
from gencli import registry
def models():
    raise {failure}
registry.models = models
from gencli.__main__ import main
sys.argv = ["gencli", "list", "models"]
main()
"""

FAILURES = [
    "KeyError('weights')",
    "RuntimeError('first line\\nsecond line')",
    "RecursionError()",
    "AssertionError()",
    "ExceptionGroup('several', [ValueError('one')])",
]


def python(code: str, gencli: Gencli, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True, text=True, env=gencli.environment | environment, timeout=60,
    )  # fmt: skip


@pytest.mark.parametrize("failure", FAILURES)
def test_what_is_not_foreseen_is_two_lines_and_exit_1(failure: str, gencli: Gencli):
    done = python(RAISING.format(failure=failure), gencli)
    assert done.returncode == 1
    problem, cure = done.stderr.splitlines()
    assert failure.partition("(")[0] in problem
    assert "GENCLI_DEBUG=1" in cure


def test_debug_shows_the_traceback(gencli: Gencli):
    done = python(RAISING.format(failure="KeyError('weights')"), gencli, GENCLI_DEBUG="1")
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "in models" in done.stderr


@pytest.mark.parametrize(
    "failure",
    [
        MemoryError(),
        RuntimeError("[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: not enough memory"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB."),
    ],
    ids=str,
)
def test_too_little_memory_names_the_batch_size(failure: Exception):
    said = described(failure)
    assert said.exit_code == 1
    assert "memory" in said.problem
    assert said.cure == MEMORY
    assert "--batch-size" in said.cure


def test_how_much_memory_was_wanted():
    with pytest.raises(RuntimeError) as failure:
        torch.empty(1 << 55)  # as torch of this version puts it
    said = described(failure.value)
    assert said.problem == "There is not enough memory for 144115188 GB."
    assert said.cure == MEMORY


def test_a_refusal_of_the_operating_system_names_the_path():
    said = described(PermissionError(errno.EACCES, "Permission denied", "/some/file"))
    assert said.problem == "Permission denied: /some/file."


def test_an_interrupted_import_is_an_interruption():
    failure = ImportError("numpy failed to import")
    failure.__cause__ = KeyboardInterrupt()
    assert described(failure).exit_code == 130


def test_ours_stay_as_they_are():
    failure = DataError("a", "b")
    assert described(failure) is failure


@pytest.mark.parametrize(
    "arguments",
    [
        ["train", "vae", "--epochs", "none"],
        ["train", "vae", "--epochs"],
        ["train", "vae", "--lr", "-1"],
        ["train", "vae", "--lr-schedule", "cos"],
        ["train", "vae", "--compile=3"],
        ["train", "vae", "extra"],
        ["sample", "vae", "--n", "0"],
        ["sample", "vae", "--n", "2.5"],
        ["sample", "vae", "--out"],
        ["list"],
        ["list", "pictures"],
        ["nothing"],
        ["--nothing"],
    ],
    ids=" ".join,
)
def test_no_message_of_typer_or_pydantic_passes_through(arguments: list[str], gencli: Gencli):
    problem, cure = gencli(*arguments, expect=2).stderr.splitlines()
    for words in ("Input should", "Value error", "Invalid value", "No such", "requires an arg"):
        assert words not in problem + cure
    assert problem.startswith("error: ")
    assert "--help" in cure or "It is one of" in cure


@pytest.mark.parametrize("option", ["--data", "--config"])
def test_a_home_of_nobody(option: str, gencli: Gencli):
    done = gencli("train", "vae", option, "~nobody-of-that-name/x", expect=2)
    assert "no such user" in done.stderr
    assert len(done.stderr.splitlines()) == 2


def shell(line: str, gencli: Gencli, **environment: str) -> subprocess.CompletedProcess[str]:
    command = f"{sys.executable} -m gencli"
    return subprocess.run(
        ["bash", "-c", line.replace("gencli", command)],
        capture_output=True, text=True, env=gencli.environment | environment, timeout=120,
    )  # fmt: skip


@pytest.mark.parametrize(
    "line",
    [
        "gencli list models | true; exit ${PIPESTATUS[0]}",
        "gencli --help | true; exit ${PIPESTATUS[0]}",
        "gencli train vae --help | head -1; exit ${PIPESTATUS[0]}",
        "gencli list models --json | head -1; exit ${PIPESTATUS[0]}",
        "gencli list models >&-",
        "gencli list models 2>&-",
        "gencli list runs 2>&-",
        "gencli list runs 2>/dev/full",
        "gencli list models <&- >&- 2>&-",
    ],
)
def test_closed_streams_are_no_failure(line: str, gencli: Gencli):
    done = shell(line, gencli)
    assert done.returncode == 0, done.stderr
    assert done.stderr in ("", "No runs yet. Make one: gencli train vae\n")


@pytest.mark.parametrize("end", ["2>&-", "2>/dev/full", "2> >(true)"])
def test_a_failure_keeps_its_exit_code_without_stderr(end: str, gencli: Gencli):
    assert shell(f"gencli train nothing {end}", gencli).returncode == 2


def test_a_full_disk_behind_stdout_is_a_failure(gencli: Gencli):
    done = shell("gencli list models --json > /dev/full", gencli)
    assert done.returncode == 1
    assert "No space left" in done.stderr
    assert len(done.stderr.splitlines()) == 2


IN_TURN = """
import os, sys
from gencli.__main__ import main
from gencli.cli import app
for words in sys.argv[1:]:
    child = os.fork()  # from a process that has imported what commands without torch need
    if child == 0:
        sys.argv = ["gencli", *words.split()]
        main()
    print("==", words.partition(" ")[0], os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]),
          file=sys.stderr, flush=True)
"""


@pytest.mark.parametrize(
    "environment",
    [{"LC_ALL": "C"}, {"PYTHONIOENCODING": "ascii"}, {"PYTHONIOENCODING": "cp1252"}],
    ids=str,
)
def test_every_encoding_of_the_output(environment: dict[str, str], gencli: Gencli):
    done = subprocess.run(
        [sys.executable, "-c", IN_TURN,
         "list models", "list datasets", "train --help", "info vae", "train größe"],
        capture_output=True, env=gencli.environment | environment, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = [line.split() for line in done.stderr.splitlines() if line.startswith(b"==")]
    codes = [(verb, int(code)) for _, verb, code in told]
    assert codes == [
        (b"list", 0), (b"list", 0), (b"train", 0), (b"info", 0), (b"train", 2)
    ], done.stderr  # fmt: skip
    assert b"Traceback" not in done.stderr


def test_no_colours_on_a_pipe(gencli: Gencli):
    for arguments in ("--help", "train vae --help", "list models", "list runs"):
        done = shell(f"gencli {arguments}", gencli, FORCE_COLOR="1", GITHUB_ACTIONS="true")
        assert done.returncode == 0
        assert "\x1b" not in done.stdout


def test_names_with_brackets_are_shown_as_they_are(gencli: Gencli):
    code = """
        from rich.table import Table
        from gencli.cli import console
        table = Table(title="[bold]title")
        table.add_column("[red]x")
        table.add_row("[red]y :smile:")
        console.emit_table(table)
    """
    done = python("if True:" + code, gencli)
    assert all(text in done.stdout for text in ("[bold]title", "[red]x", "[red]y :smile:"))
    done = gencli("info", "[red]x", expect=2)
    assert "[red]x" in done.stderr


def test_control_characters_cannot_write_to_the_terminal(gencli: Gencli):
    done = gencli("train", "a\x1b[2Jb\nc", expect=2)
    assert len(done.stderr.splitlines()) == 2
    assert "\x1b" not in done.stderr


def test_json_is_ascii(gencli: Gencli):
    code = "from gencli.cli import console; console.emit_json({'name': 'größe \\udcff'})"
    done = python(code, gencli)
    assert done.stdout.isascii()
    assert json.loads(done.stdout) == {"name": "größe \udcff"}


@pytest.mark.parametrize("wait", [0.1, 0.5])
def test_ctrl_c_while_it_starts(wait: float, gencli: Gencli, tmp_path: Path):
    """Wherever it falls, in the imports of main too; what it found done is exit 0."""
    begun = tmp_path / "begun"
    code = f"""
import pathlib, sys
from gencli.__main__ import main
pathlib.Path({str(begun)!r}).touch()
sys.argv = ["gencli", "doctor", "-q"]
main()
"""
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=gencli.environment,
    )  # fmt: skip
    while not begun.exists():
        time.sleep(0.005)
    time.sleep(wait)
    os.kill(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    if process.returncode == 0:
        assert out
    elif process.returncode != -signal.SIGINT:  # after all was printed
        assert process.returncode == 130
        assert err == "error: Stopped.\n  try: Run the command again to start over.\n"
