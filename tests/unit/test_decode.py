from __future__ import annotations

import io
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gencli.data.decode import BROKEN, decode, measure, strict_pillow, why_broken


def save(path: Path, image: Image.Image, **options: object) -> Path:
    image.save(path, **options)
    return path


def colours(width: int = 8, height: int = 8) -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    return Image.fromarray(pixels)


@pytest.mark.parametrize("suffix", ["png", "bmp", "tiff", "ppm", "webp"])
def test_lossless_formats_keep_every_pixel(tmp_path: Path, suffix: str) -> None:
    options = {"lossless": True} if suffix == "webp" else {}
    path = save(tmp_path / f"a.{suffix}", colours(), **options)
    np.testing.assert_array_equal(decode(path, 8), np.asarray(colours()).transpose(2, 0, 1))


def test_jpeg_is_close(tmp_path: Path) -> None:
    smooth = Image.radial_gradient("L").resize((64, 64)).convert("RGB")
    path = save(tmp_path / "a.jpg", smooth, quality=95)
    image = decode(path, 64)
    assert image.shape == (1, 64, 64)
    assert np.abs(image[0].astype(int) - np.asarray(smooth)[..., 0]).max() <= 8


def test_modes_become_grey_or_colour(tmp_path: Path) -> None:
    grey = Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8) * 4)
    wanted = np.asarray(grey)
    colour = np.asarray(colours()).transpose(2, 0, 1)

    def png(name: str, image: Image.Image) -> np.ndarray:
        return decode(save(tmp_path / f"{name}.png", image), 8)

    np.testing.assert_array_equal(png("L", grey), wanted[None])
    np.testing.assert_array_equal(png("grey RGB", grey.convert("RGB")), wanted[None])
    np.testing.assert_array_equal(png("grey P", grey.convert("P")), wanted[None])
    np.testing.assert_array_equal(png("RGB", colours()), colour)
    few = colours().quantize(16)
    np.testing.assert_array_equal(png("P", few), np.asarray(few.convert("RGB")).transpose(2, 0, 1))
    bits = Image.fromarray(wanted > 127)
    assert bits.mode == "1"
    np.testing.assert_array_equal(png("1", bits), (wanted > 127)[None] * np.uint8(255))
    deep = Image.fromarray((np.arange(64, dtype=np.uint16) * 1040).reshape(8, 8))
    sixteen = png("16", deep)
    np.testing.assert_array_equal(
        sixteen[0], np.round(np.asarray(deep).astype(float) / 257).astype(np.uint8)
    )
    assert sixteen.max() == round(63 * 1040 / 257)
    cmyk = colours().convert("CMYK")
    np.testing.assert_array_equal(
        decode(save(tmp_path / "cmyk.tiff", cmyk), 8),
        np.asarray(cmyk.convert("RGB")).transpose(2, 0, 1),
    )


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparency_is_shown_on_white(tmp_path: Path, mode: str) -> None:
    image = Image.new("LA", (4, 4), (100, 255))
    image.putpixel((0, 0), (0, 0))  # transparent black
    if mode == "P":
        image = Image.new("P", (4, 4), 1)
        image.putpalette([0, 0, 0, 100, 100, 100])
        image.putpixel((0, 0), 0)
        path = save(tmp_path / "a.png", image, transparency=0)
    else:
        path = save(tmp_path / "a.png", image.convert(mode))
    wanted = np.full((1, 4, 4), 100, np.uint8)
    wanted[0, 0, 0] = 255
    np.testing.assert_array_equal(decode(path, 4), wanted)


def test_half_transparent_is_half_white(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", Image.new("RGBA", (2, 2), (255, 0, 0, 128)))
    assert decode(path, 2)[:, 0, 0].tolist() == [255, 127, 127]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_turns_the_image_upright(tmp_path: Path, orientation: int) -> None:
    # How a camera stores an upright image under each orientation (EXIF 2.32, tag 0x0112).
    def stored(upright: np.ndarray) -> np.ndarray:
        return {
            1: upright,
            2: upright[:, ::-1],
            3: upright[::-1, ::-1],
            4: upright[::-1],
            5: upright.T,
            6: np.rot90(upright),
            7: np.rot90(upright, 2).T,
            8: np.rot90(upright, -1),
        }[orientation]

    upright = np.arange(16, dtype=np.uint8).reshape(4, 4) * 10
    image = Image.fromarray(np.ascontiguousarray(stored(upright)))
    exif = Image.Exif()
    exif[0x0112] = orientation
    for suffix in ("png", "tiff"):
        path = save(tmp_path / f"a.{suffix}", image, exif=exif)
        np.testing.assert_array_equal(decode(path, 4)[0], upright)


def test_damaged_exif_does_not_lose_the_image(tmp_path: Path) -> None:
    path = save(tmp_path / "a.jpg", Image.new("L", (8, 8), 77), exif=b"Exif\0\0MM\0*\xff\xff")
    with strict_pillow():
        assert abs(int(decode(path, 8)[0, 0, 0]) - 77) <= 1


@pytest.mark.parametrize(("width", "height"), [(60, 20), (20, 60)])
def test_resized_and_then_the_middle_kept(tmp_path: Path, width: int, height: int) -> None:
    image = colours(width, height)
    path = save(tmp_path / "a.png", image)
    small = np.asarray(image.resize((width // 2, height // 2), Image.Resampling.BICUBIC))
    for size, pixels in ((20, np.asarray(image)), (10, small)):
        top, left = (pixels.shape[0] - size) // 2, (pixels.shape[1] - size) // 2
        middle = pixels[top : top + size, left : left + size]
        np.testing.assert_array_equal(decode(path, size), middle.transpose(2, 0, 1))


def test_resizing_is_the_same_as_for_named_sets(tmp_path: Path) -> None:
    from gencli.data.load import _resize

    smooth = Image.radial_gradient("L").resize((28, 28))
    path = save(tmp_path / "a.png", smooth)
    for size in (14, 32, 64):
        ours = _resize(torch.from_numpy(np.asarray(smooth)[None, None].copy()), size)[0]
        assert np.abs(decode(path, size).astype(int) - ours.numpy().astype(int)).max() <= 1


def test_large_jpeg_is_close_to_the_plain_rule(tmp_path: Path) -> None:
    large = Image.radial_gradient("L").resize((1024, 1024)).convert("RGB")
    path = save(tmp_path / "a.jpg", large, quality=95)
    plain = np.asarray(large.resize((32, 32), Image.Resampling.BICUBIC))[..., 0].astype(int)
    assert np.abs(decode(path, 32)[0] - plain).max() <= 4


def test_gif_shows_its_first_frame(tmp_path: Path) -> None:
    frames = [Image.new("L", (8, 8), value) for value in (40, 200)]
    path = save(tmp_path / "a.gif", frames[0], save_all=True, append_images=frames[1:])
    assert (decode(path, 8) == 40).all()


def test_measure_reads_the_header() -> None:
    file = io.BytesIO()
    colours(7, 5).save(file, "PNG")
    assert measure(io.BytesIO(file.getvalue()[:50])) == (7, 5)


def why(path: Path) -> str:
    with strict_pillow(), pytest.raises(BROKEN) as caught:
        decode(path, 8)
    return why_broken(caught.value)


def test_what_is_wrong_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = tmp_path / "text.png"
    text.write_text("no picture")
    assert why(text) == "no image of a known format"
    (tmp_path / "empty.png").touch()
    assert why(tmp_path / "empty.png") == "no image of a known format"
    assert why(tmp_path / "nothing.png") == "No such file or directory"
    half = save(tmp_path / "half.jpg", colours(64, 64))
    half.write_bytes(half.read_bytes()[:-500])
    assert "truncated" in why(half)
    assert "declared range" in why(save(tmp_path / "f.tiff", Image.new("F", (8, 8))))
    icon = save(tmp_path / "icon.png", colours(16, 16), format="ICO")
    assert why(icon) == "no image of a known format"
    bomb = save(tmp_path / "bomb.png", Image.new("1", (64, 64)))
    for limit in (3000, 1000):  # above it, and above twice as much
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
        assert why(bomb) == f"a decompression bomb: over {limit:,} pixels"


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "GIF", "WEBP", "PPM"])
def test_damage_of_any_kind_is_one_of_the_known_errors(tmp_path: Path, kind: str) -> None:
    file = io.BytesIO()
    colours(40, 30).save(file, kind)
    whole, chance, path, refused = file.getvalue(), random.Random(0), tmp_path / "a", 0
    with strict_pillow():
        for _ in range(100):
            damaged = bytearray(whole[: chance.randrange(1, len(whole))])
            damaged[chance.randrange(len(damaged))] ^= 1 << chance.randrange(8)
            path.write_bytes(damaged)
            try:
                assert decode(path, 8).shape[1:] == (8, 8)
            except BROKEN:
                refused += 1
    assert refused > 50
