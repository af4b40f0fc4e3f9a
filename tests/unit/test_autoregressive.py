"""FVSBN, NADE, MADE and PixelCNN: exact, causal, and sampled without repeating work."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from gencli.data.spec import DataInfo
from gencli.errors import UsageError
from gencli.models.abilities import HasCompletion, HasLogProb
from gencli.models.autoregressive import fvsbn, made, nade, pixelcnn, pixelrnn
from gencli.models.autoregressive.ancestral import ancestral, uncached
from gencli.models.autoregressive.base import AutoregressiveModel
from gencli.models.autoregressive.configs import (
    FVSBNConfig,
    MADEConfig,
    NADEConfig,
    PixelCNNConfig,
    PixelRNNConfig,
)
from gencli.models.autoregressive.raster import from_raster, to_raster
from gencli.models.interface import Batch, Step
from gencli.random import ImageGenerator
from tests.unit.descent import descend

BINARY = DataInfo(1, 5, 4, binarization="static")
GREY = DataInfo(1, 4, 5)
COLOR = DataInfo(3, 4, 3)

Build = Callable[[DataInfo], Any]


def randomised(model: Any, scale: float = 0.7) -> Any:
    """Double precision and weights that make every connection count."""
    torch.manual_seed(0)
    for parameter in model.double().parameters():
        fan = parameter[0].numel() if parameter.dim() > 1 else 1
        torch.nn.init.normal_(parameter, std=scale / fan**0.5 if parameter.dim() > 1 else 0.3)
    return model.eval().requires_grad_(False)


BUILDS: dict[str, Build] = {
    "fvsbn": lambda data: fvsbn.FVSBN(FVSBNConfig(), data),
    "fvsbn-softmax": lambda data: fvsbn.FVSBN(FVSBNConfig(likelihood="softmax"), data),
    "nade": lambda data: nade.NADE(NADEConfig(hidden=7), data),
    "nade-relu": lambda data: nade.NADE(NADEConfig(hidden=7, activation="relu"), data),
    "made": lambda data: made.MADE(MADEConfig(hidden=(40,)), data),
    "made-plain": lambda data: made.MADE(MADEConfig(hidden=(40,), direct=False), data),
    "made-deep": lambda data: made.MADE(
        MADEConfig(hidden=(50, 40), masks=3, order_agnostic=True), data
    ),
    "pixelcnn": lambda data: pixelcnn.PixelCNN(PixelCNNConfig(channels=12, blocks=2), data),
    "pixelcnn-logistic": lambda data: pixelcnn.PixelCNN(
        PixelCNNConfig(
            channels=6, blocks=1, kernel=3, likelihood="auto" if data.binary else "logistic"
        ),
        data,
    ),
    "gated": lambda data: pixelcnn.PixelCNN(
        PixelCNNConfig(channels=12, blocks=3, gated=True), data
    ),
    "attention": lambda data: pixelcnn.PixelCNN(
        PixelCNNConfig(channels=12, blocks=2, kernel=3, attention=True), data
    ),
    "gated-attention": lambda data: pixelcnn.PixelCNN(
        PixelCNNConfig(channels=12, blocks=2, kernel=3, gated=True, attention=True), data
    ),
}
FITS = [
    (name, data)
    for name in BUILDS
    for data in (BINARY, GREY, COLOR)
    if not (name == "fvsbn-softmax" and data.binary)
]


def _id(value: str | DataInfo) -> str:
    return value if isinstance(value, str) else {BINARY: "binary", GREY: "grey"}.get(value, "color")


def pixels_of(data: DataInfo, n: int, seed: int = 1) -> Tensor:
    stream = torch.Generator().manual_seed(seed)
    levels = 2 if data.binary else 256
    return torch.randint(levels, (n, *data.shape), generator=stream).double() / (levels - 1)


@pytest.mark.parametrize(("name", "data"), FITS, ids=_id)
def test_outputs_depend_on_earlier_pixels_alone(name: str, data: DataInfo) -> None:
    model = randomised(BUILDS[name](data), 2.0)
    for mask in range(getattr(model.config, "masks", 1)):
        extra = (mask,) if name.startswith("made") else ()
        order = model.orders[mask] if extra else torch.arange(data.n_pixels)
        pixels = to_raster(pixels_of(data, 3)).requires_grad_()
        outputs = model.parameters_of(pixels, *extra).abs().sum((0, 2))
        grads = [torch.autograd.grad(o, pixels, retain_graph=True)[0] for o in outputs]
        depends = (torch.stack(grads).abs().amax(1) > 0)[order][:, order]
        assert not depends.triu().any()
        # Blind spots and units that happen to be dead leave some out.
        assert depends.tril(-1).sum() > 0.6 * len(order) * (len(order) - 1) / 2


@pytest.mark.parametrize("name", [n for n in BUILDS if n != "fvsbn-softmax"])
def test_probabilities_of_all_binary_images_sum_to_one(name: str) -> None:
    data = DataInfo(1, 3, 3, binarization="static")
    model = randomised(BUILDS[name](data))
    everything = torch.tensor(list(itertools.product((0.0, 1.0), repeat=9))).double()
    total = model.log_prob(everything.view(-1, 1, 3, 3)).exp().sum()
    torch.testing.assert_close(total.item(), 1.0, rtol=1e-12, atol=0)


@pytest.mark.parametrize("name", ["fvsbn", "pixelcnn-logistic"])
def test_probabilities_of_all_two_pixel_images_of_256_levels_sum_to_one(name: str) -> None:
    model = randomised(BUILDS[name](DataInfo(1, 1, 2)))
    levels = torch.arange(256).double() / 255
    total = model.log_prob(torch.cartesian_prod(levels, levels).view(-1, 1, 1, 2)).exp().sum()
    torch.testing.assert_close(total.item(), 1.0, rtol=1e-9, atol=0)


def drawn_plainly(model: Any, seed: int, n: int, temperature: float) -> Tensor:
    """The images of `sample`, by the whole network once per pixel."""
    d = model.data.n_pixels
    generator = ImageGenerator(seed, range(n))
    if not isinstance(model, made.MADE):
        u = generator.uniform(d).double()
        plain = uncached(model.parameters_of)
        return ancestral(plain, model.likelihood, u, model.data.shape, temperature=temperature)
    u = generator.uniform(1 + d).double()
    images = []
    for row in u:
        mask = int(row[0] * model.config.masks)
        conditional = uncached(lambda pixels, mask=mask: model.parameters_of(pixels, mask))
        order = model.orders[mask]

        def in_order(t: int, pixels: Tensor, order: Tensor = order, c: Any = conditional) -> Tensor:
            raster = torch.zeros_like(pixels).index_copy_(0, order, pixels)
            return c(int(order[t]), raster)

        image = ancestral(
            in_order, model.likelihood, row[None, 1:], model.data.shape,
            temperature=temperature, order=order,
        )  # fmt: skip
        images.append(image)
    return torch.cat(images)


@pytest.mark.parametrize("temperature", [1.0, 0.6])
@pytest.mark.parametrize(("name", "data"), FITS, ids=_id)
def test_caches_draw_the_pixels_of_the_plain_loop(
    name: str, data: DataInfo, temperature: float
) -> None:
    model = randomised(BUILDS[name](data))
    images = model.sample(6, generator=ImageGenerator(3, range(6)), temperature=temperature)
    assert images.shape == (6, *data.shape)
    assert torch.equal(images, drawn_plainly(model, 3, 6, temperature))
    assert images.unique().numel() >= (2 if data.binary else 20)


@pytest.mark.parametrize("name", [n for n in BUILDS if n != "fvsbn-softmax"])
def test_an_image_does_not_depend_on_its_batch(name: str) -> None:
    model = randomised(BUILDS[name](BINARY))
    together = model.sample(5, generator=ImageGenerator(8, range(5)))
    alone = model.sample(1, generator=ImageGenerator(8, [3]))
    assert torch.equal(together[3:4], alone)


@pytest.mark.parametrize("name", ["fvsbn", "nade", "made-deep", "pixelcnn", "gated"])
def test_samples_have_the_models_own_frequencies(name: str) -> None:
    data = DataInfo(1, 2, 2, binarization="static")
    model = randomised(BUILDS[name](data), 1.5)
    n = 4000
    images = model.sample(n, generator=ImageGenerator(0, range(n)))
    everything = torch.tensor(list(itertools.product((0.0, 1.0), repeat=4))).double()
    codes = (images.flatten(1) @ torch.tensor([8.0, 4, 2, 1]).double()).long()
    observed = codes.bincount(minlength=16).double()
    expected = n * model.log_prob(everything.view(-1, 1, 2, 2)).exp()
    chi_squared = ((observed - expected) ** 2 / expected).sum()
    assert chi_squared < 37.7  # 15 degrees of freedom, one in a thousand


@pytest.mark.parametrize(("name", "data"), FITS, ids=_id)
def test_completion_keeps_what_is_known(name: str, data: DataInfo) -> None:
    model = randomised(BUILDS[name](data))
    assert isinstance(model, HasLogProb)
    assert isinstance(model, HasCompletion)
    x = pixels_of(data, 4)
    top = torch.zeros(data.height, data.width, dtype=torch.bool)
    top[:2] = True
    filled = model.complete(x, top, generator=ImageGenerator(5, range(4)))
    assert torch.equal(filled[:, :, :2], x[:, :, :2])
    assert not torch.equal(filled[:, :, 2:], x[:, :, 2:])
    each = torch.rand(4, 1, data.height, data.width) < 0.5
    filled = model.complete(x, each, generator=ImageGenerator(5, range(4)))
    assert torch.equal(filled.where(each, 0), x.where(each, 0))
    free = model.sample(4, generator=ImageGenerator(5, range(4)))
    nothing = torch.zeros_like(top)
    assert torch.equal(model.complete(x, nothing, generator=ImageGenerator(5, range(4))), free)
    if name == "made-deep":
        return  # the known pixels change which mask a number chooses
    again = model.complete(free, top, generator=ImageGenerator(5, range(4)))
    assert torch.equal(again, free)  # the same numbers continue an image as they first drew it


@pytest.mark.parametrize(("name", "data"), FITS, ids=_id)
def test_training_lowers_the_loss(name: str, data: DataInfo) -> None:
    torch.manual_seed(0)
    model = BUILDS[name](data)
    assert model.discrete_levels == (2 if data.binary else 256)
    batch = Batch(pixels_of(data, 8).float())
    losses = descend(model, batch, steps=25, lr=0.03, until=0.95)
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    assert losses[-1] < 0.95 * losses[0]


def test_made_is_the_equal_mixture_of_its_masks() -> None:
    model = randomised(BUILDS["made-deep"](BINARY))
    x = pixels_of(BINARY, 5)
    each = [
        model.likelihood.log_prob(model.parameters_of(to_raster(x), m), to_raster(x)).sum(1).exp()
        for m in range(3)
    ]
    torch.testing.assert_close(model.log_prob(x).exp(), sum(each) / 3)
    assert not torch.equal(model.orders[1], model.orders[2])


def test_nade_is_the_product_of_its_definition() -> None:
    model = randomised(BUILDS["nade"](BINARY))
    x = to_raster(pixels_of(BINARY, 3))
    total = torch.zeros(3).double()
    for d in range(x.shape[1]):
        h = torch.sigmoid(model.c + x[:, :d] @ model.w[:d])
        p = torch.sigmoid(model.b[d] + h @ model.v[d, 0])
        total += torch.where(x[:, d] == 1, p, 1 - p).log()
    torch.testing.assert_close(model.log_prob(from_raster(x, BINARY.shape)), total)


@pytest.mark.parametrize("data", [BINARY, COLOR], ids=_id)
@pytest.mark.parametrize("name", ["nade", "nade-relu"])
def test_nades_single_pass_has_the_gradients_of_autograd(name: str, data: DataInfo) -> None:
    model = randomised(BUILDS[name](data)).requires_grad_(True)
    x = pixels_of(data, 3)
    plain = -model.log_prob(x).mean()
    ours = model.loss(Batch(x), Step()).total * 1.5
    torch.testing.assert_close(ours, plain * 1.5)
    parameters = list(model.parameters())
    expected = torch.autograd.grad(plain * 1.5, parameters)
    torch.testing.assert_close(torch.autograd.grad(ours, parameters), expected)


@pytest.mark.parametrize("activation", ["sigmoid", "relu"])
@pytest.mark.parametrize("data", [BINARY, GREY])
def test_nades_running_sum_is_its_plain_form(activation: str, data: DataInfo) -> None:
    torch.manual_seed(0)
    model = nade.NADE(NADEConfig(hidden=7, activation=activation), data)  # type: ignore[arg-type]
    torch.nn.init.normal_(model.b)
    pixels = pixels_of(data, 5).float().permute(0, 2, 3, 1).flatten(1)
    plain, fast = model.plain_parameters_of(pixels), model.parameters_of(pixels)
    torch.testing.assert_close(fast, plain)
    plain = -model.likelihood.log_prob(plain, pixels).sum() / len(pixels)
    loss = model.loss(Batch(from_raster(pixels, data.shape)), Step()).total
    torch.testing.assert_close(loss, plain)
    parameters = tuple(model.parameters())
    for ours, theirs in zip(
        *(torch.autograd.grad(x, parameters) for x in (loss, plain)), strict=True
    ):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("gated", [False, True])
def test_attention_reaches_what_the_kernels_do_not(gated: bool) -> None:
    data = DataInfo(1, 20, 3, binarization="static")
    far = []
    for attention in (False, True):
        config = PixelCNNConfig(channels=6, blocks=1, kernel=3, gated=gated, attention=attention)
        model = randomised(pixelcnn.PixelCNN(config, data), 2.0)
        assert any("attention" in name for name in model.state_dict()) == attention
        pixels = to_raster(pixels_of(data, 1)).requires_grad_()
        (gradient,) = torch.autograd.grad(model.parameters_of(pixels)[0, -1].sum(), pixels)
        far.append((gradient[0, :30] != 0).all().item())
    assert far == [False, True]


def test_raster_puts_the_channels_of_a_pixel_side_by_side() -> None:
    x = torch.arange(3 * 2 * 2.0).view(1, 3, 2, 2)
    assert to_raster(x)[0, :6].tolist() == [0, 4, 8, 1, 5, 9]
    assert torch.equal(from_raster(to_raster(x), (3, 2, 2)), x)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: fvsbn.FVSBN(FVSBNConfig(likelihood="softmax"), BINARY), "8-bit"),
        (lambda: made.MADE(MADEConfig(hidden=()), BINARY), "hidden"),
        (lambda: pixelcnn.PixelCNN(PixelCNNConfig(channels=32), COLOR), "--channels 32"),
        (lambda: pixelcnn.PixelCNN(PixelCNNConfig(kernel=4), GREY), "--kernel"),
        (
            lambda: BUILDS["fvsbn"](BINARY).sample(
                1, generator=ImageGenerator(0, [0]), temperature=0.0
            ),
            "--temperature",
        ),
    ],
)
def test_what_does_not_fit_is_a_usage_error(build: Callable[[], object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        build()


def test_fvsbn_pays_for_its_weights_but_not_for_masked_ones():
    torch.manual_seed(0)
    data = DataInfo(1, 3, 3, binarization="static")
    model = fvsbn.FVSBN(FVSBNConfig(l1=0.5), data)
    with torch.no_grad():
        model.weight[:, 0] = torch.randn(9, 9).tril(-1)
    x = (torch.rand(4, 1, 3, 3) < 0.5).float()
    loss = model.loss(Batch(x), Step())
    torch.testing.assert_close(loss.metrics["nll"], -model.log_prob(x).mean())
    loss.total.backward()
    gradient = torch.autograd.grad(-model.log_prob(x).mean(), model.weight)[0]
    torch.testing.assert_close(model.weight.grad - gradient, 0.5 * model.weight.sign())
    later = torch.ones(9, 9).triu().bool()
    assert not model.weight.grad.transpose(0, 1)[:, later].any()


@pytest.mark.parametrize("data", [BINARY, COLOR], ids=_id)
def test_fvsbn_is_smooth_when_adjacent_pixels_have_the_same_weights(data: DataInfo) -> None:
    model = randomised(BUILDS["fvsbn"](data))
    c, h, w = data.shape
    pixels = list(itertools.product(range(h), range(w), range(c)))
    offset = torch.tensor([[(d[0] - i[0]) * 2 * w + d[1] - i[1] for i in pixels] for d in pixels])
    weight = torch.randn(2 * h * 2 * w).double()[offset].unsqueeze(1)
    model.weight.copy_(weight.expand_as(model.weight))
    assert float(model.roughness()) == 0
    model.weight[-1, 0, 0] += 3  # of the last pixel from the first, which nothing is one short of
    assert float(model.roughness()) == 0
    model.weight[-1, 0, -1] += 3  # of itself: differs from the pixel to the left and the one above
    assert float(model.roughness()) == pytest.approx(2 * 9 / 2)


@pytest.mark.parametrize(
    "build",
    [
        lambda data: fvsbn.FVSBN(FVSBNConfig(), data),
        lambda data: nade.NADE(NADEConfig(hidden=3), data),
        lambda data: made.MADE(MADEConfig(hidden=(3,)), data),
        lambda data: pixelcnn.PixelCNN(PixelCNNConfig(channels=6, blocks=1), data),
        lambda data: pixelrnn.PixelRNN(PixelRNNConfig(channels=6), data),
    ],
    ids=["fvsbn", "nade", "made", "pixelcnn", "pixelrnn"],
)
def test_the_biases_start_from_the_base_rates_of_binary_pixels(
    build: Callable[[DataInfo], AutoregressiveModel],
) -> None:
    model = build(BINARY)
    x = torch.zeros(9, 1, 5, 4)
    x[:3, 0, 0, 1] = 1
    (stage,) = model.stages()
    assert stage.start is not None
    stage.start([Batch(x[:5]), Batch(x[5:])])
    bias = model.output_bias()
    assert bias is not None
    rates = bias.detach().sigmoid()
    torch.testing.assert_close(rates[1], torch.tensor(3.5 / 10))
    torch.testing.assert_close(rates[2:], torch.full((18,), 0.5 / 10))
    assert build(GREY).stages()[0].start is None
