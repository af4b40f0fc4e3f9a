"""Which pixels are given to a completion."""

from __future__ import annotations

import pytest
import torch

from gencli.cli.completion_sheet import known_pixels


@pytest.mark.parametrize("size", [(4, 8), (7, 5)])
def test_halves_are_complements(size: tuple[int, int]) -> None:
    top, bottom, left, right = (
        known_pixels(keep, 3, *size, seed=0) for keep in ("top", "bottom", "left", "right")
    )
    assert top.shape == (3, 1, *size)
    assert torch.equal(top, ~bottom)
    assert torch.equal(left, ~right)
    assert top[:, :, : size[0] // 2].all()
    assert left[..., : size[1] // 2].all()
    assert int(top[0].sum()) == size[0] // 2 * size[1]


def test_a_border_leaves_a_hole_of_half_the_size_in_the_middle() -> None:
    known = known_pixels("border", 2, 8, 4, seed=0)
    hole = torch.zeros(2, 1, 8, 4, dtype=torch.bool)
    hole[:, :, 2:6, 1:3] = True
    assert torch.equal(~known, hole)
    odd = known_pixels("border", 1, 7, 7, seed=0)[0, 0]
    assert torch.equal(odd, odd.flip(0))
    assert torch.equal(odd, odd.T)
    assert int((~odd).sum()) == 25


def test_random_pixels_are_a_fifth_and_depend_on_seed_and_image_alone() -> None:
    known = known_pixels("random", 50, 28, 28, seed=1)
    assert known.shape == (50, 1, 28, 28)
    assert float(known.float().mean()) == pytest.approx(0.2, abs=0.01)
    assert torch.equal(known[:3], known_pixels("random", 3, 28, 28, seed=1))
    assert not torch.equal(known[0], known[1])
    assert not torch.equal(known, known_pixels("random", 50, 28, 28, seed=2))
