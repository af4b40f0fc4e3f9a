"""Pairs in files: two folders of the same names, or files of two halves; and what is none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from gencli import memory
from gencli.data import folder_decode
from gencli.data.decode import decode, decode_halves
from gencli.data.load import load
from gencli.data.options import DataOptions
from gencli.data.pairs import found_again
from gencli.data.spec import DataInfo
from gencli.data.splits import ImageData
from gencli.data.store import store_of
from gencli.errors import DataError, GencliError, UsageError
from gencli.models.adversarial.configs import Pix2PixConfig
from gencli.models.adversarial.pix2pix import Pix2Pix

N = 20

pytestmark = pytest.mark.usefixtures("home")


def save(path: Path, colour: Any, size: tuple[int, int] = (12, 12)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB" if isinstance(colour, tuple) else "L", size, colour).save(path)


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Red images, and grey sources of the same shade and name but another suffix."""
    images, sources = tmp_path / "images", tmp_path / "sources"
    for i in range(N):
        name = f"{'ab'[i % 2]}/{i:02d}"
        save(images / f"{name}.png", (10 * i, 0, 0))
        save(sources / f"{name}.bmp", 10 * i)
    return images, sources


@pytest.fixture
def halves(tmp_path: Path) -> Path:
    """Files with a grey square at the left and a red one of the same shade at the right."""
    root = tmp_path / "halves"
    root.mkdir()
    for i in range(N):
        picture = Image.new("RGB", (24, 12), (10 * i, 0, 0))
        picture.paste(Image.new("RGB", (12, 12), (10 * i,) * 3), (0, 0))
        picture.save(root / f"{i:02d}.png")
    return root


def loaded(root: Path, **options: Any) -> ImageData:
    return load(DataOptions(data=str(root), **options))


def are_pairs(data: ImageData, n: int = N) -> None:
    """Every image is red, its source grey, of the same shade; and all of them are there."""
    assert data.info.source == "given"
    assert data.info.shape == (3, 12, 12)
    assert data.info.source_shape == (1, 12, 12)
    shades = []
    for split in (data.train, data.val, data.test):
        assert split.images.shape[1:] == (3, 12, 12)
        store = store_of(split, data.info, "cpu", ("source",))
        batch = store.batch(torch.arange(len(split)).flip(0))
        source = batch.condition.source
        assert source is not None
        torch.testing.assert_close(batch.images[:, :1], source)
        assert not batch.images[:, 1:].any()
        shades += (source[:, 0, 0, 0] * 25.5).round().int().tolist()
        in_order = torch.cat([b.condition.source for b in store.in_order(3)])  # type: ignore[misc]
        assert torch.equal(in_order.flip(0), source)
        assert store_of(split, data.info, "cpu").batch(torch.arange(1)).condition.source is None
    assert sorted(shades) == list(range(n))


def test_a_folder_of_the_same_names_has_the_sources(folders: tuple[Path, Path]) -> None:
    images, sources = folders
    data = loaded(images, source=str(sources), val=4)
    are_pairs(data)
    assert data.info.classes == ("a", "b")
    assert data.info.binarization == "none"


def test_halves_are_pairs_either_way(halves: Path) -> None:
    data = loaded(halves, pairs="side-by-side", val=4)
    are_pairs(data)
    swapped = loaded(halves, pairs="side-by-side-swapped", val=4)
    assert swapped.info.shape == (1, 12, 12)
    assert swapped.info.source_shape == (3, 12, 12)
    assert torch.equal(swapped.train.whole.flatten(1)[:, :144], data.train.whole[:, 3].flatten(1))
    prints = {data.fingerprint, swapped.fingerprint, loaded(halves).fingerprint}
    assert len(prints) == 3


def test_fingerprints_include_images_and_sources(folders: tuple[Path, Path]) -> None:
    images, sources = folders
    first = loaded(images, source=str(sources)).fingerprint
    assert loaded(images, source=str(sources)).fingerprint == first
    assert loaded(images).fingerprint != first
    save(sources / "a" / "00.bmp", 7)
    changed = loaded(images, source=str(sources)).fingerprint
    assert changed != first
    save(images / "a" / "00.png", (7, 0, 0))
    assert len({loaded(images, source=str(sources)).fingerprint, changed, first}) == 3


def test_images_that_do_not_fit_in_memory_keep_their_sources(
    folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    images, sources = folders
    asked: dict[str, Any] = {"source": str(sources), "val": 4}
    in_memory = loaded(images, **asked)
    monkeypatch.setattr(memory, "LARGE", 0.0)
    monkeypatch.setattr(folder_decode, "PART_BYTES", 7 * 6 * 12 * 12)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GENCLI_HOME", str(images.parent / "other"))
        on_disk = loaded(images, **asked)
        assert on_disk.train.is_large
        assert on_disk.fingerprint == in_memory.fingerprint
        are_pairs(on_disk)


@pytest.mark.parametrize("how", ["static", "threshold", "dynamic"])
def test_images_alone_are_binarised(folders: tuple[Path, Path], how: Any) -> None:
    images, sources = folders
    data = loaded(images, source=str(sources), binarize=how, val=0)
    batch = next(iter(store_of(data.train, data.info, "cpu", ("source",)).in_order(50)))
    assert batch.images.unique().tolist() in ([0, 1], [0])
    assert batch.condition.source is not None
    assert len(batch.condition.source.unique()) == len(data.train)


def test_validation_images_of_their_own_keep_their_sources(tmp_path: Path) -> None:
    for i in range(N):
        name = f"{('train', 'test', 'val')[i % 3]}/{i:02d}.png"
        save(tmp_path / "i" / name, (10 * i, 0, 0))
        save(tmp_path / "s" / name, 10 * i)
    for val in (None, 2):  # theirs, or a choice from them and the training images
        are_pairs(loaded(tmp_path / "i", source=str(tmp_path / "s"), val=val))


def refused(kind: type[GencliError], said: str, root: Path, **options: Any) -> None:
    with pytest.raises(kind, match=said) as error:
        loaded(root, **options)
    assert error.value.cure


def test_what_is_no_pair_is_refused(folders: tuple[Path, Path]) -> None:
    images, sources = folders
    asked = {"source": str(sources)}
    (sources / "b" / "01.bmp").rename(sources / "b" / "x.bmp")
    refused(
        DataError, r"20 images and 20 .* 1 in .*images have no source \(b/01.png\)", images, **asked
    )
    (sources / "b" / "x.bmp").rename(sources / "b" / "01.bmp")
    save(sources / "c.png", 0)
    refused(DataError, r"20 images and 21 .* have no image \(c.png\)", images, **asked)
    (sources / "c.png").unlink()
    save(sources / "a" / "00.png", 0)
    refused(DataError, "a/00.bmp and a/00.png in .* are sources of one image", images, **asked)
    (sources / "a" / "00.png").unlink()
    save(sources / "a" / "02.bmp", 0, (12, 10))
    refused(DataError, "a/02.png has 12x12 pixels and its source 12x10", images, **asked)
    (sources / "a" / "02.bmp").write_bytes(b"oops")
    refused(DataError, "1 of 20 images .* a/02.png", images, **asked)
    assert len(loaded(images, **asked, skip_bad=True, val=0).train) == 18


def test_a_source_that_is_none_is_refused(folders: tuple[Path, Path], halves: Path) -> None:
    images, sources = folders
    refused(DataError, "There is no folder", images, source=str(sources / "none"))
    refused(UsageError, "no source or folder called edge", images, source="edge")
    refused(UsageError, "both say", halves, source="edges", pairs="side-by-side")
    with pytest.raises(UsageError, match="glyphs is no folder"):
        load(DataOptions(data="glyphs", source=str(sources)))
    Image.new("L", (13, 12)).save(halves / "odd.png")
    refused(DataError, "odd.png .its 13 columns have no halves", halves, pairs="side-by-side")


def test_halves_are_as_if_they_were_files(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    pixels = generator.integers(0, 256, (40, 100, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "both.png")
    for name, part in (("left", pixels[:, :50]), ("right", pixels[:, 50:])):
        Image.fromarray(part).save(tmp_path / f"{name}.png")
    for half, name in zip(decode_halves(tmp_path / "both.png", 16), ("left", "right"), strict=True):
        assert np.array_equal(half, decode(tmp_path / f"{name}.png", 16))


def test_a_run_finds_its_sources_from_anywhere(
    folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    images, sources = folders
    monkeypatch.chdir(sources.parent)
    found = found_again(DataOptions(data="images", source="sources"), str(images))
    assert (found.data, found.source) == (str(images), str(sources))
    assert found_again(DataOptions(source="edges"), "glyphs").source == "edges"


def test_pix2pix_is_told_given_sources(folders: tuple[Path, Path]) -> None:
    info = loaded(folders[0], source=str(folders[1])).info
    assert isinstance(info, DataInfo)
    assert Pix2Pix(Pix2PixConfig(width=4, d_width=4), info).G.down[0][0].in_channels == 1
