"""MADE with several masks completes an image by the masks' posterior given the known pixels."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from gencli.data.spec import DataInfo
from gencli.models.autoregressive import made
from gencli.models.autoregressive.configs import MADEConfig
from gencli.random import ImageGenerator

DATA = DataInfo(1, 4, 4, binarization="static")
N = 40_000
PLACES = 1 << torch.arange(16)


def model_of(*, order_agnostic: bool, scale: float) -> made.MADE:
    torch.manual_seed(0)
    config = MADEConfig(hidden=(30,), masks=8, order_agnostic=order_agnostic)
    model = made.MADE(config, DATA)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=scale / parameter[0].numel() ** 0.5)
    return model.eval().requires_grad_(False)


def images_of(codes: Tensor) -> Tensor:
    return ((codes[:, None] & PLACES) > 0).float().view(-1, 1, 4, 4)


def total_variation(model: made.MADE, x: Tensor, known: Tensor) -> float:
    """Between completions of one image and p(unknown | known), by enumeration."""
    everything = images_of(torch.arange(1 << 16))
    fits = ((everything == x) | ~known).flatten(1).all(1)
    exact = torch.where(fits, model.log_prob(everything).double(), -torch.inf).softmax(0)
    filled = model.complete(
        x.expand(N, 1, 4, 4), known, generator=ImageGenerator(1, range(N)), temperature=1.0
    )
    codes = (filled.flatten(1).long() * PLACES).sum(1)
    found = codes.bincount(minlength=1 << 16).double() / N
    return float((found - exact).abs().sum() / 2)


def mask_of(region: str) -> Tensor:
    known = torch.zeros(4, 4, dtype=torch.bool)
    if region == "top":
        known[:2] = True
    else:
        known[:, :2] = True
    return known


@pytest.mark.parametrize("code", [0b0110_1001_0011_0101, 0b1010_1111_1100_0000])
def test_exact_where_the_known_pixels_come_first(code: int) -> None:
    model = model_of(order_agnostic=False, scale=4.0)
    assert total_variation(model, images_of(torch.tensor([code])), mask_of("top")) < 0.03


@pytest.mark.parametrize("order_agnostic", [False, True])
def test_elsewhere_the_known_pixels_choose_the_mask(order_agnostic: bool) -> None:
    """Each mask's completion conditions on what comes before; its weight is the known's chance."""
    model = model_of(order_agnostic=order_agnostic, scale=1.0)
    x, known = images_of(torch.tensor([0b1010_1111_1100_0000])), mask_of("left")
    weighted = total_variation(model, x, known)
    model.log_known = lambda mask, uniforms, *rest: uniforms.new_zeros(len(uniforms))  # type: ignore[method-assign]
    assert weighted < 0.9 * total_variation(model, x, known)


def test_one_image_is_the_same_in_any_batch() -> None:
    model = model_of(order_agnostic=True, scale=1.0)
    x, known = images_of(torch.arange(7, 700, 100)), mask_of("left")
    together = model.complete(x, known, generator=ImageGenerator(3, range(len(x))))
    alone = model.complete(x[4:5], known, generator=ImageGenerator(3, [4]))
    assert torch.equal(together[4:5], alone)
    assert torch.equal(together.where(known, 0), x.where(known, 0))
