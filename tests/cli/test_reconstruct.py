"""`gencli reconstruct`: originals above reconstructions, of files and of the data set."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import gencli
from gencli.cli.app import run as command
from gencli.cli.reconstruct import above

SMALL = {"batch_size": 20, "steps": 3, "sample_every": 0, "val": 0}


@pytest.fixture
def trained(home: Path, image_folder: Path) -> gencli.LoadedModel:
    return gencli.train("vae", name="v", data=str(image_folder), hidden=(8,), latent_dim=2, **SMALL)


def test_sheet_of_files_and_of_the_data_set(
    trained: gencli.LoadedModel, image_folder: Path, capsys: pytest.CaptureFixture[str]
):
    file = sorted((image_folder / "class-1").glob("*.png"))[0]
    assert command(["reconstruct", "v", "test:0..2", str(file)]) == 0
    done = capsys.readouterr()
    assert "of 4 images" in done.err
    sheet = np.asarray(Image.open(done.out.strip()))
    assert sheet.shape == (2 * 84 + 3 * 2 - 2 + 2, 4 * 86 + 2)
    original = np.array(Image.open(file).convert("L"))
    shown = sheet[2:86:3, 2 + 3 * 86 : 3 * 86 + 86 : 3]
    assert (shown == original).all()  # the last of the upper row
    x = torch.from_numpy(original)[None, None].float() / 255
    made = trained.decode(trained.encode(x))
    below = sheet[88 : 88 + 84 : 3, 2 + 3 * 86 : 3 * 86 + 86 : 3]
    assert np.abs(below - (made[0, 0].numpy() * 255).round()).max() <= 1


def test_refusals(trained: gencli.LoadedModel):
    assert command(["reconstruct", "v", "nothing.png"]) == 2
    assert command(["reconstruct", "v", "test:100000"]) == 3
    assert command(["reconstruct", "v"]) == 2


def test_a_model_without_an_encoder_says_which_have_one(
    home: Path, image_folder: Path, capsys: pytest.CaptureFixture[str]
):
    gencli.train("mixture", name="m", data=str(image_folder), components=2, **SMALL)
    assert command(["reconstruct", "m", "test:0"]) == 2
    assert "These have one: vae" in capsys.readouterr().err


def test_rows_of_pairs():
    x = torch.arange(5.0).view(5, 1, 1, 1) / 10
    rows = above(x, x + 0.05, 3).flatten().tolist()
    grey = rows[-1]
    assert rows == pytest.approx(
        [0, 0.1, 0.2, 0.05, 0.15, 0.25, 0.3, 0.4, grey, 0.35, 0.45, grey], abs=1e-6
    )
