"""Image files decoded by processes of their own: small ones, of which there are very many.

In threads of one process, Python's part of each file waits for that of the others. A reader is a
plain child, `python -m gencli.data.readers SIZE`. On each line it is told files, as JSON; it
answers with a line on how many channels each has, or why it cannot be read, and then with the
pixels of all. When nobody tells it files any more it ends: so it does not outlive its parent.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from queue import SimpleQueue
from typing import BinaryIO

import numpy as np

from gencli.data.cache import Images
from gencli.data.decode import BROKEN, decode, strict_pillow, why_broken

_BUNCH = 32  # files that a reader is told at a time
_WORTH = 2.0  # seconds of work that are worth the start of readers

Told = int | str
"""Channels of an image; or why it cannot be read."""


def read(paths: Sequence[str], pixels: Images) -> list[Told]:
    """Decode files into an array.

    Args:
        paths: Of the files.
        pixels: (n, 3, size, size), of which those rows are filled whose files can be read.
    """
    told: list[Told] = []
    for path, place in zip(paths, pixels, strict=True):
        try:
            image = decode(path, place.shape[-1])
        except BROKEN as error:
            told.append(why_broken(error))
            continue
        place[:] = image
        told.append(len(image))
    return told


class Reader:
    """One such process; where there can be none, or it has gone, its work is done here.

    Args:
        size: Side of the images.
    """

    def __init__(self, size: int) -> None:
        self.process: subprocess.Popen[bytes] | None = None
        with suppress(OSError):
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-m", "gencli.data.readers", str(size)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            )  # fmt: skip

    def read(self, paths: Sequence[str], pixels: Images) -> list[Told]:
        """As the function of this name."""
        try:
            return self._asked(paths, pixels)
        except (OSError, ValueError):
            return read(paths, pixels)

    def _asked(self, paths: Sequence[str], pixels: Images) -> list[Told]:
        if not (self.process and self.process.stdin and self.process.stdout):
            raise OSError
        self.process.stdin.write(json.dumps(paths).encode() + b"\n")
        self.process.stdin.flush()
        told: list[Told] = json.loads(self.process.stdout.readline())
        content = self.process.stdout.read(pixels.nbytes)
        pixels[:] = np.frombuffer(content, np.uint8).reshape(pixels.shape)
        return told

    def end(self) -> None:
        """Stop the process."""
        if self.process:
            self.process.kill()
            with suppress(OSError), self.process:  # closes its pipes and waits for it
                pass


def read_all(
    paths: Sequence[str], pixels: Images, done: Callable[[int], object], n_readers: int = 0
) -> list[Told]:
    """As `read`, by several readers where there is work for more than a moment.

    Args:
        paths: Of the files.
        pixels: (n, 3, size, size), to be filled.
        done: Called now and then with how many files are done.
        n_readers: How many at most; 0 for one on each core, up to eight.
    """
    n_readers = n_readers or min(8, _cores())
    results: list[Told] = []
    bunches = [slice(i, i + _BUNCH) for i in range(0, len(paths), _BUNCH)]

    def go(reads: Iterable[list[Told]]) -> None:
        for some in reads:
            results.extend(some)
            done(len(results))

    def here(some: Sequence[slice]) -> Iterator[list[Told]]:
        return (read(paths[bunch], pixels[bunch]) for bunch in some)

    began = time.perf_counter()
    go(here(bunches[:1]))
    rest = bunches[1:]
    if n_readers < 2 or (time.perf_counter() - began) * len(rest) < _WORTH:
        go(here(rest))
        return results
    with _readers(n_readers, pixels.shape[-1]) as free:

        def by_reader(bunch: slice) -> list[Told]:
            reader = free.get()
            try:
                return reader.read(paths[bunch], pixels[bunch])
            finally:
                free.put(reader)

        pool = ThreadPoolExecutor(n_readers)
        try:
            go(pool.map(by_reader, rest))
        finally:
            pool.shutdown(cancel_futures=True)  # Ctrl-C does not wait for the rest
    return results


def _cores() -> int:
    """Those that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextmanager
def _readers(n: int, size: int) -> Iterator[SimpleQueue[Reader]]:
    started = [Reader(size) for _ in range(n)]
    free: SimpleQueue[Reader] = SimpleQueue()
    for reader in started:
        free.put(reader)
    try:
        yield free
    finally:
        for reader in started:
            reader.end()


def serve(size: int, lines: BinaryIO, out: BinaryIO) -> None:
    """Be a reader."""
    pixels = np.zeros((0, 3, size, size), np.uint8)
    with strict_pillow():
        for line in lines:
            paths = json.loads(line)
            if len(paths) > len(pixels):
                pixels = np.zeros((len(paths), 3, size, size), np.uint8)
            some = pixels[: len(paths)]
            out.write(json.dumps(read(paths, some)).encode() + b"\n")
            out.write(some.data)
            out.flush()


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends this
    with suppress(BrokenPipeError):
        serve(int(sys.argv[1]), sys.stdin.buffer, sys.stdout.buffer)
    os._exit(0)  # nothing is left to be written, and nobody listens
