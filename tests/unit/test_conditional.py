"""Models of p(x | y): a distribution for every class, by the plain networks and by the caches."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from gencli.data.conditions import Condition
from gencli.data.spec import DataInfo
from gencli.errors import UsageError
from gencli.models.autoregressive import made, nade, pixelcnn, pixelrnn
from gencli.models.autoregressive.ancestral import ancestral, uncached
from gencli.models.autoregressive.configs import (
    MADEConfig,
    NADEConfig,
    PixelCNNConfig,
    PixelRNNConfig,
)
from gencli.models.autoregressive.raster import to_raster
from gencli.models.interface import Batch, Step
from gencli.models.mixture.configs import MixtureConfig
from gencli.models.mixture.mixture import Mixture
from gencli.random import ImageGenerator

CLASSES = ("a", "b", "c")
BINARY = DataInfo(1, 5, 4, CLASSES, binarization="static")
COLOR = DataInfo(3, 4, 3, CLASSES)
NINE = DataInfo(1, 3, 3, CLASSES, binarization="static")
EVERYTHING = torch.tensor(list(itertools.product((0.0, 1.0), repeat=9))).view(-1, 1, 3, 3)

BUILDS: dict[str, Callable[[DataInfo, bool], Any]] = {
    "nade": lambda data, told: nade.NADE(NADEConfig(hidden=7, conditional=told), data),
    "nade-relu": lambda data, told: nade.NADE(
        NADEConfig(hidden=7, activation="relu", conditional=told), data
    ),
    "made": lambda data, told: made.MADE(MADEConfig(hidden=(40,), conditional=told), data),
    "made-deep": lambda data, told: made.MADE(
        MADEConfig(hidden=(50, 40), masks=3, order_agnostic=True, conditional=told), data
    ),
    "pixelcnn": lambda data, told: pixelcnn.PixelCNN(
        PixelCNNConfig(channels=12, blocks=2, kernel=3, conditional=told), data
    ),
    "gated": lambda data, told: pixelcnn.PixelCNN(
        PixelCNNConfig(channels=12, blocks=3, gated=True, conditional=told), data
    ),
    "pixelrnn": lambda data, told: pixelrnn.PixelRNN(
        PixelRNNConfig(channels=12, conditional=told), data
    ),
    "pixelrnn-row": lambda data, told: pixelrnn.PixelRNN(
        PixelRNNConfig(kind="row", channels=12, layers=2, conditional=told), data
    ),
}
every = pytest.mark.parametrize("name", list(BUILDS))


def randomised(name: str, data: DataInfo) -> Any:
    """Double precision and weights that make every connection and every class count."""
    torch.manual_seed(0)
    model = BUILDS[name](data, True).double()
    for parameter in model.parameters():
        fan = parameter[0].numel() if parameter.dim() > 1 else 1
        torch.nn.init.normal_(parameter, std=0.7 / fan**0.5)
    for table in model.classes.tables:
        torch.nn.init.normal_(table)
    return model.eval().requires_grad_(False)


def of(labels: Tensor) -> Condition:
    return Condition(labels=labels)


def halves(n: int, data: DataInfo) -> tuple[Tensor, Tensor]:
    """Binary images whose top, middle or bottom is likely ink, by class."""
    stream = torch.Generator().manual_seed(0)
    labels = torch.arange(n) % 3
    p = torch.full((3, *data.shape), 0.2)
    for label, rows in enumerate(torch.arange(data.height).chunk(3)):
        p[label, :, rows] = 0.8
    return torch.bernoulli(p[labels], generator=stream), labels


@every
def test_probabilities_of_all_images_sum_to_one_for_every_class(name: str) -> None:
    model = randomised(name, NINE)
    each = []
    for label in range(3):
        labels = torch.full((len(EVERYTHING),), label)
        each.append(model.log_prob(EVERYTHING.double(), of(labels)).exp())
        assert float(each[-1].sum()) == pytest.approx(1, rel=1e-12)
    distances = [(a - b).abs().sum() for a, b in itertools.combinations(each, 2)]
    assert min(distances) > 0.1


def drawn_plainly(model: Any, labels: Tensor, temperature: float) -> Tensor:
    """The images of `sample` of seed 3, by the whole network once per pixel."""
    generator, images = ImageGenerator(3, range(len(labels))), []
    several = isinstance(model, made.MADE)
    uniforms = generator.uniform(several + model.data.n_pixels).double()
    for row, label in zip(uniforms, labels, strict=True):
        known, order = of(label[None]), torch.arange(model.data.n_pixels)
        conditional = uncached(
            lambda pixels, known=known: model.parameters_of(pixels, condition=known)
        )
        if several:
            mask = int(row[0] * model.config.masks)
            order = model.orders[mask]

            def conditional(
                t: int, pixels: Tensor, mask: int = mask, order: Tensor = order,
                known: Condition = known,
            ) -> Tensor:  # fmt: skip
                raster = torch.zeros_like(pixels).index_copy_(0, order, pixels)
                return model.parameters_of(raster.t(), mask, known)[:, order[t]]

        image = ancestral(
            conditional, model.likelihood, row[None, several:], model.data.shape,
            temperature=temperature, order=order,
        )  # fmt: skip
        images.append(image)
    return torch.cat(images)


@pytest.mark.parametrize("data", [BINARY, COLOR], ids=["binary", "color"])
@every
def test_caches_draw_the_pixels_of_the_plain_loop(name: str, data: DataInfo) -> None:
    model, labels = randomised(name, data), torch.tensor([0, 2, 1, 1, 0, 2])
    images = model.sample(
        6, generator=ImageGenerator(3, range(6)), condition=of(labels), temperature=0.8
    )
    assert torch.equal(images, drawn_plainly(model, labels, 0.8))
    others = model.sample(
        6, generator=ImageGenerator(3, range(6)), condition=of((labels + 1) % 3), temperature=0.8
    )
    assert not torch.equal(images, others)


@every
def test_an_image_depends_on_its_own_label_alone(name: str) -> None:
    model, labels = randomised(name, BINARY), torch.tensor([0, 2, 1, 1, 0])
    together = model.sample(5, generator=ImageGenerator(8, range(5)), condition=of(labels))
    alone = model.sample(1, generator=ImageGenerator(8, [3]), condition=of(labels[3:4]))
    assert torch.equal(together[3:4], alone)


@every
def test_completions_are_of_the_class_asked_for(name: str) -> None:
    model, labels = randomised(name, BINARY), torch.tensor([0, 2, 1, 1])
    known = torch.zeros(5, 4, dtype=torch.bool)
    free = model.sample(4, generator=ImageGenerator(5, range(4)), condition=of(labels))
    again = model.complete(free, known, generator=ImageGenerator(5, range(4)), condition=of(labels))
    assert torch.equal(again, free)
    known[:2] = True
    filled = [
        model.complete(free, known, generator=ImageGenerator(5, range(4)), condition=of(own))
        for own in (labels, (labels + 1) % 3)
    ]
    assert all(torch.equal(images[:, :, :2], free[:, :, :2]) for images in filled)
    assert not torch.equal(*filled)


@every
def test_before_training_all_classes_are_the_model_without_any(name: str) -> None:
    torch.manual_seed(0)
    plain = BUILDS[name](BINARY, False)
    torch.manual_seed(0)
    told = BUILDS[name](BINARY, True)
    assert told.conditions == ("labels",)
    assert plain.conditions == ()
    x, labels = halves(6, BINARY)
    torch.testing.assert_close(told.log_prob(x, of(labels)), plain.log_prob(x))


@every
def test_the_class_tells_after_training(name: str) -> None:
    torch.manual_seed(0)
    model = BUILDS[name](BINARY, True)
    x, labels = halves(300, BINARY)
    (stage,) = model.stages()
    stage.start([Batch(x, of(labels))])
    (update,) = stage.updates
    optimizer = torch.optim.Adam(update.parameters, 0.03)
    for _ in range(40):
        optimizer.zero_grad()
        update.loss(Batch(x, of(labels)), Step()).total.backward()
        optimizer.step()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    model.eval().requires_grad_(False)
    fresh, theirs = halves(600, BINARY)
    scores = [model.log_prob(fresh, of(torch.full_like(theirs, y))) for y in range(3)]
    assert (torch.stack(scores).argmax(0) == theirs).float().mean() > 0.95
    asked = torch.arange(90) % 3
    images = model.sample(90, generator=ImageGenerator(0, range(90)), condition=of(asked))
    ink = torch.stack([rows.mean((1, 2, 3)) for rows in images.tensor_split((2, 4), dim=2)])
    assert (ink.argmax(0) == asked).float().mean() > 0.75


@pytest.mark.parametrize("data", [BINARY, COLOR], ids=["binary", "color"])
@pytest.mark.parametrize("name", ["nade", "nade-relu"])
def test_nades_forms_agree_with_classes_too(name: str, data: DataInfo) -> None:
    model = randomised(name, data).requires_grad_(True)
    stream = torch.Generator().manual_seed(1)
    x = torch.randint(2, (5, *data.shape), generator=stream).double()
    batch = Batch(x, of(torch.tensor([0, 2, 1, 1, 0])))
    pixels = to_raster(x)
    plain = model.plain_parameters_of(pixels, batch.condition)
    torch.testing.assert_close(model.parameters_of(pixels, batch.condition), plain)
    nll = -model.likelihood.log_prob(plain, pixels).sum() / len(x) * 1.5
    ours = model.loss(batch, Step()).total * 1.5
    torch.testing.assert_close(ours, nll)
    parameters = list(model.parameters())
    expected = torch.autograd.grad(nll, parameters)
    assert all(gradient.abs().sum() > 0 for gradient in expected)
    torch.testing.assert_close(torch.autograd.grad(ours, parameters), expected)


@pytest.mark.parametrize("build", [*BUILDS.values(), lambda data, told: mixture(data)])
def test_a_class_has_to_be_named(build: Callable[[DataInfo, bool], Any]) -> None:
    model = build(BINARY, True)
    with pytest.raises(UsageError, match="labels"):
        model.log_prob(torch.zeros(2, 1, 5, 4))
    with pytest.raises(UsageError, match="labels"):
        model.sample(2, generator=ImageGenerator(0, range(2)))


def mixture(data: DataInfo, components: int = 4, **options: Any) -> Mixture:
    torch.manual_seed(1)
    return Mixture(MixtureConfig(components=components, conditional=True, **options), data)


def started(model: Mixture, x: Tensor, labels: Tensor) -> Mixture:
    (stage,) = model.stages()
    assert stage.start is not None
    stage.start([Batch(x[:50], of(labels[:50])), Batch(x[50:], of(labels[50:]))])
    return model


def run_epoch(model: Mixture, x: Tensor, condition: Condition) -> None:
    with torch.no_grad():
        model.loss(Batch(x, condition), Step())
        model.maximize()


@torch.no_grad()
def test_a_mixture_of_each_class_is_a_distribution() -> None:
    x, labels = halves(200, NINE)
    model = started(mixture(NINE), x, labels)
    for _ in range(3):
        run_epoch(model, x, of(labels))
        weights = model.grouped(model.log_weight).double().exp().sum(1)
        torch.testing.assert_close(weights, torch.ones(3).double(), atol=1e-5, rtol=0)
        for label in range(3):
            told = of(torch.full((len(EVERYTHING),), label))
            total = model.log_prob(EVERYTHING, told).double().exp().sum()
            assert float(total) == pytest.approx(1, abs=1e-5)
    share = model.responsibilities(x, of(labels)).unflatten(1, (3, 4)).sum(2)
    torch.testing.assert_close(share, torch.nn.functional.one_hot(labels, 3).float())


@pytest.mark.parametrize("data", [NINE, replace(NINE, binarization="none")], ids=["binary", "grey"])
@torch.no_grad()
def test_its_em_is_that_of_a_mixture_for_each_class(data: DataInfo) -> None:
    x, labels = halves(240, NINE)
    model = started(mixture(data), x, labels)
    alone = []
    for label in range(3):
        own = Mixture(MixtureConfig(components=4), data)
        for name, tensor in own.state_dict().items():
            whole = model.state_dict()[name]
            part = whole if name.startswith("data_") else whole.chunk(3)[label]
            tensor.copy_(part)
        alone.append(own)
    for _ in range(3):
        run_epoch(model, x, of(labels))
        for label, own in enumerate(alone):
            run_epoch(own, x[labels == label], Condition())
    for label, own in enumerate(alone):
        for name, parameter in own.named_parameters():
            part = dict(model.named_parameters())[name].chunk(3)[label]
            torch.testing.assert_close(part, parameter, atol=1e-4, rtol=1e-4)
        told = of(torch.full((len(x),), label))
        torch.testing.assert_close(model.log_prob(x, told), own.log_prob(x), atol=1e-3, rtol=1e-4)


@torch.no_grad()
def test_a_dead_component_takes_weight_from_its_own_class() -> None:
    x, labels = halves(300, NINE)
    model = started(mixture(NINE), x, labels)
    model.log_weight[5] = -1000.0
    model.loss(Batch(x, of(labels)), Step())
    count = model.count.clone()
    assert (count < 1).nonzero().flatten().tolist() == [5]
    model.maximize()
    expected = ((count + 1).view(3, 4) / (count + 1).view(3, 4).sum(1, keepdim=True)).flatten()
    heaviest = 4 + int(count[4:8].argmax())
    others = [i for i in range(12) if i not in (5, heaviest)]
    torch.testing.assert_close(model.log_weight.exp()[others], expected[others])
    assert float(model.log_weight[5]) > math.log(0.05)


@torch.no_grad()
def test_mixtures_draw_the_class_asked_for() -> None:
    x, labels = halves(300, NINE)
    model = started(mixture(NINE), x, labels)
    for _ in range(5):
        run_epoch(model, x, of(labels))
    n = 3000
    asked = torch.arange(n) % 3
    images = model.sample(n, generator=ImageGenerator(0, range(n)), condition=of(asked))
    weights = model.grouped(model.log_weight).exp().unsqueeze(2)
    expected = (weights * model.mean.view(3, 4, 9)).sum(1)
    for label in range(3):
        found = images[asked == label].flatten(1).mean(0)
        assert (found - expected[label]).abs().max() < 4 * 0.5 / math.sqrt(n / 3)
    alone = model.sample(1, generator=ImageGenerator(0, [7]), condition=of(asked[7:8]))
    assert torch.equal(alone, images[7:8])


@torch.no_grad()
def test_a_class_without_images_starts_from_those_of_all() -> None:
    x, labels = halves(60, NINE)
    model = started(mixture(NINE), x[labels != 1], labels[labels != 1])
    run_epoch(model, x[labels != 1], of(labels[labels != 1]))
    assert model.log_prob(x, of(torch.ones_like(labels))).isfinite().all()
