"""Captions under pictures, and tiles that are large enough to read."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gencli.viz.caption import captioned
from gencli.viz.grid import make_grid

TEXT = "vae-glyphs-0001, step 1720, seed 0"


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("side", "n"), [(8, 1), (8, 64), (28, 4), (64, 1), (64, 64)])
def test_the_picture_stays_and_text_is_below(side: int, n: int, channels: int):
    array = make_grid(torch.rand(n, channels, side, side))
    shown = captioned(array, TEXT)
    assert shown.dtype == np.uint8
    assert shown.shape[2] == channels
    left = (shown.shape[1] - array.shape[1]) // 2
    height, width = array.shape[:2]
    assert (shown[:height, left : left + width] == array).all()
    below = shown[height:]
    assert below.max() > 150  # ink
    assert (below[:, [0, -1]] == 24).all()  # none of it is cut off
    assert (below[-1] == 24).all()


def test_other_words_are_other_pictures():
    array = make_grid(torch.zeros(4, 1, 28, 28))
    assert (captioned(array, TEXT) != captioned(array, TEXT.replace("seed 0", "seed 1"))).any()
    assert captioned(array, "") is array


@pytest.mark.parametrize("side", [8, 28, 32, 64])
@pytest.mark.parametrize(("n", "least"), [(1, 220), (4, 110), (64, 64)])
def test_tiles_are_large_enough_to_read(side: int, n: int, least: int):
    grid = make_grid(torch.rand(n, 1, side, side))
    columns = round(n**0.5)
    assert least <= grid.shape[1] // columns <= 270
