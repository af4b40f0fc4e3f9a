"""The command, or a program, in a process of its own that has torch: importing it takes seconds.

A server imports what is not ours and forks for each command. The child has the arguments, the
environment, the folder and the streams of a new process, and imports all of gencli itself. What
Python or torch read once, as they start, cannot be changed so: `Gencli` then starts anew.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import BinaryIO

STARTS_ALONE = ("PYTHON", "LC_", "LANG", "OMP_", "MKL_", "KMP_", "GOMP_", "LD_", "TORCH", "WORLD_")
"""Beginnings of names of variables that are read as a process starts."""

IMPORTED = (
    "torch", "torch._dynamo", "numpy", "PIL.Image", "safetensors.torch", "typer", "rich.console",
    "pydantic.main", "pydantic.type_adapter",
)  # fmt: skip
"""What the server imports: packages of others that most commands need.

The first optimizer imports torch._dynamo, which takes longer than the rest of a small training.
"""

_ROOT = Path(__file__).parent.parent


def at_start(environment: Mapping[str, str]) -> dict[str, str]:
    """The part of an environment that is read as a process starts, and cannot be changed later."""
    fixed = {k: v for k, v in environment.items() if k.startswith(STARTS_ALONE)}
    fixed.pop("PYTHONPATH", None)  # `_become` changes sys.path
    return fixed


class Process:
    """A command that was started: what tests use of `subprocess.Popen`.

    Args:
        arguments: Its own.
        environment: All of it; see `at_start` for what must be ours.
        cwd: Where it runs.
        program: Python's, in place of the command.
        stdout: A file descriptor, or subprocess.PIPE or DEVNULL; it is ours if there is none.
        stderr: Likewise.
    """

    def __init__(
        self, arguments: tuple[str, ...], environment: dict[str, str], cwd: Path | None = None,
        *, program: str | None = None, stdout: int | None = None, stderr: int | None = None,
    ) -> None:  # fmt: skip
        self.args, self.returncode = ["gencli", *arguments], None
        self._answers, theirs = socket.socketpair()
        self.stdout, out = _stream(stdout, 1)
        self.stderr, err = _stream(stderr, 2)
        with theirs:
            socket.send_fds(_server(), [b"."], [theirs.fileno(), out, err])
        os.close(out)
        os.close(err)
        request = {
            "arguments": arguments,
            "environment": environment,
            "cwd": str(cwd or Path.cwd()),
            "program": program,
        }
        self._answers.sendall(json.dumps(request).encode() + b"\n")
        self.pid = _number(self._answers)

    def wait(self, timeout: float | None = None) -> int:
        """Its exit code, or minus the signal that ended it.

        Raises:
            subprocess.TimeoutExpired: If it takes longer than `timeout` seconds.
        """
        if self.returncode is None:
            self._answers.settimeout(timeout)
            try:
                self.returncode = _number(self._answers)
            except (TimeoutError, BlockingIOError):
                raise subprocess.TimeoutExpired(self.args, timeout or 0) from None
            self._answers.close()
        return self.returncode

    def poll(self) -> int | None:
        """Its exit code if it has ended."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(timeout=0)
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def communicate(self, timeout: float | None = None) -> tuple[bytes, bytes]:
        """What it wrote to stdout and stderr where they are pipes, once it has ended."""
        told = [b"", b""]

        def read(i: int, file: BinaryIO) -> None:
            with file:
                told[i] = file.read()

        reading = [
            threading.Thread(target=read, args=(i, file), daemon=True)
            for i, file in enumerate((self.stdout, self.stderr))
            if file
        ]
        for thread in reading:
            thread.start()
        self.wait(timeout)
        for thread in reading:
            thread.join()
        return told[0], told[1]


def _stream(wanted: int | None, ours: int) -> tuple[BinaryIO | None, int]:
    """The end to read from, of a pipe; and the descriptor that the command gets."""
    if wanted == subprocess.PIPE:
        reader, writer = os.pipe()
        return open(reader, "rb"), writer
    if wanted == subprocess.DEVNULL:
        return None, os.open(os.devnull, os.O_WRONLY)
    return None, os.dup(ours if wanted is None else wanted)


def _number(connection: socket.socket) -> int:
    """What the keeper says next: a process id, then an exit code."""
    said = connection.recv(4)
    assert len(said) == 4, "the keeper has gone"
    return int.from_bytes(said, "big", signed=True)


@cache
def _server() -> socket.socket:
    ours, theirs = socket.socketpair()
    compiled = tempfile.TemporaryDirectory(prefix="gencli-tests-")
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.warm", str(theirs.fileno()), compiled.name],
            pass_fds=[theirs.fileno()], cwd=_ROOT, stdin=subprocess.DEVNULL,
        )  # fmt: skip

    def end() -> None:
        ours.close()
        process.wait()
        compiled.cleanup()

    atexit.register(end)
    return ours


def _serve(requests: socket.socket) -> str | None:
    """Fork twice for each request: for its keeper, and for what becomes the command.

    That one comes back from here, with the program that it is to run, if any; the keeper waits for
    it and tells its exit code.
    """
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for keepers
    while True:
        more, opened, _, _ = socket.recv_fds(requests, 1, 3)
        if not more:
            os._exit(0)
        if os.fork() == 0:
            break
        for number in opened:
            os.close(number)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    requests.close()
    connection, streams = socket.socket(fileno=opened[0]), opened[1:]
    with connection.makefile("rb") as lines:
        request = json.loads(lines.readline())
    pid = os.fork()
    if pid == 0:
        connection.close()
        _become(request, streams)
        program: str | None = request["program"]
        return program
    for stream in streams:
        os.close(stream)
    connection.sendall(pid.to_bytes(4, "big", signed=True))
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    with contextlib.suppress(BrokenPipeError):  # nobody waits for it
        connection.sendall(code.to_bytes(4, "big", signed=True))
    os._exit(0)


def _become(request: dict, streams: list[int]) -> None:
    os.chdir(request["cwd"])
    theirs = _searched(request["environment"])
    sys.path[1:] = theirs + [p for p in sys.path[1:] if p not in _searched(os.environ) + theirs]
    os.environ.clear()
    os.environ.update(request["environment"])
    for number, stream in enumerate(streams, start=1):
        os.dup2(stream, number)
        os.close(stream)
    for name in ("stdout", "stderr"):
        old = getattr(sys, name)
        new = open(old.fileno(), "w", encoding=old.encoding, errors=old.errors, closefd=False)  # noqa: SIM115
        setattr(sys, name, new)
    sys.argv = ["gencli", *request["arguments"]]
    sys.path[0] = request["cwd"]


def _searched(environment: Mapping[str, str]) -> list[str]:
    """The folders that PYTHONPATH names."""
    return [path for path in environment.get("PYTHONPATH", "").split(os.pathsep) if path]


if __name__ == "__main__":
    import gc
    import importlib
    import runpy

    for name in IMPORTED:
        importlib.import_module(name)
    if sys.dont_write_bytecode:  # else each child compiles gencli anew
        sys.dont_write_bytecode, sys.pycache_prefix = False, sys.argv[2]
    os.fsync = os.fstat  # as in conftest.py
    gc.freeze()  # a child then looks through nothing but its own
    program = _serve(socket.socket(fileno=int(sys.argv[1])))
    if program is None:
        runpy.run_module("gencli", run_name="__main__", alter_sys=True)
    else:
        exec(compile(program, "program", "exec"), {"__name__": "__main__"})
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)  # taking down Python with torch in it takes a second
