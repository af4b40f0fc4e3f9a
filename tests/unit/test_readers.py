"""Small JPEG files by libjpeg-turbo alone, and files read by processes of their own."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import gencli.data.decode as decoding
from gencli.data import readers
from gencli.data.decode import BROKEN, decode, strict_pillow
from gencli.data.readers import Reader, read, read_all
from gencli.data.small_jpeg import small_jpeg

pytest.importorskip("simplejpeg", reason="there are no wheels of simplejpeg for this machine")


def picture(width: int, height: int, mode: str = "RGB", seed: int = 0) -> Image.Image:
    few = np.random.default_rng(seed).integers(0, 256, (3, 4, 3), np.uint8)
    return Image.fromarray(few).resize((width, height), Image.Resampling.BICUBIC).convert(mode)


def jpeg(path: Path, image: Image.Image, **options: object) -> Path:
    image.save(path, "JPEG", **options)
    return path


def by_pillow(path: Path, size: int, monkeypatch: pytest.MonkeyPatch) -> np.ndarray:
    with monkeypatch.context() as patch:
        patch.setattr(decoding, "small_jpeg", lambda file, below: None)
        return decode(path, size)


@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize("sides", [(32, 32), (33, 47), (90, 61)])
@pytest.mark.parametrize("options", [
    {"quality": 95, "subsampling": 0}, {"quality": 30, "subsampling": 2},
    {"quality": 75, "progressive": True}, {"quality": 75, "optimize": True, "comment": "hello"},
])  # fmt: skip
def test_small_jpeg_has_the_pixels_of_pillow(
    tmp_path: Path, mode: str, sides: tuple[int, int], options: dict[str, object],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    path = jpeg(tmp_path / "a.jpg", picture(*sides, mode), **options)
    with open(path, "rb", buffering=0) as file:
        assert small_jpeg(file, 128) is not None
    np.testing.assert_array_equal(decode(path, 32), by_pillow(path, 32, monkeypatch))


def test_what_is_not_plain_is_left_to_pillow(tmp_path: Path) -> None:
    turned = Image.Exif()
    turned[0x0112] = 6
    out = io.BytesIO()
    picture(32, 32).save(out, "JPEG")
    whole = out.getvalue()
    contents = {
        "turned": jpeg(tmp_path / "turned.jpg", picture(32, 24), exif=turned).read_bytes(),
        "four colours": jpeg(tmp_path / "cmyk.jpg", picture(32, 32, "CMYK")).read_bytes(),
        "large": jpeg(tmp_path / "large.jpg", picture(200, 128)).read_bytes(),
        "cut off": whole[: len(whole) // 2],
        "header alone": whole[:20],
        "nothing": b"",
        "another format": b"\x89PNG\r\n\x1a\n",
    }
    for name, content in contents.items():
        path = tmp_path / "x.jpg"
        path.write_bytes(content)
        with open(path, "rb", buffering=0) as file:
            assert small_jpeg(file, 128) is None, name
    (tmp_path / "x.jpg").write_bytes(contents["turned"])
    right = decode(tmp_path / "x.jpg", 24)
    upright = picture(32, 24).transpose(Image.Transpose.ROTATE_270).crop((0, 4, 24, 28))
    assert np.abs(right.astype(int) - np.asarray(upright).transpose(2, 0, 1)).mean() < 8


def test_damaged_jpegs_are_judged_as_pillow_judges_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever bytes are changed: the same pixels, or broken for both."""
    out = io.BytesIO()
    picture(32, 32, seed=1).save(out, "JPEG", quality=60)
    whole = bytearray(out.getvalue())
    rng = np.random.default_rng(2)
    path, n_read = tmp_path / "x.jpg", 0
    for _ in range(300):
        content = bytearray(whole)
        for place in rng.integers(0, len(whole), rng.integers(1, 4)):
            content[place] = rng.integers(256)
        path.write_bytes(content)
        with strict_pillow():
            try:
                wanted = by_pillow(path, 32, monkeypatch)
            except BROKEN:
                with pytest.raises(BROKEN):
                    decode(path, 32)
                continue
            np.testing.assert_array_equal(decode(path, 32), wanted)
            n_read += 1
    assert 20 < n_read < 290


@pytest.fixture
def folder(tmp_path: Path) -> list[str]:
    paths = [jpeg(tmp_path / f"{i}.jpg", picture(20, 20, seed=i)) for i in range(70)]
    paths[5].write_bytes(b"no image")
    paths[6].unlink()
    jpeg(paths[7], picture(20, 20, "L"))
    return [str(path) for path in paths]


def test_readers_read_what_one_process_reads(
    folder: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, several = (np.zeros((70, 3, 16, 16), np.uint8) for _ in range(2))
    wanted = read(folder, one)
    assert wanted[:5] == [3] * 5
    assert "no image" in str(wanted[5])
    assert "No such file" in str(wanted[6])
    assert wanted[7] == 1
    here: list[int] = []

    def read_here(paths: list[str], pixels: np.ndarray) -> list[int | str]:
        here.append(len(paths))
        return read(paths, pixels)

    monkeypatch.setattr(readers, "_WORTH", 0.0)
    monkeypatch.setattr(readers, "_BUNCH", 10)
    monkeypatch.setattr(readers, "read", read_here)
    steps: list[int] = []
    assert read_all(folder, several, steps.append, 2) == wanted
    np.testing.assert_array_equal(one, several)
    assert steps == list(range(10, 71, 10))
    assert here == [10]  # the first files; the others were read elsewhere


def test_work_of_a_reader_that_died_is_done_here(folder: list[str]) -> None:
    one, again = (np.zeros((70, 3, 16, 16), np.uint8) for _ in range(2))
    reader = Reader(16)
    assert reader.process is not None
    try:
        first = reader.read(folder[:10], again[:10])
        reader.process.kill()
        reader.process.wait()
        rest = reader.read(folder[10:], again[10:])
    finally:
        reader.end()
    assert first + rest == read(folder, one)
    np.testing.assert_array_equal(one, again)


def test_a_reader_runs_nothing_of_the_folder_it_is_started_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: list[str]
) -> None:
    (tmp_path / "json.py").write_text("open('ran', 'w')\n")
    monkeypatch.chdir(tmp_path)
    reader = Reader(16)
    reader.read(folder[:2], np.zeros((2, 3, 16, 16), np.uint8))
    reader.end()
    assert not (tmp_path / "ran").exists()


def test_a_reader_ends_with_its_parent() -> None:
    child = subprocess.Popen(
        [sys.executable, "-P", "-m", "gencli.data.readers", "8"], stdin=subprocess.PIPE
    )
    assert child.stdin
    child.stdin.close()
    assert child.wait(30) == 0
