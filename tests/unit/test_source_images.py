"""Source images derived from images: every kind, in grey and colour, at odd sizes."""

from __future__ import annotations

from typing import get_args

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from gencli.data.source_images import INCOMPLETE, as_image, derive
from gencli.data.spec import DataInfo
from gencli.kinds import SourceKind

KINDS = [kind for kind in get_args(SourceKind) if kind != "none"]


def derived(images: Tensor, kind: SourceKind) -> Tensor:
    source = derive(images, kind)
    assert source is not None
    return source


@pytest.mark.parametrize("size", [(8, 8), (7, 9), (5, 4), (1, 1), (28, 28)])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_shapes_and_values_are_those_of_the_spec(
    kind: SourceKind, channels: int, size: tuple[int, int]
):
    images = torch.rand(3, channels, *size, generator=torch.Generator().manual_seed(0))
    before = images.clone()
    source = derived(images, kind)
    assert source.shape[1:] == DataInfo(channels, *size, source=kind).source_shape
    assert source.dtype == torch.float32
    assert 0 <= source.min() <= source.max() <= 1
    assert torch.equal(images, before)
    assert torch.allclose(source[1:2], derived(images[1:2], kind), atol=1e-6)  # each by itself


def test_none_is_none():
    assert derive(torch.rand(2, 1, 4, 4), "none") is None


def test_grey_is_the_mean_of_the_colours():
    red = torch.zeros(1, 3, 2, 2)
    red[:, 0] = 0.9
    assert torch.allclose(derived(red, "grey"), torch.full((1, 1, 2, 2), 0.3))


def test_half_hides_the_right_half_of_any_width():
    for width, shown in ((6, 3), (7, 3)):
        source = derived(torch.ones(1, 3, 5, width), "half")
        assert (source[..., :shown] == 1).all()
        assert (source[..., shown:] == 0.5).all()


def test_mask_hides_the_middle_alone():
    source = derived(torch.ones(1, 1, 8, 9), "mask")
    hidden = source[0, 0] == 0.5
    assert hidden[2:6, 2:7].all()
    assert hidden.sum() == 4 * 5


def test_small_has_blocks_of_the_means():
    images = torch.arange(16.0).view(1, 1, 4, 4) / 16
    source = derived(images, "small")
    assert torch.equal(source[..., 0:2, 0:2], images[..., 0:2, 0:2].mean().expand(1, 1, 2, 2))
    assert source.unique().numel() == 4


def test_edges_are_black_on_white():
    images = torch.zeros(1, 1, 6, 6)
    images[..., 3:] = 1
    edges = derived(images, "edges")
    assert (edges[..., 2:4] == 0).all()
    assert (edges[..., :2] == 1).all()
    assert (edges[..., 4:] == 1).all()
    assert (derived(torch.full((1, 3, 5, 5), 0.7), "edges") > 1 - 1e-5).all()


def test_small_sources_are_shown_enlarged_by_bicubic_and_others_as_they_are():
    images = torch.rand(2, 3, 12, 12, generator=torch.Generator().manual_seed(0))
    expected = F.interpolate(F.avg_pool2d(images, 2), (12, 12), mode="bicubic").clamp(0, 1)
    torch.testing.assert_close(as_image(derived(images, "small"), "small"), expected)
    assert as_image(derived(torch.rand(1, 1, 7, 9), "small"), "small").shape == (1, 1, 7, 9)
    for kind in set(INCOMPLETE) - {"small"}:
        assert as_image(images, kind) is images
