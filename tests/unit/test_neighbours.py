"""The sheet of samples beside the training images nearest to them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

import gencli
from gencli.cli.app import run as command
from gencli.evaluation import absent, judge


class Pixels:
    """Sees the pixels themselves."""

    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor]:
        return images.flatten(1).float(), torch.zeros(len(images), 2)


def test_a_sheet(
    home: Path, image_folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(judge, "judge_for", lambda data, progress: Pixels())
    model = gencli.train(
        "vae", name="small", data=str(image_folder), steps=2, hidden=(8,), latent_dim=2
    )
    out = home / "sheet.png"
    arguments = ["evaluate", "small", "--metrics", "nll_bound", "--neighbours", str(out)]
    assert command(arguments) == 3  # seven test images are too few for a judge
    assert not out.exists()
    monkeypatch.setattr(absent, "no_judge_for", lambda data, n: None)
    assert command([*arguments, "--samples", "30"]) == 0
    assert f"neighbours in {out}" in capfd.readouterr().err
    sheet = np.asarray(Image.open(out))
    scale = (sheet.shape[1] - 2) // 6 // 28
    tiles = [
        [
            sheet[2 + r * (28 * scale + 2) :, 2 + c * (28 * scale + 2) :][: 28 * scale : scale]
            for c in range(6)
        ]
        for r in range(10)
    ]
    rows = np.array([[tile[:, : 28 * scale : scale] for tile in row] for row in tiles])
    apart = ((rows[:, :1].astype(float) - rows[:, 1:]) ** 2).sum((2, 3))
    assert (np.diff(apart, axis=1) >= 0).all()  # in each row, the nearest first
    assert (np.diff(apart[:, 0]) >= 0).all()  # and of the rows
    drawn = (model.sample(30) * 255).round().flatten(1).numpy()
    assert all((drawn == row[0].reshape(-1)).all(1).any() for row in rows)
    assert command(arguments) == 2  # it is there already
    assert command([*arguments[:-1], "-"]) == 2
