from __future__ import annotations

import torch

from gencli.viz.filters import filter_sheet


def test_filters_go_from_blue_over_white_to_red() -> None:
    weights = torch.zeros(1, 1, 1, 3)
    weights[..., 0], weights[..., 2] = -2.0, 1.0
    picture = filter_sheet(weights)
    inner = picture[picture.shape[0] // 2]
    width = (len(inner) - 4) // 3
    blue, white, red = (inner[2 + width * i + width // 2] for i in range(3))
    assert blue.tolist() == [0, 0, 255]
    assert white.tolist() == [255, 255, 255]
    assert red.tolist() == [255, 128, 128]


def test_the_strongest_are_kept_in_their_order() -> None:
    strength = torch.tensor([1.0, 5.0, 0.1, 3.0])
    weights = strength.view(4, 1, 1, 1) * torch.tensor([1.0, 1.0, -1.0, -1.0]).view(4, 1, 1, 1)
    two = filter_sheet(weights, 2)
    assert (two == filter_sheet(weights[[1, 3]])).all()


def test_colour_filters_keep_their_channels() -> None:
    weights = torch.zeros(2, 3, 4, 4)
    weights[0, 1] = 1.0
    picture = filter_sheet(weights)
    assert picture.shape[2] == 3
    assert [128, 255, 128] in picture.reshape(-1, 3).tolist()
