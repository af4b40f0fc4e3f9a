from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageSequence
from rich.console import Console

from gencli.errors import DivergedError, GencliError
from gencli.viz.animation import write_gif
from gencli.viz.grid import (
    SEPARATOR,
    make_grid,
    near_square,
    to_uint8,
    write_npz,
    write_png,
    write_pngs,
)
from gencli.viz.terminal import preview


class Pipe(io.RawIOBase):
    """A stream that cannot seek, as stdout in a pipeline."""

    def __init__(self) -> None:
        self.data = b""

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        self.data += bytes(data)  # type: ignore[call-overload]
        return len(memoryview(data))  # type: ignore[arg-type]


def test_to_uint8_rounds_clamps_and_moves_channels_last() -> None:
    images = torch.tensor([-0.1, 0.0, 0.4999 / 255, 0.5001 / 255, 1.0, 7.0]).view(1, 3, 1, 2)
    assert to_uint8(images).tolist() == [[[[0, 0, 255], [0, 1, 255]]]]


def test_every_byte_survives_the_round_trip() -> None:
    levels = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
    images = torch.from_numpy(levels).permute(0, 3, 1, 2) / 255
    assert np.array_equal(to_uint8(images), levels)


def test_images_that_are_not_finite_are_refused() -> None:
    with pytest.raises(DivergedError, match="not finite"):
        to_uint8(torch.full((1, 1, 2, 2), float("nan")))


@pytest.mark.parametrize(
    ("n", "columns"),
    [(1, 1), (2, 2), (3, 3), (7, 3), (10, 5), (12, 4), (18, 6), (64, 8), (100, 10)],
)
def test_near_square(n: int, columns: int) -> None:
    assert near_square(n) == columns


def test_grid_places_every_image_between_separators() -> None:
    images = torch.rand(5, 3, 4, 6)
    grid = make_grid(images, columns=2, padding=1, scale=2)
    assert grid.shape == (3 * 9 + 1, 2 * 13 + 1, 3)
    expected = to_uint8(images)
    for i in range(5):
        top, left = i // 2 * 9 + 1, i % 2 * 13 + 1
        tile = grid[top : top + 8, left : left + 12]
        assert np.array_equal(tile[::2, ::2], expected[i])
        assert np.array_equal(tile[1::2, 1::2], expected[i])
        grid[top : top + 8, left : left + 12] = SEPARATOR
    assert (grid == SEPARATOR).all()


def test_default_scale_makes_small_images_legible_and_big_grids_handy() -> None:
    assert make_grid(torch.rand(16, 1, 28, 28)).shape == (4 * 86 + 2, 4 * 86 + 2, 1)
    assert make_grid(torch.rand(16, 3, 32, 32)).shape == (4 * 66 + 2, 4 * 66 + 2, 3)
    assert make_grid(torch.rand(16, 3, 64, 64)).shape == (4 * 66 + 2, 4 * 66 + 2, 3)
    assert make_grid(torch.rand(1, 3, 64, 64)).shape == (260, 260, 3)
    assert max(make_grid(torch.rand(2500, 1, 28, 28)).shape) == 50 * 30 + 2


@pytest.mark.parametrize("channels", [1, 3])
def test_png_holds_the_pixels_exactly(channels: int, tmp_path: Path) -> None:
    images = torch.rand(6, channels, 8, 8)
    write_png(images, tmp_path / "grid.png")
    with Image.open(tmp_path / "grid.png") as picture:
        assert picture.mode == {1: "L", 3: "RGB"}[channels]
        assert np.array_equal(np.array(picture).reshape(make_grid(images).shape), make_grid(images))
    assert [path.name for path in tmp_path.iterdir()] == ["grid.png"]


def test_png_and_npz_go_to_a_pipe() -> None:
    images, pipe = torch.rand(2, 1, 8, 8), Pipe()
    write_png(images, pipe)  # type: ignore[arg-type]
    with Image.open(io.BytesIO(pipe.data)) as picture:
        assert np.array_equal(np.array(picture)[..., None], make_grid(images))
    pipe = Pipe()
    write_npz(images, pipe)  # type: ignore[arg-type]
    with np.load(io.BytesIO(pipe.data), allow_pickle=False) as archive:
        assert archive.files == ["images"]


def test_pngs_are_numbered(tmp_path: Path) -> None:
    images = torch.rand(3, 3, 5, 7)
    write_pngs(images, tmp_path / "new" / "folder")
    files = sorted((tmp_path / "new" / "folder").iterdir())
    assert [path.name for path in files] == ["00000.png", "00001.png", "00002.png"]
    with Image.open(files[2]) as picture:
        assert np.array_equal(np.array(picture), to_uint8(images)[2])


def test_npz_holds_images_and_labels_without_pickle(tmp_path: Path) -> None:
    images = torch.rand(4, 3, 6, 6)
    write_npz(images, tmp_path / "x.npz", torch.tensor([3, 1, 4, 1]))
    with np.load(tmp_path / "x.npz", allow_pickle=False) as archive:
        assert archive["images"].dtype == np.uint8
        assert np.array_equal(archive["images"], to_uint8(images))
        assert archive["labels"].dtype == np.int64
        assert archive["labels"].tolist() == [3, 1, 4, 1]


def test_a_refused_path_is_an_error_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(GencliError, match="cannot be written: No such file or directory"):
        write_png(torch.rand(1, 1, 4, 4), tmp_path / "missing" / "x.png")
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(GencliError, match=r"folder\.png is no regular file"):
        write_png(torch.rand(1, 1, 4, 4), tmp_path / "folder.png")
    assert [path.name for path in tmp_path.iterdir()] == ["folder.png"]


def test_grey_gif_is_exact_and_loops(tmp_path: Path) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (5, 20, 30, 1), np.uint8)
    write_gif(frames, tmp_path / "a.gif", fps=10)
    with Image.open(tmp_path / "a.gif") as gif:
        assert gif.info["loop"] == 0
        assert gif.info["duration"] == 100
        read = [np.array(frame.convert("L")) for frame in ImageSequence.Iterator(gif)]
    assert np.array_equal(np.stack(read)[..., None], frames)


def test_frames_of_a_gif_are_kept_when_they_repeat() -> None:
    frames, pipe = np.zeros((4, 8, 8, 1), np.uint8), Pipe()
    write_gif(frames, pipe, fps=200)  # type: ignore[arg-type]
    with Image.open(io.BytesIO(pipe.data)) as gif:
        total = sum(frame.info["duration"] for frame in ImageSequence.Iterator(gif))
    assert total == 4 * 20


def test_colour_gif_is_exact_for_few_colours_and_close_for_many(tmp_path: Path) -> None:
    few = np.zeros((3, 16, 16, 3), np.uint8)
    few[0, :8], few[1, :, :8], few[2, 4:] = (255, 0, 0), (0, 200, 10), (5, 6, 250)
    write_gif(few, tmp_path / "few.gif")
    with Image.open(tmp_path / "few.gif") as gif:
        read = [np.array(frame.convert("RGB")) for frame in ImageSequence.Iterator(gif)]
    assert np.array_equal(np.stack(read), few)
    ramp = np.linspace(0, 255, 64).astype(np.uint8)
    many = np.stack(np.broadcast_arrays(ramp[:, None], ramp[None, :], np.uint8(90)), axis=-1)
    write_gif([many, many[::-1]], tmp_path / "many.gif")
    with Image.open(tmp_path / "many.gif") as gif:
        error = np.abs(np.array(gif.convert("RGB")).astype(int) - many).mean()
    assert error < 8


def _shown(
    images: torch.Tensor, *, colour: bool, width: int = 60, columns: int | None = None
) -> str:
    out = io.StringIO()
    console = Console(
        file=out, force_terminal=True, width=width, color_system="truecolor" if colour else None
    )
    preview(images, console, columns=columns)
    return out.getvalue()


def test_preview_has_two_pixels_in_a_character() -> None:
    images = torch.zeros(1, 3, 2, 2)
    images[0, 0, 0] = 1.0
    images[0, 2, 1] = 1.0
    text = _shown(images, colour=True, width=4)
    assert "▀" in text
    assert len(text.splitlines()) == 2
    assert "38;2;255;0;0" in text or "48;2;255;0;0" in text
    assert "38;2;0;0;255" in text or "48;2;0;0;255" in text


def test_preview_without_colour_uses_shades_and_fits() -> None:
    lines = _shown(torch.rand(64, 1, 28, 28), colour=False).splitlines()
    assert {len(line) for line in lines} <= set(range(60))
    assert len(lines) == (3 * 21 + 2) // 2
    assert "█" in _shown(torch.ones(1, 1, 28, 28), colour=False)
    wide = _shown(torch.rand(20, 1, 28, 28), colour=False, columns=10).splitlines()
    assert max(map(len, wide)) <= 59


def test_preview_is_silent_when_nobody_looks() -> None:
    out = io.StringIO()
    preview(torch.rand(4, 1, 8, 8), Console(file=out))
    assert out.getvalue() == ""


def test_a_folder_in_the_way_of_pngs_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(GencliError, match="cannot be written"):
        write_pngs(torch.rand(1, 1, 4, 4), tmp_path / "file" / "folder")
