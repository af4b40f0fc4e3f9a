"""The diffusion model: its two predictions, guidance, seeds, and what it refuses."""

from __future__ import annotations

import copy
import dataclasses

import pytest
import torch
from torch import Tensor, nn

from gencli.data.conditions import Condition
from gencli.data.spec import DataInfo
from gencli.errors import UsageError
from gencli.models.diffusion.configs import DDPMConfig
from gencli.models.diffusion.ddpm import DDPM
from gencli.models.diffusion.samplers import SAMPLERS
from gencli.models.diffusion.unet import Attention, UNet
from gencli.models.interface import Batch, Step
from gencli.random import ImageGenerator
from tests.unit.descent import descend

DATA = DataInfo(1, 8, 8, ("a", "b", "c"))
SMALL = DDPMConfig(width=8, multipliers=(1, 2), patch=1, timesteps=50)


def make(data: DataInfo = DATA, **changes: object) -> DDPM:
    """A model whose every weight is random: a fresh one predicts zero whatever it is shown."""
    torch.manual_seed(0)
    model = DDPM(dataclasses.replace(SMALL, **changes), data)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model.eval()


@pytest.fixture(autouse=True)
def _no_gradients() -> object:
    with torch.no_grad():
        yield


@pytest.mark.parametrize("prediction", ["epsilon", "v"])
def test_the_right_answer_has_no_loss_and_denoises_exactly(
    prediction: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = make(prediction=prediction, perturbation=0.0)
    images = torch.rand(16, 1, 8, 8)
    x_0 = 2 * images - 1

    def oracle(x_t: Tensor, t: Tensor, told: Tensor | None) -> Tensor:
        alpha, sigma = (
            values[times_of(t)].float()[:, None, None, None] for values in noise_levels(model)
        )
        eps = (x_t - alpha * x_0) / sigma
        return eps if prediction == "epsilon" else (alpha * x_t - x_0) / sigma

    monkeypatch.setattr(model, "predict", oracle)
    assert float(model.loss(Batch(images), Step()).total) < 1e-6
    for t in (1, 20, 40):
        times = torch.full((16,), t)
        alpha, sigma = model.schedule.levels[t]
        x_t = alpha * x_0 + sigma * torch.randn_like(x_0)
        torch.testing.assert_close(model.denoiser()(x_t, times), x_0, atol=1e-4, rtol=0)


def test_images_are_noised_more_than_the_network_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    model = make(prediction="epsilon", perturbation=0.3)
    images = torch.rand(500, 1, 8, 8)

    def sees_all_noise(x_t: Tensor, t: Tensor, told: Tensor | None) -> Tensor:
        alpha, sigma = (
            values[times_of(t)].float()[:, None, None, None] for values in noise_levels(model)
        )
        return (x_t - alpha * (2 * images - 1)) / sigma

    monkeypatch.setattr(model, "predict", sees_all_noise)
    assert float(model.loss(Batch(images), Step()).total) == pytest.approx(0.09, rel=0.05)
    assert float(model.validation_loss(images).mean()) < 1e-6


def test_times_are_trained_as_often_as_sampling_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    model = make()
    seen: list[Tensor] = []

    def keep(x_t: Tensor, t: Tensor, told: Tensor | None) -> Tensor:
        seen.append(times_of(t))
        return x_t

    monkeypatch.setattr(model, "predict", keep)
    for _ in range(500):
        model.loss(Batch(torch.rand(16, 1, 8, 8)), Step())
    times = torch.cat(seen)
    assert (int(times.min()), int(times.max())) == (1, 50)
    # u (3 - u) / 2 < x has probability (3 - sqrt(9 - 8 x)) / 2.
    for t in (5, 25, 40):
        expected = (3 - (9 - 8 * t / 50) ** 0.5) / 2
        assert float((times <= t).float().mean()) == pytest.approx(expected, abs=0.01)


def times_of(t: Tensor) -> Tensor:
    """Of the 50 noise levels, from the scale to 1000 that the network is told."""
    return (t / 20).round().long()


def noise_levels(model: DDPM) -> tuple[Tensor, Tensor]:
    return model.schedule.alpha, model.schedule.sigma


@pytest.mark.parametrize("prediction", ["epsilon", "v"])
def test_loss_of_an_untrained_network_is_the_power_of_its_target(prediction: str) -> None:
    model = DDPM(dataclasses.replace(SMALL, prediction=prediction), DATA)
    images = torch.randint(0, 2, (5000, 1, 8, 8)).float()  # x_0^2 = 1: v has power 1 as eps has
    assert float(model.loss(Batch(images), Step()).total) == pytest.approx(1, abs=0.02)
    assert model.validation_loss(images[:7]).shape == (7,)


def test_training_learns_a_constant_image() -> None:
    torch.manual_seed(0)
    model = DDPM(SMALL, DATA)
    batch = Batch(torch.full((32, 1, 8, 8), 0.75))
    with torch.enable_grad():
        descend(model, batch, steps=60, lr=1e-2)
    images = model.eval().sample(4, generator=ImageGenerator(0, range(4)), steps=10)
    assert float((images - 0.75).abs().mean()) < 0.05


def test_guidance_goes_from_unconditional_through_conditional() -> None:
    model = make(conditional=True)
    labels = torch.tensor([0, 1, 2, 1])
    x_t, t = 0.1 * torch.randn(4, 1, 8, 8), torch.tensor([3, 10, 25, 40])
    zero, one, three = (
        model.denoiser(model.embed(Condition(labels)), guidance)(x_t, t)
        for guidance in (0.0, 1.0, 3.0)
    )
    assert torch.equal(zero, model.denoiser()(x_t, t))
    assert float((one - zero).abs().max()) > 1e-3
    inside = three.abs() < 1  # elsewhere the estimate was clipped to the range of images
    assert inside.any()
    torch.testing.assert_close(three[inside], (zero + 3 * (one - zero))[inside])

    def draw(labels: Tensor | None, guidance: float) -> Tensor:
        generator = ImageGenerator(0, range(4))
        told = Condition(labels)
        return model.sample(4, generator=generator, condition=told, guidance=guidance, steps=5)

    assert torch.equal(draw(labels, 0.0), draw(None, 1.0))
    assert not torch.equal(draw(labels, 1.0), draw(None, 1.0))


def test_withheld_labels_train_the_class_of_none_alone() -> None:
    model = make(conditional=True, label_dropout=1.0)
    with torch.enable_grad():
        batch = Batch(torch.rand(8, 1, 8, 8), Condition(torch.arange(8) % 3))
        model.loss(batch, Step()).total.backward()
    assert model.unet.embed_class is not None
    gradient = model.unet.embed_class.weight.grad
    assert gradient is not None
    assert not gradient[:3].any()
    assert gradient[3].any()


@pytest.mark.parametrize("sampler", list(SAMPLERS))
def test_an_image_depends_on_its_seed_and_index_alone(sampler: str) -> None:
    model = make()
    many = model.sample(4, generator=ImageGenerator(5, range(4)), sampler=sampler, steps=10)
    one = model.sample(1, generator=ImageGenerator(5, [2]), sampler=sampler, steps=10)
    torch.testing.assert_close(many[2:3], one, atol=1e-4, rtol=0)
    assert many.shape == (4, 1, 8, 8)
    assert 0 <= float(many.min()) < float(many.max()) <= 1
    assert not torch.equal(many[0], many[1])


def test_decoding_noise_is_sampling() -> None:
    model = make()
    z, again = (ImageGenerator(1, range(3)) for _ in range(2))
    drawn = model.sample(3, generator=again, sampler="dpm++")
    assert torch.equal(model.decode(model.sample_latent(3, generator=z)), drawn)


def test_images_reach_black_and_white_and_no_pixel_moves_more_than_a_level(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = make(DataInfo(1, 16, 16))
    levels = torch.arange(256.0).reshape(1, 1, 16, 16)

    def drawn(estimate: Tensor) -> Tensor:
        monkeypatch.setattr(model, "denoiser", lambda *_: lambda x_t, t: 2 * estimate / 255 - 1)
        images = model.sample(1, generator=ImageGenerator(0, range(1)), steps=2)
        return images.mul(255).round()

    assert (drawn(levels) - levels).abs().max() == 1
    near_the_ends = levels.clamp(1.2, 253.8)
    assert drawn(near_the_ends).flatten()[[0, -1]].tolist() == [0, 255]


def test_steps_are_reported_as_images() -> None:
    seen: list[tuple[int, int, Tensor]] = []
    out = make().sample(
        2, generator=ImageGenerator(0, range(2)), steps=4, on_step=lambda *now: seen.append(now)
    )
    assert [now[:2] for now in seen] == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert all(0 <= float(x.min()) <= float(x.max()) <= 1 for _, _, x in seen)
    assert torch.equal(seen[-1][2], out)


@pytest.mark.parametrize("binarization", ["none", "static"])
def test_bound_is_worse_than_the_truth(binarization: str) -> None:
    """No model of images uniform over their values beats -log(levels) per pixel."""
    model = make(dataclasses.replace(DATA, binarization=binarization))
    top = model.discrete_levels - 1
    assert top == (255 if binarization == "none" else 1)
    x = torch.randint(0, top + 1, (32, 1, 8, 8)) / top
    bound = model.log_prob_bound(x, terms=49)
    assert bound.shape == (32,)
    assert float(bound.mean()) < -64 * torch.tensor(float(top + 1)).log()


@pytest.mark.parametrize(
    ("shape", "changes"),
    [
        ((1, 28, 28), {"multipliers": (1, 2, 2)}),
        ((3, 32, 32), {"multipliers": (1, 2, 2), "blocks": 2}),
        ((3, 64, 64), {"multipliers": (1, 1, 2, 2), "patch": 2}),
    ],
)
def test_sizes_and_channels(shape: tuple[int, int, int], changes: dict[str, object]) -> None:
    model = make(DataInfo(*shape), **changes)
    assert model.sample(2, generator=ImageGenerator(0, range(2)), steps=2).shape == (2, *shape)
    assert model.loss(Batch(torch.rand(2, *shape)), Step()).total.isfinite()


def test_network_reads_time_and_class_and_starts_at_zero() -> None:
    net = make(conditional=True).unet
    x, t = torch.randn(3, 1, 8, 8), torch.tensor([1.0, 1.0, 900.0])
    x[1:] = x[0]
    first, other_class, other_time = net(x, t, net.embed(Condition(torch.tensor([0, 1, 0]))))
    assert not torch.allclose(first, other_class, atol=1e-4)
    assert not torch.allclose(first, other_time, atol=1e-4)
    fresh = UNet(1, width=8, multipliers=(1, 2), n_blocks=1)
    assert not fresh(x, t).any()


def test_the_network_is_the_same_function_in_double_single_and_mixed_precision() -> None:
    net = make().unet
    x, t = torch.randn(3, 1, 8, 8), torch.tensor([1, 25, 50])
    exact = copy.deepcopy(net).double()(x.double(), t)
    torch.testing.assert_close(net(x, t).double(), exact, atol=1e-5, rtol=1e-4)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = net(x, t)
    torch.testing.assert_close(mixed.double(), exact, atol=0.03, rtol=0.03)


def test_attention_is_the_softmax_of_scaled_products() -> None:
    layer = Attention(64).double()
    nn.init.normal_(layer.out.weight)
    x = torch.randn(2, 64, 3, 5, dtype=torch.float64)
    tokens = layer.norm(x).flatten(2).mT
    q, k, v = (part.unflatten(2, (2, 32)) for part in layer.qkv(tokens).chunk(3, 2))
    weights = (torch.einsum("bihd,bjhd->bhij", q, k) / 32**0.5).softmax(3)
    read = torch.einsum("bhij,bjhd->bihd", weights, v).flatten(2)
    torch.testing.assert_close(layer(x), x + layer.out(read).mT.reshape(x.shape))


def test_sizes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(UsageError, match="fractions of a pixel"):
        DDPM(dataclasses.replace(SMALL, multipliers=(1, 2, 2)), DataInfo(1, 30, 30))


def test_fewer_noise_levels_than_the_usual_steps_are_sampled_in_as_many() -> None:
    model, seen = make(timesteps=10), list[int]()
    model.sample(
        1, generator=ImageGenerator(0, [0]), on_step=lambda step, steps, _: seen.append(steps)
    )
    assert set(seen) == {10}


@pytest.mark.parametrize(
    "options",
    [{"sampler": "euler"}, {"steps": 0}, {"steps": 51}],
)
def test_sampling_options_that_do_not_fit_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        make().sample(1, generator=ImageGenerator(0, [0]), **options)
