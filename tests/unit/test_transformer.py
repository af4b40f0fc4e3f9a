"""The transformer: exact over pixels, causal, drawn from caches, and true to what is known."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from gencli.data.conditions import NOTHING, Condition
from gencli.data.spec import DataInfo
from gencli.errors import UsageError
from gencli.models.autoregressive.ancestral import ancestral, uncached
from gencli.models.autoregressive.configs import TransformerConfig
from gencli.models.autoregressive.patches import Patches, patches_for
from gencli.models.autoregressive.raster import to_raster
from gencli.models.autoregressive.transformer import Transformer
from gencli.models.autoregressive.transformer_network import Decoder, causal_attention
from gencli.models.interface import Batch
from gencli.models.likelihoods import Categorical
from gencli.random import ImageGenerator
from tests.unit.descent import descend

BINARY = DataInfo(1, 4, 6, tuple("abc"), binarization="static")
COLOR_BINARY = DataInfo(3, 4, 2, tuple("abc"), binarization="static")
GREY = DataInfo(1, 4, 3, tuple("abc"))
COLOR = DataInfo(3, 3, 2, tuple("abc"))
CASES: dict[str, tuple[DataInfo, dict[str, Any]]] = {
    "patch-1": (BINARY, {"patch": 1}),
    "patch-2": (BINARY, {"patch": 2}),
    "plain": (BINARY, {"patch": 2, "reach": 0}),
    "far": (BINARY, {"patch": 1, "reach": 3}),
    "classes-1": (BINARY, {"patch": 1, "conditional": True}),
    "classes-2": (BINARY, {"patch": 2, "conditional": True}),
    "binary-colour": (COLOR_BINARY, {"patch": 1}),
    "grey": (GREY, {}),
    "colour": (COLOR, {"conditional": True}),
    "logistic": (COLOR, {"likelihood": "logistic", "components": 3}),
}
every_case = pytest.mark.parametrize("case", CASES)


def built(case: str, data: DataInfo | None = None) -> Transformer:
    """Double precision and weights that make every connection count."""
    info, options = CASES[case]
    torch.manual_seed(0)
    config = TransformerConfig(**({"width": 12, "depth": 2, "heads": 3} | options))
    model = Transformer(config, data or info).double()
    for parameter in model.parameters():
        scale = 0.7 / parameter.shape[1] ** 0.5 if parameter.dim() > 1 else 0.3
        torch.nn.init.normal_(parameter, std=scale)
    torch.nn.init.normal_(model.network.tokens.weight, std=0.7)
    return model.eval().requires_grad_(False)


def images_of(data: DataInfo, n: int, seed: int = 1) -> Tensor:
    stream = torch.Generator().manual_seed(seed)
    levels = 2 if data.binary else 256
    return torch.randint(levels, (n, *data.shape), generator=stream).double() / (levels - 1)


def told(model: Transformer, n: int) -> Condition:
    return Condition(torch.arange(n) % 3) if model.conditions else NOTHING


def all_binary(*shape: int) -> Tensor:
    n = torch.Size(shape).numel()
    return ((torch.arange(2**n).unsqueeze(1) >> torch.arange(n)) & 1).double().view(-1, *shape)


@pytest.mark.parametrize("patch", [1, 2])
@pytest.mark.parametrize("channels", [1, 3])
def test_tokens_are_the_pixels_in_another_form(patch: int, channels: int) -> None:
    patches = Patches((channels, 4, 8), 2, patch)
    x = images_of(DataInfo(channels, 4, 8, binarization="static"), 20)
    sequence = patches.sequence(x)
    assert sequence.shape == (20, 32 // patch**2)
    assert torch.equal(patches.images(sequence), x)
    assert int(patches.numbers(sequence).max()) < patches.ways == 2 ** (channels * patch**2)
    first = x.clone()
    first[:, :, :patch, :patch] = 1 - first[:, :, :patch, :patch]
    assert (patches.sequence(first) != sequence).nonzero()[:, 1].unique().tolist() == [0]


def test_eight_bit_tokens_are_the_raster() -> None:
    patches = Patches((3, 4, 5), 256, 1)
    x = images_of(DataInfo(3, 4, 5), 3)
    assert torch.equal(patches.sequence(x), to_raster(x))
    assert torch.equal(patches.images(patches.sequence(x)), x)


@pytest.mark.parametrize("patch", [1, 2])
def test_probabilities_of_all_4x4_images_sum_to_one(patch: int) -> None:
    data = DataInfo(1, 4, 4, binarization="static")
    torch.manual_seed(0)
    model = Transformer(TransformerConfig(patch=patch, width=4, depth=1, heads=1), data).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.6)
    with torch.no_grad():
        each = [model.log_prob(x).double().exp() for x in all_binary(1, 4, 4).float().split(4096)]
    assert torch.cat(each).sum().item() == pytest.approx(1, abs=1e-5)
    assert torch.cat(each).max() > 20 / 2**16  # far from uniform


@pytest.mark.parametrize("label", range(3))
@pytest.mark.parametrize("patch", [1, 2])
def test_probabilities_of_each_class_sum_to_one(patch: int, label: int) -> None:
    data = DataInfo(1, 2, 4, tuple("abc"), binarization="static")
    model = built(f"classes-{patch}", data)
    everything = all_binary(1, 2, 4)
    each = [model.log_prob(everything, Condition(torch.full((256,), c))).exp() for c in range(3)]
    assert float(each[label].sum()) == pytest.approx(1, abs=1e-12)
    assert all(not torch.allclose(each[label], each[c]) for c in range(3) if c != label)


@pytest.mark.parametrize("case", ["grey", "logistic"])
def test_probabilities_of_all_two_pixel_images_of_256_levels_sum_to_one(case: str) -> None:
    model = built(case, DataInfo(1, 1, 2))
    levels = torch.arange(256).double() / 255
    total = model.log_prob(torch.cartesian_prod(levels, levels).view(-1, 1, 1, 2)).exp().sum()
    assert float(total) == pytest.approx(1, abs=1e-9)


@every_case
def test_a_place_sees_the_tokens_before_it_and_all_of_them(case: str) -> None:
    model = built(case)
    x = images_of(model.data, 2)
    condition, sequence = told(model, 2), model.patches.sequence(x)
    outputs = model.parameters_of(sequence, condition)
    for t in range(sequence.shape[1]):
        other = sequence.clone()
        other[:, t] = (model.patches.numbers(other[:, t]) + 1) % model.patches.ways
        other[:, t] /= model.patches.ways - 1
        changed = (model.parameters_of(other, condition) != outputs).any(2)
        assert not changed[:, : t + 1].any()
        assert changed[:, t + 1 :].all()


@every_case
def test_gradients_flow_from_earlier_places_alone(case: str) -> None:
    model = built(case)
    tokens = model.patches.numbers(model.patches.sequence(images_of(model.data, 1)))
    h = model.network.inputs(tokens, told(model, 1).labels).requires_grad_()
    outputs = model.network.outputs(h).abs().sum((0, 2))
    grads = [torch.autograd.grad(o, h, retain_graph=True)[0][0].abs().amax(1) for o in outputs]
    depends = torch.stack(grads) > 0
    assert torch.equal(depends, torch.ones_like(depends).tril())
    before = torch.arange(len(model.network.seen)).unsqueeze(1)
    outside = model.network.seen == len(before)
    assert ((model.network.seen < before) | outside).all()


def test_attention_written_out_for_bf16_is_that_of_torch() -> None:
    torch.manual_seed(0)
    parts = [torch.randn(3, 2, 20, 8).bfloat16() for _ in range(3)]
    results = []
    for attend in (causal_attention, partial(F.scaled_dot_product_attention, is_causal=True)):
        q, k, v = (part.clone().requires_grad_() for part in parts)
        out = attend(q, k, v)
        results.append((out, *torch.autograd.grad(out.float().square().sum(), (q, k, v))))
    assert not torch.equal(results[0][0], results[1][0])  # two ways indeed
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, atol=0.03, rtol=0.03)


def drawn_plainly(model: Transformer, seed: int, n: int, temperature: float) -> Tensor:
    """The images of `sample`, by the whole network once per token."""
    condition, patches = told(model, n), model.patches
    u = ImageGenerator(seed, range(n)).uniform(patches.n_tokens).double()
    conditional = uncached(lambda sequence: model.parameters_of(sequence, condition))
    grid = ancestral(conditional, model.likelihood, u, patches.grid, temperature=temperature)
    return patches.images(to_raster(grid))


@pytest.mark.parametrize("temperature", [1.0, 0.6])
@every_case
def test_caches_draw_the_pixels_of_the_plain_loop(case: str, temperature: float) -> None:
    model = built(case)
    images = model.sample(
        6, generator=ImageGenerator(3, range(6)), condition=told(model, 6), temperature=temperature
    )
    assert images.shape == (6, *model.data.shape)
    assert torch.equal(images, drawn_plainly(model, 3, 6, temperature))
    assert len(images.unique(dim=0)) == 6


@every_case
def test_an_image_does_not_depend_on_its_batch(case: str) -> None:
    model = built(case)
    condition = told(model, 5)
    together = model.sample(5, generator=ImageGenerator(8, range(5)), condition=condition)
    alone = model.sample(1, generator=ImageGenerator(8, [3]), condition=condition.rows(slice(3, 4)))
    assert torch.equal(together[3:4], alone)


@every_case
def test_completion_keeps_what_is_known(case: str) -> None:
    model = built(case)
    x, condition = images_of(model.data, 4), told(model, 4)
    height, width = model.data.height, model.data.width

    def complete(images: Tensor, known: Tensor) -> Tensor:
        generator = ImageGenerator(5, range(4))
        return model.complete(images, known, generator=generator, condition=condition)

    each = torch.rand(4, 1, height, width, generator=torch.Generator().manual_seed(0)) < 0.5
    filled = complete(x, each)
    assert torch.equal(filled.where(each, 0), x.where(each, 0))
    assert not torch.equal(filled, x)
    free = model.sample(4, generator=ImageGenerator(5, range(4)), condition=condition)
    nothing = torch.zeros(height, width, dtype=torch.bool)
    assert torch.equal(complete(x, nothing), free)
    top = nothing.clone()
    top[: model.patches.side] = True
    assert torch.equal(complete(free, top), free)
    assert torch.equal(complete(x, ~nothing), x)


@pytest.mark.parametrize("code", [0b0110_1001, 0b1010_0100])
def test_squares_known_in_part_are_drawn_from_the_posterior(code: int) -> None:
    """Of 2 x 4 pixels, two squares: the second square's known pixel does not reach the first."""
    data = DataInfo(1, 2, 4, binarization="static")
    model = built("patch-2", data)
    everything = all_binary(1, 2, 4)
    x = everything[code : code + 1]
    known = torch.tensor([[True, False, False, True], [False, False, False, False]])
    codes = 1 << torch.arange(8)
    probability = model.log_prob(everything).exp()

    def part(columns: slice, held: Tensor) -> Tensor:
        """Which of all images agree with x in these columns where `held`."""
        same = (everything == x)[:, 0, :, columns] | ~held[:, columns]
        return same.flatten(1).all(1)

    # p(first | its known pixel) p(second | first, its known pixel): what completion promises
    first_agrees, second_agrees = part(slice(0, 2), known), part(slice(2, 4), known)
    squares = model.patches.numbers(model.patches.sequence(everything))[:, 0]
    by_first = torch.zeros(16).double().index_add_(0, squares, probability)
    both = torch.zeros(16).double().index_add_(0, squares, probability * second_agrees)
    marginal = torch.zeros(16).double().index_add_(0, squares, probability * first_agrees)
    exact = marginal[squares] / marginal.sum() * (probability / both[squares])
    exact = exact * (first_agrees & second_agrees)
    assert float(exact.sum()) == pytest.approx(1)
    assert (by_first > 0).all()
    n = 20_000
    filled = model.complete(x.expand(n, 1, 2, 4), known, generator=ImageGenerator(1, range(n)))
    found = (filled.flatten(1).long() * codes).sum(1).bincount(minlength=256).double() / n
    assert float((found - exact).abs().sum() / 2) < 0.04
    # where the known pixels end within the first square that is not whole, it is p(unknown | known)
    known = torch.tensor([[True, True, True, False], [True, True, False, False]])
    agrees = part(slice(0, 4), known)
    exact = probability * agrees / (probability * agrees).sum()
    filled = model.complete(x.expand(n, 1, 2, 4), known, generator=ImageGenerator(1, range(n)))
    found = (filled.flatten(1).long() * codes).sum(1).bincount(minlength=256).double() / n
    assert float((found - exact).abs().sum() / 2) < 0.03


def test_samples_have_the_models_own_frequencies() -> None:
    data = DataInfo(1, 2, 2, tuple("abc"), binarization="static")
    model = built("classes-1", data)
    n, condition = 4000, Condition(torch.full((4000,), 2))
    images = model.sample(n, generator=ImageGenerator(0, range(n)), condition=condition)
    observed = (images.flatten(1).long() << torch.arange(4)).sum(1).bincount(minlength=16)
    expected = n * model.log_prob(all_binary(1, 2, 2), condition.rows(slice(16))).exp()
    assert ((observed - expected) ** 2 / expected).sum() < 37.7  # 15 degrees, one in a thousand


@every_case
def test_training_lowers_the_loss_and_reaches_every_weight(case: str) -> None:
    info, options = CASES[case]
    torch.manual_seed(0)
    model = Transformer(TransformerConfig(width=12, depth=2, heads=3, dropout=0.1, **options), info)
    assert model.discrete_levels == (2 if info.binary else 256)
    batch = Batch(images_of(info, 8).float(), told(model, 8))
    losses = descend(model, batch, steps=25, lr=0.02, until=0.95)
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    assert losses[-1] < 0.95 * losses[0]


def test_the_biases_start_from_the_base_rates_of_tokens() -> None:
    model = Transformer(TransformerConfig(patch=2, width=4, heads=1), BINARY)
    x = torch.zeros(9, 1, 4, 6)
    x[:3, 0, 1, 1] = 1  # the last pixel of the first square
    (stage,) = model.stages()
    assert stage.start is not None
    stage.start([Batch(x[:5]), Batch(x[5:])])
    rates = model.bias.detach().exp()
    torch.testing.assert_close(rates.sum(1), torch.ones(6))
    torch.testing.assert_close(rates[0, 8], torch.tensor((3 + 1 / 16) / 10))
    torch.testing.assert_close(rates[1:, 0], torch.full((5,), (9 + 1 / 16) / 10))
    assert Transformer(TransformerConfig(width=4, heads=1), GREY).stages()[0].start is None


def test_weights_begin_as_those_of_gpt_2() -> None:
    torch.manual_seed(0)
    network = Decoder(
        (1, 7, 7), 16, 16, width=64, depth=8, heads=4, reach=1, dropout=0.0, n_classes=0
    )
    for block in network.attention_blocks():
        for layer, std in ((block.qkv, 0.02), (block.wide, 0.02), (block.out, 0.005)):
            assert float(layer.weight.detach().std()) == pytest.approx(std, rel=0.05)
            assert not layer.bias.any()


@pytest.mark.parametrize("temperature", [1.0, 0.3])
def test_a_level_without_probability_is_never_drawn(temperature: float) -> None:
    torch.manual_seed(0)
    logits = torch.randn(20_000, 256)
    logits[:, 200:] = -torch.inf
    logits[:, :3] = -torch.inf
    ends = torch.tensor([0.0, 1 - 2**-24]).repeat(10_000)
    levels = (Categorical().draw(logits, ends, temperature) * 255).round()
    assert levels.min() == 3
    assert levels.max() <= 199


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Transformer(TransformerConfig(width=10, heads=4), BINARY), "--width 10"),
        (lambda: patches_for(GREY, 2), "--patch 2"),
        (lambda: patches_for(BINARY, 3), "divide"),
        (lambda: patches_for(DataInfo(1, 8, 8, binarization="static"), 4), "16 pixels"),
        (lambda: built("classes-1").log_prob(images_of(BINARY, 1)), "labels"),
        (lambda: Transformer(TransformerConfig(likelihood="softmax"), BINARY), "8-bit"),
    ],
)
def test_what_does_not_fit_is_a_usage_error(build: Callable[[], object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        build()


def test_squares_are_of_two_by_two_where_they_fit() -> None:
    odd = DataInfo(1, 5, 4, binarization="static")
    sides = [patches_for(data, None).side for data in (BINARY, odd, COLOR_BINARY, GREY, COLOR)]
    assert sides == [2, 1, 1, 1, 1]
