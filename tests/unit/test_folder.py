from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gencli.data import folder as folders
from gencli.data import readers
from gencli.data.folder import load_folder
from gencli.errors import DataError


@pytest.fixture(autouse=True)
def _home(home: Path) -> None:
    pass


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Twenty grey squares of 12 pixels, in two classes; each is its own even shade."""
    root = tmp_path / "pictures"
    for i in range(20):
        path = root / ("ab"[i % 2]) / f"{i:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (12, 12), 10 * i).save(path)
    return root


def shades(images: np.ndarray) -> list[int]:
    return sorted(int(image.max()) for image in images)


def forbid_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise AssertionError("decoded again")

    monkeypatch.setattr(readers, "decode", fail)


def test_folder_becomes_arrays(root: Path) -> None:
    told: list[tuple[str, int, int]] = []
    stored = load_folder(root, progress=lambda *args: told.append(args))
    assert stored.images["train"].shape == (18, 1, 12, 12)
    assert stored.images["test"].shape == (2, 1, 12, 12)
    assert stored.classes == ("a", "b")
    for split, images in stored.images.items():
        assert [int(image[0, 0, 0]) // 10 % 2 for image in images] == stored.labels[split].tolist()
    both = np.concatenate(list(stored.images.values()))
    assert shades(both) == [10 * i for i in range(20)]
    assert told[-1] == ("decoding pictures", 20, 20)


def test_unchanged_folder_is_not_read_again(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = load_folder(root)
    forbid_decoding(monkeypatch)
    monkeypatch.setattr(folders, "_glance", None)
    assert load_folder(root).fingerprint == first.fingerprint


def test_copied_folder_is_known_by_its_content(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = load_folder(root)
    copy = tmp_path / "copy"
    shutil.copytree(root, copy, copy_function=shutil.copyfile)
    for path in copy.rglob("*.png"):
        os.utime(path, (1, 1))
    forbid_decoding(monkeypatch)
    assert load_folder(copy).fingerprint == first.fingerprint


def test_changed_folder_is_read_again(root: Path) -> None:
    first = load_folder(root)
    Image.new("L", (12, 12), 255).save(root / "a" / "00.png")
    changed = load_folder(root)
    assert changed.fingerprint != first.fingerprint
    assert max(shades(changed.images["train"]) + shades(changed.images["test"])) == 255


def test_size_is_kept_chosen_or_given(root: Path) -> None:
    assert load_folder(root, 8).images["train"].shape[1:] == (1, 8, 8)
    assert load_folder(root, 16).images["train"].shape[1:] == (1, 16, 16)
    Image.new("RGB", (30, 40), (255, 0, 0)).save(root / "a" / "red.jpg")
    assert load_folder(root).images["train"].shape[1:] == (3, 32, 32)
    for path in root.rglob("*.*"):
        path.unlink()
    for i in range(2):
        Image.new("L", (65, 65), i).save(root / f"{i}.png")
    assert load_folder(root).images["train"].shape[1:] == (1, 32, 32)


def test_hidden_files_are_ignored_and_others_counted(root: Path) -> None:
    (root / ".DS_Store").write_text("x")
    (root / ".hidden").mkdir()
    (root / ".hidden" / "a.png").write_text("x")
    assert len(load_folder(root).notes) == 1
    (root / "a" / "notes.txt").write_text("x")
    (root / "LICENSE").write_text("x")
    (root / "b" / "x.heic").write_text("x")
    assert load_folder(root).notes[-1] == (
        "files without an image's suffix were left out: 3 (.heic: 1, .txt: 1, no suffix: 1)"
    ) or sorted(load_folder(root).notes[-1].split("(")[1][:-1].split(", ")) == [
        ".heic: 1",
        ".txt: 1",
        "no suffix: 1",
    ]


def test_corrupt_images_are_named_or_skipped(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    half = root / "a" / "02.png"
    half.write_bytes(half.read_bytes()[:40])
    (root / "b" / "zz.jpg").write_text("no picture")
    with pytest.raises(DataError) as caught:
        load_folder(root)
    assert caught.value.exit_code == 3
    assert caught.value.problem.startswith(f"2 of 21 images in {root} cannot be read: a/02.png (")
    assert "b/zz.jpg (no image of a known format)" in caught.value.problem
    assert "--skip-bad" in caught.value.cure
    with monkeypatch.context() as patch:
        forbid_decoding(patch)  # what is good is in the cache
        stored = load_folder(root, skip_bad=True)
        with pytest.raises(DataError, match="2 of 21"):
            load_folder(root)
    assert stored.notes[-1] == "images that cannot be read were skipped: 2 of 21"
    assert sum(map(len, stored.images.values())) == 19
    assert 20 not in shades(np.concatenate(list(stored.images.values())))
    Image.new("L", (12, 12), 20).save(half)
    (root / "b" / "zz.jpg").unlink()
    assert sum(map(len, load_folder(root).images.values())) == 20


def test_many_corrupt_images_are_listed_up_to_a_limit(root: Path) -> None:
    for i in range(30):
        (root / "a" / f"bad{i:02d}.png").write_text("x")
    with pytest.raises(DataError, match=r"bad19\.png \(no image of a known format\), and 10 more"):
        load_folder(root)


def test_decompression_bomb_is_an_error(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 200)
    Image.new("L", (15, 15)).save(root / "a" / "bomb.png")
    with pytest.raises(DataError, match=r"1 of 21 .* a/bomb\.png \(a decompression bomb"):
        load_folder(root)
    assert "skipped: 1 of 21" in load_folder(root, skip_bad=True).notes[-1]


def test_link_to_nowhere_is_reported_and_a_circle_ends(root: Path) -> None:
    (root / "a" / "circle").symlink_to(root)
    assert sum(map(len, load_folder(root).images.values())) == 20
    (root / "a" / "lost.png").symlink_to(root / "nothing.png")
    with pytest.raises(DataError, match=r"a/lost\.png \(No such file or directory\)"):
        load_folder(root)


def test_no_images_or_one_is_an_error(tmp_path: Path) -> None:
    root = tmp_path / "few"
    root.mkdir()
    with pytest.raises(DataError, match="no images"):
        load_folder(root)
    (root / "a.txt").write_text("x")
    with pytest.raises(DataError, match=r"no images .*\.txt: 1") as caught:
        load_folder(root)
    assert "PNG, JPEG" in caught.value.cure
    Image.new("L", (8, 8)).save(root / "a.png")
    with pytest.raises(DataError, match="only one image"):
        load_folder(root)
    (root / "b.png").write_text("x")
    with pytest.raises(DataError, match=r"1 of 2 images .* b\.png|only one image"):
        load_folder(root)
    (root / "a.png").unlink()
    with pytest.raises(DataError, match="1 of 1 images"):
        load_folder(root, skip_bad=True)


def test_unreadable_folder_is_an_error(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.scandir

    def refuse(path: str) -> object:
        if str(path).endswith("/b"):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(DataError, match=r"/b cannot be read: Permission denied"):
        load_folder(root)


def test_more_than_the_memory_is_refused_at_once(root: Path) -> None:
    for size, problem in ((10_000_000, "GB of this machine"), (50_000, "GB on disk")):
        with pytest.raises(DataError, match=problem) as caught:
            load_folder(root, size)
        assert "--image-size" in caught.value.cure


def test_damaged_pointer_is_no_obstacle(root: Path, home: Path) -> None:
    first = load_folder(root)
    (pointer,) = (home / "cache" / "folders").glob("*.json")
    for content in ("", "5", '["a"]', '["a", "b"]'):
        pointer.write_text(content)
        assert load_folder(root).fingerprint == first.fingerprint
