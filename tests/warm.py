"""The real command in a process of its own that has torch already: importing it takes seconds.

A server imports what is not ours and forks for each command. The child has the arguments, the
environment, the folder and the streams of a new process, and imports all of gencli itself. What
Python or torch read once, as they start, cannot be changed so: `Gencli` then starts anew.
"""

from __future__ import annotations

import atexit
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


def run(
    arguments: tuple[str, ...], environment: dict[str, str], cwd: Path | None, timeout: float
) -> tuple[int, bytes, bytes]:
    """The command's exit code, and what it wrote to stdout and stderr.

    Raises:
        subprocess.TimeoutExpired: If it takes longer than `timeout` seconds; it is killed.
    """
    ours, theirs = socket.socketpair()
    pipes = [os.pipe(), os.pipe()]
    with theirs:
        streams = [writer for _, writer in pipes]
        socket.send_fds(_server(), [b"."], [theirs.fileno(), *streams])
    for stream in streams:
        os.close(stream)
    request = {"arguments": arguments, "environment": environment, "cwd": str(cwd or Path.cwd())}
    ours.sendall(json.dumps(request).encode() + b"\n")
    told = [b"", b""]

    def read(i: int) -> None:
        with open(pipes[i][0], "rb") as file:
            told[i] = file.read()

    reading = [threading.Thread(target=read, args=(i,)) for i in range(2)]
    for thread in reading:
        thread.start()
    with ours, ours.makefile("rb") as answers:
        pid = int(answers.readline())
        ours.settimeout(timeout)
        try:
            code = int(answers.readline())
        except TimeoutError:
            os.kill(pid, signal.SIGKILL)
            raise subprocess.TimeoutExpired(["gencli", *arguments], timeout) from None
    for thread in reading:
        thread.join()
    return code, told[0], told[1]


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


def _serve(requests: socket.socket) -> None:
    """Fork twice for each request: for its keeper, and for what becomes the command.

    That one comes back from here; the keeper waits for it and tells its exit code.
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
        return
    for stream in streams:
        os.close(stream)
    connection.sendall(b"%d\n" % pid)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    connection.sendall(b"%d\n" % code)
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
    gc.freeze()  # a child then looks through nothing but its own
    _serve(socket.socket(fileno=int(sys.argv[1])))
    runpy.run_module("gencli", run_name="__main__", alter_sys=True)
