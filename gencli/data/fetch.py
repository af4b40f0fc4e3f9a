"""Downloads: several sources per file, time limits, retries, checksums; files appear whole.

`GENCLI_MIRROR`, a folder or a URL, is tried before the public sources, as `<mirror>/<data
set>/<file>` and as the same with `.gz` behind it.
"""

from __future__ import annotations

import os
import queue
import re
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from hashlib import file_digest, md5
from http.client import HTTPException
from pathlib import Path
from typing import IO, Any, BinaryIO

from gencli.atomic import whole_file
from gencli.data.cache import CURE, unwritable
from gencli.errors import DataError
from gencli.home import cache_dir, user_path
from gencli.kinds import Progress

ATTEMPTS = 3
BACKOFF = 0.5  # seconds before the second attempt, doubled before each further one
OPEN_SECONDS = 4.0  # to an answer
STALL_SECONDS = 10.0  # between two pieces of a file
PATIENCE = 8.0  # without a single byte from anywhere: there is no network
SLOW_SECONDS, SLOW_RATE = 20.0, 1024  # after so long, fewer bytes a second than this are too few
LARGEST = 4 << 30  # bytes; no file of a data set is larger
_PIECE = 1 << 18
_DAMAGED = "damaged, its checksum is wrong"


def md5_of(path: Path) -> str:
    """The MD5 of a file, the checksum that publishers of data sets give."""
    hashed = md5(usedforsecurity=False)
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            hashed.update(piece)
    return hashed.hexdigest()


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file."""
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()


@dataclass(frozen=True)
class RemoteFile:
    """A file of a data set.

    Attributes:
        name: Its name, here and at every source.
        sources: Public addresses of the folder that holds it, best first.
        checksum: What `checksum_of` must give.
        checksum_of: The publisher's checksum of a file.
    """

    name: str
    sources: tuple[str, ...]
    checksum: str
    checksum_of: Callable[[Path], str] = md5_of

    def whole(self, path: Path) -> bool:
        """Whether the file at `path` is this one, undamaged."""
        return path.is_file() and self.checksum_of(path) == self.checksum


class _FailedError(Exception):
    """One source did not deliver."""

    def __init__(self, reason: str, *, final: bool, received: bool = False) -> None:
        super().__init__(reason)
        self.final = final  # asking again is of no use
        self.received = received  # some of it arrived, so that there is a network


def fetch(
    dataset: str,
    files: Sequence[RemoteFile],
    progress: Progress | None = None,
    *,
    without: str = "--data glyphs",
) -> list[Path]:
    """The files of a data set in the cache, downloaded where they are missing or damaged there.

    Args:
        dataset: Its name, that of its folder in the cache and in a mirror.
        files: What it takes.
        progress: Told of each download.
        without: The option that does without them, for who has no network.

    Raises:
        DataError: If a file cannot be had, or arrives damaged from everywhere, or cannot be
            written.
    """
    folder = cache_dir() / dataset
    missing = [file for file in files if not file.whole(folder / file.name)]
    while missing:
        file = missing[0]
        reasons = _fetch_one(dataset, file, folder / file.name, progress)
        if reasons:
            told = "; ".join(f"{shown(source)}: {reason}" for source, reason in reasons.items())
            raise DataError(
                f"{dataset} needs {', '.join(f.name for f in missing)}, and {file.name} could not "
                f"be had ({told}).",
                f"Put the missing files into {folder}, or set GENCLI_MIRROR to a folder that has "
                f"{dataset}/, or do without: {without}",
            )
        del missing[0]
    return [folder / file.name for file in files]


def _fetch_one(
    dataset: str, file: RemoteFile, target: Path, progress: Progress | None
) -> dict[str, str]:
    """Fetch from the first source that delivers; otherwise, why each of them did not."""
    reasons = {str(target): _DAMAGED} if target.exists() else {}
    sources = _addresses(dataset, file)
    deadline = time.monotonic() + PATIENCE
    for attempt in range(ATTEMPTS):
        if attempt and sources:
            time.sleep(min(BACKOFF * 2 ** (attempt - 1), max(0.0, deadline - time.monotonic())))
        for source in sources:
            left = deadline - time.monotonic()
            if left <= 0:
                reasons.setdefault(source, "not reached in time")
                continue
            try:
                _download(source, file, target, min(OPEN_SECONDS, left), progress)
                return {}
            except _FailedError as failure:
                reasons[source] = str(failure)
                if failure.final:
                    sources = [other for other in sources if other != source]
                if failure.received:
                    deadline = time.monotonic() + PATIENCE
            except OSError as error:
                raise unwritable(target.parent, error) from None
    return reasons


def _addresses(dataset: str, file: RemoteFile) -> list[str]:
    addresses = [source + file.name for source in file.sources]
    mirror = os.environ.get("GENCLI_MIRROR")
    if not mirror:
        return addresses
    base = mirror if "://" in mirror else user_path(mirror).resolve().as_uri()
    local = f"{base.rstrip('/')}/{dataset}/{file.name}"
    packed = [] if file.name.endswith(".gz") else [local + ".gz"]
    return [local, *packed, *addresses]


def shown(address: str) -> str:
    """An address without the name and password that it may have."""
    return re.sub(r"//[^/]*@", "//", address)


def _download(
    url: str, file: RemoteFile, target: Path, seconds: float, progress: Progress | None
) -> None:
    packed = url.endswith(".gz") and not file.name.endswith(".gz")
    with closing(_open(url, seconds)) as response, whole_file(target, DataError, CURE) as opened:
        _copy(response, opened, packed, f"downloading {file.name}", progress)
        opened.flush()
        if file.checksum_of(Path(opened.name)) != file.checksum:
            raise _FailedError(_DAMAGED, final=url.startswith("file:"), received=True)


def _open(url: str, seconds: float) -> IO[bytes]:
    # urlopen's own limit leaves out name resolution and starts anew at every address of a host.
    answers: queue.SimpleQueue[IO[bytes] | Exception] = queue.SimpleQueue()

    def ask() -> None:
        request = urllib.request.Request(url, headers={"User-Agent": "gencli"})
        try:
            answers.put(urllib.request.urlopen(request, timeout=STALL_SECONDS))
        except (OSError, HTTPException, ValueError) as error:
            answers.put(error)

    threading.Thread(target=ask, daemon=True).start()
    try:
        answer = answers.get(timeout=seconds)
    except queue.Empty:
        raise _FailedError(f"no answer in {seconds:.0f} s", final=False) from None
    if isinstance(answer, urllib.error.HTTPError):
        answer.close()
        busy = answer.code in (408, 425, 429) or answer.code >= 500
        raise _FailedError(f"HTTP {answer.code} {answer.reason}", final=not busy, received=True)
    if isinstance(answer, Exception):
        local = url.startswith("file:") or isinstance(answer, ValueError)
        raise _FailedError(_reason(answer), final=local)
    return answer


def _reason(error: Exception) -> str:
    cause = getattr(error, "reason", error)
    text = getattr(cause, "strerror", None) or str(cause) or type(cause).__name__
    return str(text)


def _copy(
    response: IO[bytes], opened: BinaryIO, packed: bool, what: str, progress: Progress | None
) -> None:
    headers: Any = getattr(response, "headers", {})
    told = str(headers.get("Content-Length", "")).strip()
    total = int(told) if re.fullmatch(r"[0-9]{1,15}", told) else 0
    unpack = zlib.decompressobj(wbits=31) if packed else None
    written = 0
    for received, piece in _pieces(response, total):
        try:
            for part in _unpacked(unpack, piece) if unpack else (piece,):
                written += opened.write(part)
                if written > LARGEST:
                    raise _FailedError("larger than it can be", final=True, received=True)
        except zlib.error:
            raise _FailedError("damaged, not a gzip file", final=False, received=True) from None
        if progress:
            progress(what, received, total)


def _unpacked(unpack: zlib._Decompress, piece: bytes) -> Iterator[bytes]:
    """What a piece of a gzip file holds, never much at once."""
    while piece:
        yield unpack.decompress(piece, _PIECE)
        piece = unpack.unconsumed_tail


def _pieces(response: IO[bytes], total: int) -> Iterator[tuple[int, bytes]]:
    # What is there is taken: `read` would wait for a whole piece, for ever if bytes drip in.
    read = getattr(response, "read1", response.read)
    began, received = time.monotonic(), 0
    while True:
        try:
            piece = read(_PIECE)
        except (OSError, HTTPException) as error:
            raise _FailedError(_reason(error), final=False, received=True) from None
        if not piece:
            break
        received += len(piece)
        yield received, piece
        seconds = time.monotonic() - began
        if seconds > SLOW_SECONDS and received < SLOW_RATE * seconds:
            raise _FailedError(
                f"too slow: {received} bytes in {seconds:.0f} s", final=True, received=True
            )
    if received < total:
        raise _FailedError(f"cut off after {received} of {total} bytes", final=False, received=True)
