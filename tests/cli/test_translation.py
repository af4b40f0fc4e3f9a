"""`gencli sample RUN --source`: a folder is translated file by file, test:0..7 becomes a sheet."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from gencli.cli import translation
from gencli.cli.images import in_split, read_source
from gencli.cli.translation import refuse, translate_folder, translation_sheet
from gencli.data.conditions import Batch, Condition
from gencli.data.glyphs import render
from gencli.data.source_images import derive
from gencli.data.spec import DataInfo
from gencli.errors import DataError, UsageError
from gencli.loaded import LoadedModel
from gencli.models.adversarial.configs import Pix2PixConfig
from gencli.models.adversarial.pix2pix import Pix2Pix
from gencli.runs import Run
from tests.conftest import Gencli

NAMES = ("b.png", "a.jpg", "c.png", "more/d.png", "more/e.png")
ASKED: dict[str, Any] = {"seed": 0, "batch_size": None, "options": {}, "own": {"source": "x"}}


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    """A model of outlines, untrained, with weights so large that noise is seen."""
    torch.manual_seed(0)
    model = Pix2Pix(Pix2PixConfig(width=4, d_width=4), DataInfo(1, 14, 14, source="edges")).eval()
    for layer in model.G.up:
        layer[1].weight.data.mul_(10)
    return LoadedModel(model, Run(tmp_path_factory.mktemp("run")), "raw", 0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Outlines of five digits, in a folder and one within it, as PNG and JPEG."""
    images = torch.from_numpy(render(5, seed=1).images).float() / 255
    outlines = derive(images, "edges")
    assert outlines is not None
    root = tmp_path / "sources"
    (root / "more").mkdir(parents=True)
    for i, name in enumerate(NAMES):
        Image.fromarray((outlines[i, 0] * 255).byte().numpy()).save(root / name)
    (root / ".hidden.png").write_bytes(b"")
    (root / "notes.txt").write_text("not an image")
    return root


def pictures(folder: Path) -> dict[str, np.ndarray]:
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    return {str(p.relative_to(folder)): np.asarray(Image.open(p)).astype(int) for p in files}


def test_a_folder_is_translated_with_its_names_whatever_the_batch(
    loaded: LoadedModel, folder: Path, tmp_path: Path
) -> None:
    assert translate_folder(loaded, folder, tmp_path / "out", **ASKED) == 5
    made = pictures(tmp_path / "out")
    assert list(made) == ["a.png", "b.png", "c.png", "more/d.png", "more/e.png"]
    source = read_source(folder / "b.png", loaded.data)
    (expected,) = loaded.sample_batches(1, seed=0, first=1, condition=Condition(source=source))
    assert np.abs(made["b.png"] - (expected[0, 0] * 255).round().int().numpy()).max() <= 1
    translate_folder(loaded, folder, tmp_path / "two", **ASKED | {"batch_size": 2})
    for name, image in pictures(tmp_path / "two").items():
        assert np.abs(image - made[name]).max() <= 1
    (tmp_path / "out" / "mine.png").write_bytes((tmp_path / "out" / "a.png").read_bytes())
    translate_folder(loaded, folder, tmp_path / "out", **ASKED | {"seed": 1})  # as by --force
    again = pictures(tmp_path / "out")
    assert (again["a.png"] != made["a.png"]).any()
    assert (again["mine.png"] == made["a.png"]).all()


def test_what_is_in_memory_is_bounded(
    loaded: LoadedModel, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(translation, "_AT_ONCE", 2 * 2 * 14 * 14)
    sizes: list[int] = []
    loaded.model.G.register_forward_pre_hook(lambda _, args: sizes.append(len(args[0])))
    translate_folder(loaded, folder, tmp_path / "out", **ASKED)
    assert sizes == [2, 2, 1]


def test_bad_files_leave_nothing_behind(loaded: LoadedModel, folder: Path, tmp_path: Path) -> None:
    def refused(said: str, sources: Path = folder) -> None:
        with pytest.raises(DataError, match=said):
            translate_folder(loaded, sources, tmp_path / "out", **ASKED)
        assert [p.name for p in tmp_path.iterdir() if p.name != "empty"] == ["sources"]

    (folder / "z.png").write_bytes(b"oops")
    refused("z.png cannot be read")
    (folder / "z.png").unlink()
    (folder / "b.jpg").write_bytes((folder / "a.jpg").read_bytes())
    refused("b.jpg and b.png in .* would both become b.png")
    (tmp_path / "empty").mkdir()
    refused("no images", tmp_path / "empty")


def test_a_folder_has_no_number_and_no_arrays() -> None:
    for format, n in (("npz", None), ("gif", None), ("png", 3)):
        with pytest.raises(UsageError):
            refuse(format, n)
    refuse("grid", None)


def test_images_of_the_data_become_a_sheet_of_source_made_and_true(
    loaded: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    true, source = torch.full((2, 1, 14, 14), 0.25), torch.full((2, 1, 14, 14), 0.75)
    monkeypatch.setattr(translation, "read_batch", lambda *_: Batch(true, Condition(source=source)))
    sheets = [
        translation_sheet(loaded, "test:0..1", each=2, **ASKED | {"seed": seed}) for seed in (0, 1)
    ]
    rows = [sheet[4 : 4 + 20, :, 0].astype(int) for sheet in sheets]  # of the first image
    levels = [np.unique(part) for part in np.array_split(rows[0], 4, axis=1)]
    assert 191 in levels[0]
    assert 64 in levels[3]
    changed = [
        (a != b).any() for a, b in zip(*(np.array_split(r, 4, 1) for r in rows), strict=True)
    ]
    assert changed == [False, True, True, False]


def test_references_to_the_data_are_told_from_files() -> None:
    assert [in_split(r) for r in ("test:0", "val:3..7", "test", "a.png")] == [1, 1, 0, 0]


@pytest.mark.parametrize("kind", ["grey", "half", "small", "mask"])
def test_a_source_that_is_one_stays_one(kind, tmp_path: Path) -> None:
    """And a picture becomes one, as in training."""
    levels = torch.randint(256, (1, 3, 8, 8), generator=torch.Generator().manual_seed(0))
    levels = levels // 4 * 4  # so that means of two by two are levels, or nearly
    expected = derive(levels.float() / 255, kind)
    assert expected is not None
    info = DataInfo(3, 8, 8, source=kind)
    shown = expected[..., ::2, ::2] if kind == "small" else expected
    for name, image in (("source", shown), ("true", levels.float() / 255)):
        if (name, kind) == ("true", "small"):
            continue  # is reduced by another filter
        array = (image[0].permute(1, 2, 0) * 255).round().byte().numpy()
        path = tmp_path / f"{name}.png"
        Image.fromarray(array.squeeze()).save(path)
        torch.testing.assert_close(read_source(path, info), expected, atol=0.6 / 255, rtol=0)


@pytest.mark.slow
def test_the_command_translates_a_folder_once_and_makes_sheets(
    gencli: Gencli, folder: Path, tmp_path: Path
) -> None:
    options = ("--data", "glyphs", "--source", "edges", "--width", "4", "--d-width", "4")
    gencli("train", "pix2pix", *options, "--steps", "3", "--sample-every", "0", "--name", "e", "-q")
    command = ("sample", "e", "--source", str(folder), "--out", str(tmp_path / "out"), "-q")
    both = [gencli.start(*command, stderr=subprocess.PIPE) for _ in range(2)]
    errors = b"".join(process.communicate(timeout=280)[1] for process in both)
    assert sorted(process.returncode for process in both) == [0, 2]
    assert b"exists." in errors
    assert len(pictures(tmp_path / "out")) == 5
    for more in (("--n", "3"), ("--format", "npz")):
        gencli("sample", "e", "--source", str(folder), *more, "-q", expect=2)
    sheet = tmp_path / "sheet.png"
    told = ("--source", "test:3..4", "--no-noise", "--out", str(sheet), "-q")
    assert gencli("sample", "e", *told).stdout == f"{sheet}\n"
    height, width = np.asarray(Image.open(sheet)).shape
    assert width > height  # two rows of three
    shown = gencli("sample", "e", "--n", "2", "--out", str(tmp_path / "any.png"))
    assert "no --source: test:0..1 is translated" in shown.stderr
    assert np.asarray(Image.open(tmp_path / "any.png")).shape == (height, width)
