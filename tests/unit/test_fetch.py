"""Downloads against a loopback server that misbehaves to order."""

from __future__ import annotations

import gzip
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from hashlib import md5
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from gencli.data import fetch as fetching
from gencli.data.fetch import RemoteFile, fetch
from gencli.errors import DataError

pytestmark = pytest.mark.reliability("faults injected")

CONTENT = bytes(range(256)) * 4096  # four pieces
CHECKSUM = md5(CONTENT).hexdigest()


class Server(ThreadingHTTPServer):
    """Answers requests for a path with the behaviours listed for it, the last one for ever."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.script: dict[str, list[str]] = {}
        self.asked: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/"

    def handle_error(self, request: object, client_address: object) -> None:
        pass  # clients hang up in these tests


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        script = self.server.script.get(self.path, ["missing"])
        how = script.pop(0) if len(script) > 1 else script[0]
        body = {
            "damaged": b"x" + CONTENT[1:],
            "gzip": gzip.compress(CONTENT),
            "broken gzip": gzip.compress(CONTENT)[:-2000],
            "bomb": gzip.compress(bytes(1 << 24)),
        }.get(how, CONTENT)
        if how.startswith("redirect "):
            self.send_response(302)
            self.send_header("Location", how.split()[1])
            self.end_headers()
            return
        self.send_response({"missing": 404, "busy": 503}.get(how, 200))
        lengths = {"odd length": "many", "negative length": "-7"}
        self.send_header("Content-Length", lengths.get(how, str(len(body))))
        self.end_headers()
        if how in ("drips", "stalls"):
            self.wfile.write(body[:1000])
            for i in range(40):
                time.sleep(0.05)
                if how == "drips":
                    self.wfile.write(body[1000 + i : 1001 + i])
        elif how == "truncated":
            self.wfile.write(body[:300_000])
        elif how == "slow":
            for start in range(0, len(body), 1 << 16):
                self.wfile.write(body[start : start + (1 << 16)])
                time.sleep(0.03)
        elif how not in ("missing", "busy"):
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GENCLI_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.delenv("GENCLI_MIRROR", raising=False)
    monkeypatch.setattr(fetching, "BACKOFF", 0.01)
    return tmp_path / "home"


def remote(*sources: str, name: str = "a.bin") -> RemoteFile:
    return RemoteFile(name, sources, CHECKSUM)


def left_behind(home: Path) -> list[str]:
    return [path.name for path in (home / "cache").rglob("*") if path.is_file()]


def test_download_is_reported_and_kept(server: Server, home: Path) -> None:
    server.script = {"/a.bin": ["fine"]}
    told: list[tuple[str, int, int]] = []
    (path,) = fetch("set", [remote(server.url)], lambda *args: told.append(args))
    assert path == home / "cache" / "set" / "a.bin"
    assert path.read_bytes() == CONTENT
    assert told[-1] == ("downloading a.bin", len(CONTENT), len(CONTENT))
    assert fetch("set", [remote(server.url)]) == [path]
    assert server.asked == ["/a.bin"]
    assert left_behind(home) == ["a.bin"]


@pytest.mark.parametrize("trouble", ["busy", "truncated", "damaged"])
def test_passing_trouble_is_retried(server: Server, trouble: str) -> None:
    server.script = {"/a.bin": [trouble, trouble, "fine"]}
    (path,) = fetch("set", [remote(server.url)])
    assert path.read_bytes() == CONTENT
    assert len(server.asked) == 3


def test_missing_file_is_not_asked_for_twice_and_the_next_source_serves(server: Server) -> None:
    server.script = {"/second/a.bin": ["busy", "fine"]}
    (path,) = fetch("set", [remote(server.url, server.url + "second/")])
    assert path.read_bytes() == CONTENT
    assert server.asked == ["/a.bin", "/second/a.bin", "/second/a.bin"]


@pytest.mark.parametrize(
    ("trouble", "reason"),
    [
        ("damaged", "damaged, its checksum is wrong"),
        ("truncated", "cut off after 300000 of 1048576 bytes"),
        ("missing", "HTTP 404"),
        ("busy", "HTTP 503"),
    ],
)
def test_lasting_trouble_is_refused(server: Server, home: Path, trouble: str, reason: str) -> None:
    server.script = {"/a.bin": [trouble]}
    with pytest.raises(DataError, match=reason):
        fetch("set", [remote(server.url)])
    assert left_behind(home) == []


def test_without_network_the_error_names_files_folder_and_way_out(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "OPEN_SECONDS", 0.2)
    monkeypatch.setattr(fetching, "PATIENCE", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:  # connects, and never answers
        source = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        files = [remote(source), remote(source, name="b.bin")]
        start = time.monotonic()
        with pytest.raises(DataError) as caught:
            fetch("set", files)
    assert time.monotonic() - start < 1.5
    assert caught.value.exit_code == 3
    assert "a.bin, b.bin" in caught.value.problem
    assert "no answer" in caught.value.problem
    assert str(home / "cache" / "set") in caught.value.cure
    assert "--data glyphs" in caught.value.cure


def test_closed_port_and_unknown_host_fail_at_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    start = time.monotonic()
    with pytest.raises(DataError, match="refused"):
        fetch("set", [remote(f"http://127.0.0.1:{port}/")])
    assert time.monotonic() - start < 2


@pytest.mark.parametrize("as_url", [False, True])
@pytest.mark.parametrize("packed", [False, True])
def test_mirror_folder_comes_first(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, as_url: bool, packed: bool
) -> None:
    mirror = tmp_path / "a mirror"
    (mirror / "set").mkdir(parents=True)
    if packed:
        (mirror / "set" / "a.bin.gz").write_bytes(gzip.compress(CONTENT))
    else:
        (mirror / "set" / "a.bin").write_bytes(CONTENT)
    monkeypatch.setenv("GENCLI_MIRROR", mirror.as_uri() if as_url else str(mirror))
    (path,) = fetch("set", [remote(server.url)])
    assert path.name == "a.bin"
    assert path.read_bytes() == CONTENT
    assert server.asked == []


def test_mirror_url_may_serve_gzip(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GENCLI_MIRROR", server.url + "m/")
    server.script = {"/m/set/a.bin.gz": ["broken gzip", "gzip"]}
    (path,) = fetch("set", [remote()])
    assert path.read_bytes() == CONTENT
    assert server.asked == ["/m/set/a.bin", "/m/set/a.bin.gz", "/m/set/a.bin.gz"]


def test_damaged_mirror_falls_through_to_the_public_source(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "a.bin").write_bytes(b"not it")
    (tmp_path / "set" / "a.bin.gz").write_bytes(b"not gzip")
    monkeypatch.setenv("GENCLI_MIRROR", str(tmp_path))
    server.script = {"/a.bin": ["fine"]}
    (path,) = fetch("set", [remote(server.url)])
    assert path.read_bytes() == CONTENT


def test_file_put_into_the_cache_serves_if_it_is_whole(server: Server, home: Path) -> None:
    target = home / "cache" / "set" / "a.bin"
    target.parent.mkdir(parents=True)
    target.write_bytes(CONTENT)
    assert fetch("set", [remote()]) == [target]
    target.write_bytes(CONTENT[:-1])
    with pytest.raises(DataError, match=r"set/a\.bin: damaged"):
        fetch("set", [remote()])
    server.script = {"/a.bin": ["fine"]}
    fetch("set", [remote(server.url)])
    assert target.read_bytes() == CONTENT


def test_cache_that_cannot_be_written_is_an_error(server: Server, home: Path) -> None:
    home.mkdir()
    (home / "cache").write_text("a file in the way")
    server.script = {"/a.bin": ["fine"]}
    with pytest.raises(DataError, match="cannot be written") as caught:
        fetch("set", [remote(server.url)])
    assert "GENCLI_HOME" in caught.value.cure


def start_fetching(url: str) -> subprocess.Popen[bytes]:
    program = (
        "from gencli.data.fetch import RemoteFile, fetch\n"
        f"fetch('set', [RemoteFile('a.bin', ({url!r},), {CHECKSUM!r})])"
    )
    return subprocess.Popen([sys.executable, "-c", program], env=dict(os.environ))


def test_two_processes_on_a_cold_cache_both_succeed(server: Server, home: Path) -> None:
    server.script = {"/a.bin": ["slow"]}
    processes = [start_fetching(server.url) for _ in range(2)]
    assert [process.wait(timeout=60) for process in processes] == [0, 0]
    assert server.asked == ["/a.bin", "/a.bin"]
    assert left_behind(home) == ["a.bin"]
    assert (home / "cache" / "set" / "a.bin").read_bytes() == CONTENT


def test_killed_download_leaves_no_broken_file(server: Server, home: Path) -> None:
    server.script = {"/a.bin": ["slow"]}
    process = start_fetching(server.url)
    folder = home / "cache" / "set"
    limit = time.monotonic() + 60
    while not (parts := list(folder.glob(".a.bin.*.part"))) or not parts[0].stat().st_size:
        assert process.poll() is None
        assert time.monotonic() < limit
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert left_behind(home) == [parts[0].name]
    day_before_yesterday = time.time() - 2 * 86_400
    os.utime(parts[0], (day_before_yesterday, day_before_yesterday))
    server.script = {"/a.bin": ["fine"]}
    fetch("set", [remote(server.url)])
    assert left_behind(home) == ["a.bin"]


@pytest.mark.parametrize("length", ["odd length", "negative length"])
def test_a_length_that_is_no_number_is_passed_over(server: Server, length: str) -> None:
    server.script = {"/a.bin": [length]}
    (path,) = fetch("set", [remote(server.url)])
    assert path.read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("trouble", "reason"), [("drips", "too slow: 10.. bytes"), ("stalls", "timed out")]
)
def test_a_source_that_drips_or_stalls_gives_way_to_the_next(
    server: Server, monkeypatch: pytest.MonkeyPatch, trouble: str, reason: str
) -> None:
    monkeypatch.setattr(fetching, "SLOW_SECONDS", 0.3)
    monkeypatch.setattr(fetching, "SLOW_RATE", 10_000)
    monkeypatch.setattr(fetching, "STALL_SECONDS", 1.2 if trouble == "stalls" else 10.0)
    monkeypatch.setattr(fetching, "PATIENCE", 1.0)  # less than a source may take to give up
    monkeypatch.setattr(fetching, "ATTEMPTS", 1)
    server.script = {"/a.bin": [trouble], "/second/a.bin": ["fine"]}
    (path,) = fetch("set", [remote(server.url, server.url + "second/")])
    assert path.read_bytes() == CONTENT
    server.script = {"/b.bin": [trouble]}
    with pytest.raises(DataError, match=reason):
        fetch("set", [remote(server.url, name="b.bin")])


def test_a_gzip_bomb_is_not_unpacked(
    server: Server, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "LARGEST", 1 << 21)
    monkeypatch.setenv("GENCLI_MIRROR", server.url)
    server.script = {"/set/a.bin.gz": ["bomb"]}
    with pytest.raises(DataError, match="larger than it can be"):
        fetch("set", [remote()])
    assert left_behind(home) == []


def test_a_mirror_s_password_is_not_shown(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    address = server.url.replace("//", "//me:secret@")
    monkeypatch.setenv("GENCLI_MIRROR", address)
    with pytest.raises(DataError) as caught:
        fetch("set", [remote()])
    assert "secret" not in f"{caught.value.problem} {caught.value.cure}"
    assert fetching.shown(address) == server.url
