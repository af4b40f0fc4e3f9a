"""PixelRNN: exact, causal, fast by sweeps whose gradients are written by hand."""

from __future__ import annotations

import itertools
from typing import Literal

import pytest
import torch
from torch import Tensor

from gencli.data.spec import DataInfo
from gencli.errors import UsageError
from gencli.models.autoregressive.ancestral import ancestral, uncached
from gencli.models.autoregressive.configs import PixelRNNConfig
from gencli.models.autoregressive.pixelrnn import PixelRNN
from gencli.models.autoregressive.pixelrnn_kernel import (
    ABOVE,
    LEFT_AND_ABOVE,
    Lines,
    Neighbours,
    line_states,
    plain_states,
)
from gencli.models.autoregressive.raster import to_raster
from gencli.models.interface import Batch
from gencli.random import ImageGenerator
from tests.unit.descent import descend

Kind = Literal["row", "diagonal"]

KINDS = pytest.mark.parametrize("kind", ["row", "diagonal"])
LAYERS = pytest.mark.parametrize("layers", [1, 2])
BINARY = DataInfo(1, 4, 5, binarization="static")
GREY = DataInfo(1, 4, 3)
COLOR = DataInfo(3, 3, 4)
DATA = pytest.mark.parametrize("data", [BINARY, GREY, COLOR], ids=["binary", "grey", "color"])


def build(
    kind: Kind, data: DataInfo, layers: int = 1, scale: float = 0.7, channels: int = 12
) -> PixelRNN:
    """Double precision and weights that make every connection count."""
    model = PixelRNN(PixelRNNConfig(kind=kind, channels=channels, layers=layers), data).double()
    stream = torch.Generator().manual_seed(0)
    for p in model.parameters():
        noise = torch.randn(p.shape, generator=stream, dtype=p.dtype)
        p.data = noise * (scale / p.shape[-1] ** 0.5 if p.dim() > 1 else 0.3)
    return model.eval().requires_grad_(False)


def pixels_of(data: DataInfo, n: int) -> Tensor:
    levels = 2 if data.binary else 256
    stream = torch.Generator().manual_seed(1)
    return torch.randint(levels, (n, *data.shape), generator=stream).double() / (levels - 1)


@KINDS
@LAYERS
def test_probabilities_of_all_binary_images_sum_to_one(kind: Kind, layers: int) -> None:
    data = DataInfo(1, 3, 4, binarization="static")
    everything = torch.tensor(list(itertools.product((0.0, 1.0), repeat=12))).double()
    log_p = build(kind, data, layers).log_prob(everything.view(-1, 1, 3, 4))
    torch.testing.assert_close(log_p.exp().sum().item(), 1.0, rtol=1e-10, atol=0)


@KINDS
def test_probabilities_of_all_4_by_4_images_sum_to_one_in_single_precision(kind: Kind) -> None:
    data = DataInfo(1, 4, 4, binarization="static")
    model = build(kind, data).float()
    codes = torch.arange(2**16).unsqueeze(1) >> torch.arange(16)
    everything = (codes & 1).float().view(-1, 1, 4, 4)
    total = sum(float(model.log_prob(x).exp().double().sum()) for x in everything.split(4096))
    assert total == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize(("kind", "size"), [("row", (2, 1)), ("diagonal", (1, 2))])
def test_probabilities_of_all_two_pixel_images_of_256_levels_sum_to_one(
    kind: Kind, size: tuple[int, int]
) -> None:
    levels = torch.arange(256).double() / 255
    images = torch.cartesian_prod(levels, levels).view(-1, 1, *size)
    model = build(kind, DataInfo(1, *size))
    total = sum(model.log_prob(x).exp().sum().item() for x in images.split(4096))
    assert total == pytest.approx(1, rel=1e-9)


def dependence(model: PixelRNN) -> Tensor:
    """Whether output t is a function of pixel s, bool (D, D), by autograd."""
    pixels = to_raster(pixels_of(model.data, 3)).requires_grad_()
    outputs = model.parameters_of(pixels).abs().sum((0, 2))
    grads = [torch.autograd.grad(o, pixels, retain_graph=True)[0] for o in outputs]
    return torch.stack(grads).abs().amax(1) > 0


@KINDS
@LAYERS
@DATA
def test_outputs_depend_on_earlier_pixels_alone(kind: Kind, layers: int, data: DataInfo) -> None:
    depends = dependence(build(kind, data, layers, 1.5))
    assert not depends.triu().any()
    n = data.n_pixels
    assert depends.tril(-1).sum() > 0.7 * n * (n - 1) / 2


@LAYERS
@pytest.mark.parametrize("data", [DataInfo(1, 5, 9, binarization="static"), COLOR])
def test_the_diagonal_kind_sees_all_pixels_before(layers: int, data: DataInfo) -> None:
    depends = dependence(build("diagonal", data, layers, channels=48))
    assert torch.equal(depends, torch.ones_like(depends).tril(-1))


def test_the_row_kind_sees_a_triangle() -> None:
    depends = dependence(build("row", DataInfo(1, 9, 19, binarization="static"), 1, 1.5))
    seen = depends[8 * 19 + 9].view(9, 19)  # by the middle of the last row
    # To the right what the convolution sees, one more for each row up; to the left two more.
    assert [int(row.sum()) for row in seen] == [19, 19, 18, 17, 15, 13, 11, 9, 4]


@pytest.mark.parametrize("temperature", [1.0, 0.6])
@KINDS
@LAYERS
@DATA
def test_caches_draw_the_pixels_of_the_plain_loop(
    kind: Kind, layers: int, data: DataInfo, temperature: float
) -> None:
    model = build(kind, data, layers)
    images = model.sample(5, generator=ImageGenerator(3, range(5)), temperature=temperature)
    u = ImageGenerator(3, range(5)).uniform(data.n_pixels).double()
    plain = ancestral(
        uncached(model.parameters_of), model.likelihood, u, data.shape, temperature=temperature
    )
    assert images.shape == (5, *data.shape)
    assert torch.equal(images, plain)
    assert images.unique().numel() >= (2 if data.binary else 20)


@KINDS
def test_completion_keeps_what_is_known(kind: Kind) -> None:
    model = build(kind, BINARY)
    x = pixels_of(BINARY, 4)
    known = torch.rand(4, 1, 4, 5, generator=torch.Generator().manual_seed(0)) < 0.5
    filled = model.complete(x, known, generator=ImageGenerator(5, range(4)))
    assert torch.equal(filled.where(known, 0), x.where(known, 0))
    free = model.sample(4, generator=ImageGenerator(5, range(4)))
    again = model.complete(free, known, generator=ImageGenerator(5, range(4)))
    assert torch.equal(again, free)  # the same numbers continue an image as they first drew it


@pytest.mark.parametrize("shape", [(3, 4), (4, 2), (1, 3), (3, 1)])
@pytest.mark.parametrize("neighbours", [ABOVE, LEFT_AND_ABOVE], ids=["row", "diagonal"])
def test_lines_are_the_loop_over_pixels(neighbours: Neighbours, shape: tuple[int, int]) -> None:
    height, width = shape
    n_features, h, lines = 5, 3, Lines.of(neighbours, height, width)
    assert len(lines.sizes) == (height if neighbours == ABOVE else height + width - 1)
    stream = torch.Generator().manual_seed(0)

    def draw(*size: int) -> Tensor:
        return torch.randn(size, generator=stream, dtype=torch.double).requires_grad_()

    inputs = (
        draw(height * width, 2, n_features), draw(4 * h, n_features), draw(4 * h),
        draw(len(neighbours), 4 * h, h),
    )  # fmt: skip

    def swept(x: Tensor, weight: Tensor, bias: Tensor, recurrent: Tensor) -> Tensor:
        return line_states(x[lines.order], weight, bias, recurrent, lines)[lines.place]

    def plain(x: Tensor, weight: Tensor, bias: Tensor, recurrent: Tensor) -> Tensor:
        z = (x @ weight.t() + bias).unflatten(0, shape)
        return plain_states(z, recurrent, neighbours).flatten(0, 1)

    ours, theirs = swept(*inputs), plain(*inputs)
    torch.testing.assert_close(ours, theirs)
    up = draw(*ours.shape).detach()
    expected = torch.autograd.grad(theirs, inputs, up, materialize_grads=True)
    torch.testing.assert_close(torch.autograd.grad(ours, inputs, up), expected)
    assert torch.autograd.gradcheck(swept, inputs, fast_mode=True)


@KINDS
@DATA
def test_training_lowers_the_loss(kind: Kind, data: DataInfo) -> None:
    torch.manual_seed(0)
    model = PixelRNN(PixelRNNConfig(kind=kind, channels=12, layers=2), data)
    batch = Batch(pixels_of(data, 8).float())
    losses = descend(model, batch, steps=25, lr=0.03, until=0.95)
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    assert losses[-1] < 0.95 * losses[0]


def test_channels_that_the_colours_cannot_share_are_a_usage_error() -> None:
    with pytest.raises(UsageError, match="--channels 32"):
        PixelRNN(PixelRNNConfig(channels=32), COLOR)
