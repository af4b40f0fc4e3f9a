"""`gencli inspect`: whatever is wrong with a folder is found and named."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance

from gencli.cli.app import run as command
from gencli.data.likeness import nearly_same, small_versions


def picture(seed: int, size: tuple[int, int] = (40, 40)) -> Image.Image:
    """Coloured blobs, different for each seed."""
    noise = np.random.default_rng(seed).integers(0, 256, (5, 5, 3), np.uint8)
    return Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC)


@pytest.fixture(scope="module")
def messy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """20 training and 6 test photographs, with one of each kind of damage."""
    root = tmp_path_factory.mktemp("messy")
    for split, count in (("train", 20), ("test", 6)):
        for i in range(count):
            folder = root / split / ("cat" if i % 2 else "dog")
            folder.mkdir(parents=True, exist_ok=True)
            picture(i if split == "train" else 100 + i).save(folder / f"{i:02d}.png")
    train, test = root / "train" / "cat", root / "test" / "cat"
    (train / "broken.png").write_bytes(b"no image at all")
    shutil.copy(train / "01.png", train / "copy.png")
    ImageEnhance.Brightness(picture(3)).enhance(0.8).save(test / "again.jpg", quality=90)
    picture(50).convert("L").save(train / "grey.png")
    picture(51, (400, 300)).save(train / "huge.png")
    picture(52).save(train / "jpeg-in-truth.png", "JPEG")
    (train / "notes.txt").write_text("not an image")
    return root


def test_planted_damage_is_found(messy: Path, home: Path, capsys: pytest.CaptureFixture[str]):
    assert command(["inspect", str(messy), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["splits"] == {"train": 24, "test": 7}
    assert found["classes"] == {"cat": 14, "dog": 10}
    assert [text.split(" ")[0] for text in found["bad"]] == ["train/cat/broken.png"]
    assert found["grey"] == 1
    files = found["files"]
    assert files["images"] == 32
    assert files["same"] == [["train/cat/01.png", "train/cat/copy.png"]]
    assert files["misnamed"] == {"train/cat/jpeg-in-truth.png": "JPEG"}
    assert files["huge"] == {"train/cat/huge.png": [400, 300]}
    assert files["other"] == {".txt": 1}
    assert [(p["test"], p["train"]) for p in found["near_duplicates"]] == [
        ("test/cat/again.jpg", "train/cat/03.png")
    ]
    assert found["suggested"][0].startswith("gencli train dcgan --data ")


def test_for_people(messy: Path, home: Path, capsys: pytest.CaptureFixture[str]):
    assert command(["inspect", str(messy), "--image-size", "16"]) == 0
    text = capsys.readouterr().out
    for said in (
        "24 train, 7 test", "3x16x16", "2, 10 to 14 training images each",
        "1 file: train/cat/broken",
        "train/cat/01.png = train/cat/copy.png", "1 image: train/cat/huge.png (400x300)",
        "train/cat/jpeg-in-truth.png is JPEG", "test/cat/again.jpg ~ train/cat/03.png",
    ):  # fmt: skip
        assert said in text, said


def test_sheet(messy: Path, home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    sheet = tmp_path / "sheet.png"
    assert command(["inspect", str(messy), "--sheet", str(sheet)]) == 0
    assert capsys.readouterr().out.strip() == str(sheet)
    with Image.open(sheet) as image:
        width, height = image.size
    assert width > 8 * 32
    assert height > 5 * 32
    assert command(["inspect", str(messy), "--sheet", str(sheet)]) == 2
    assert command(["inspect", str(messy), "--sheet", "-", "--json"]) == 2


def test_a_split_of_its_own_for_validation_keeps_names_right(
    tmp_path: Path, home: Path, capsys: pytest.CaptureFixture[str]
):
    for number, split in enumerate(("train", "val", "test")):
        (tmp_path / "d" / split).mkdir(parents=True)
        for i in range(3):
            picture(10 * number + i).save(tmp_path / "d" / split / f"{i}.png")
    shutil.copy(tmp_path / "d" / "val" / "1.png", tmp_path / "d" / "test" / "twin.png")
    assert command(["inspect", str(tmp_path / "d"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["splits"] == {"train": 6, "test": 4}
    assert [(p["test"], p["train"]) for p in found["near_duplicates"]] == [
        ("test/twin.png", "val/1.png")
    ]


def test_refusals(home: Path, tmp_path: Path):
    assert command(["inspect", str(tmp_path / "nowhere")]) == 3
    assert command(["inspect", "no-such-data"]) == 2
    assert command(["inspect", str(tmp_path)]) == 3


def test_likeness_is_of_shapes_not_of_brightness():
    torch.manual_seed(0)
    x = torch.randint(0, 200, (5, 3, 24, 24), dtype=torch.uint8)
    y = (x[[2, 0]].float() * 1.1 + 9).round().to(torch.uint8)
    y[1] = torch.randint(0, 200, (3, 24, 24))
    assert [(p.first, p.second) for p in nearly_same(x, y)] == [(2, 0)]
    assert nearly_same(x[:0], y) == []
    flat = torch.full((1, 1, 24, 24), 7, dtype=torch.uint8)
    assert not small_versions(flat).any()
    assert nearly_same(flat, flat) == []
