"""`--caption`: the pictures of `sample` and `interpolate` with a line of text below."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from tests.conftest import Gencli

SMALL = ("--hidden", "8", "--latent-dim", "2", "--batch-size", "20", "--steps", "2")


@pytest.mark.parametrize(
    "command",
    [
        ["sample", "flat", "--n", "4"],
        pytest.param(
            ["interpolate", "flat", "--rows", "2", "--points", "3"], marks=pytest.mark.slow
        ),
        ["interpolate", "flat", "--rows", "2", "--points", "3", "--format", "gif"],
        pytest.param(["interpolate", "flat", "--grid", "4"], marks=pytest.mark.slow),
    ],
)
def test_captions(gencli: Gencli, image_folder: Path, command: list[str]):
    if not (Path(gencli.environment["GENCLI_HOME"]) / "runs" / "flat").exists():
        gencli("train", "vae", "--data", str(image_folder), *SMALL, "--name", "flat", "-q")
    sizes = []
    for more in ([], ["--caption"]):
        with Image.open(gencli(*command, *more, "-q").stdout.strip()) as picture:
            sizes.append(picture.size)
    assert sizes[1][1] > sizes[0][1]


def test_arrays_have_no_room_for_one(gencli: Gencli):
    done = gencli("sample", "flat", "--caption", "--format", "npz", expect=2)
    assert "caption" in done.stderr
