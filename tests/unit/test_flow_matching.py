"""Flow matching against Gaussian pixels, whose velocity and flow have closed forms.

Pixels are independent, N(MEAN, STD^2), in [-1, 1] as the model sees them. The mean velocity at x is
then linear in x, and the flow keeps every quantile.
"""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from torch import Tensor, nn

from gencli.data.conditions import Condition
from gencli.data.spec import DataInfo
from gencli.errors import UsageError
from gencli.models.diffusion.configs import FlowMatchingConfig
from gencli.models.diffusion.flow_matching import FlowMatching
from gencli.models.diffusion.ode import SOLVERS, integrate
from gencli.models.interface import Batch, Step
from gencli.random import ImageGenerator
from tests.unit.descent import descend

DATA = DataInfo(1, 8, 8, ("a", "b", "c"))
SMALL = FlowMatchingConfig(width=8, multipliers=(1, 2))
SAMPLERS = (*SOLVERS, "dpm++", "sde-dpm++")
MEAN, STD = 0.2, 0.3


def make(data: DataInfo = DATA, **changes: object) -> FlowMatching:
    """A model whose every weight is random: a fresh one predicts zero whatever it is shown."""
    torch.manual_seed(0)
    model = FlowMatching(dataclasses.replace(SMALL, **changes), data)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model.eval()


@pytest.fixture(autouse=True)
def _no_gradients() -> object:
    with torch.no_grad():
        yield


def exact_velocity(x: Tensor, t: float | Tensor, std: float = STD, mean: float = MEAN) -> Tensor:
    """E[eps - x_0 | x_t = x]."""
    variance = (1 - t) ** 2 * std**2 + t**2
    return (t - (1 - t) * std**2) / variance * (x - (1 - t) * mean) - mean


def exact(model: FlowMatching, monkeypatch: pytest.MonkeyPatch) -> FlowMatching:
    """The model with the velocity of Gaussian pixels for its own."""

    def velocity(x: Tensor, t: Tensor, *_: object) -> Tensor:
        return exact_velocity(x, t.to(x)[:, None, None, None])

    monkeypatch.setattr(model, "velocity", velocity)
    return model


def test_the_velocity_of_gaussian_pixels_is_what_the_loss_is_least_for() -> None:
    torch.manual_seed(0)
    t = torch.rand(200_000, dtype=torch.float64)
    x_0, eps = MEAN + STD * torch.randn_like(t), torch.randn_like(t)
    x_t = (1 - t) * x_0 + t * eps
    rest = eps - x_0 - exact_velocity(x_t, t)
    for feature in (torch.ones_like(t), x_t, t, x_t * t, x_t**2, torch.sin(5 * t)):
        moment = rest * feature
        assert abs(float(moment.mean())) < 4 * float(moment.std()) / math.sqrt(len(t))


ORDERS = pytest.mark.parametrize(("solver", "order"), [("euler", 1), ("midpoint", 2), ("heun", 2)])


def steps_of(n: int, backwards: bool = False) -> list[float]:
    times = [i / n for i in range(n + 1)]
    return times[::-1] if backwards else times


@ORDERS
@pytest.mark.parametrize("backwards", [False, True])
def test_solvers_are_of_their_order(solver: str, order: int, backwards: bool) -> None:
    """dx/dt = -2 t x^2 has the solution 1 / (1 + t^2)."""
    ends = torch.tensor([[1.0], [0.5]], dtype=torch.float64)
    start, end = ends.flip(0) if backwards else ends

    def error(n: int) -> float:
        times = steps_of(n, backwards)
        return float(abs(integrate(lambda x, t: -2 * t * x**2, start, times, solver=solver) - end))

    assert math.log(error(64) / error(256), 4) == pytest.approx(order, abs=0.05)


@ORDERS
@pytest.mark.parametrize("to_images", [True, False])
def test_solvers_converge_to_the_flow(solver: str, order: int, to_images: bool) -> None:
    noise = torch.linspace(-2, 2, 9, dtype=torch.float64)
    image = MEAN + STD * noise
    start, end = (noise, image) if to_images else (image, noise)

    def error(n: int) -> float:
        got = integrate(exact_velocity, start, steps_of(n, to_images), solver=solver)
        return float((got - end).abs().max())

    # On straight paths of Gaussians the midpoint method is of third order.
    assert math.log(error(64) / error(256), 4) > order - 0.1
    assert error(256) < (0.02 if order == 1 else 2e-4)


@pytest.mark.parametrize(
    ("sampler", "order"), [("euler", 1), ("midpoint", 2), ("heun", 2), ("dpm++", 2)]
)
def test_samplers_follow_the_flow(
    sampler: str, order: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, narrow = exact(make(), monkeypatch), 0.5  # of the noise: no pixel is clipped
    z = narrow * torch.randn(4, 1, 8, 8, dtype=torch.float64)
    expected = ((1.01 * (MEAN + STD * z) + 1) / 2).clamp(0, 1)

    def error(steps: int) -> float:
        return float((model.decode(z, sampler=sampler, steps=steps) - expected).abs().max())

    coarse, fine = error(50), error(200)
    # Even times leave dpm++ a last step of first order, of a length that shrinks with the others.
    assert math.log(coarse / fine, 4) > (order - 0.15 if sampler in SOLVERS else 0.9)
    assert fine < 0.005


def test_fresh_noise_keeps_the_law(monkeypatch: pytest.MonkeyPatch) -> None:
    model = exact(make(), monkeypatch)
    images = model.sample(200, generator=ImageGenerator(0, range(200)), steps=100)
    pixels = (2 * images - 1) / 1.01
    assert float(pixels.mean()) == pytest.approx(MEAN, abs=0.01)
    assert float(pixels.std()) == pytest.approx(STD, abs=0.01)
    plain = model.sample(200, generator=ImageGenerator(0, range(200)), sampler="dpm++", steps=100)
    assert float((images - plain).abs().mean()) > 0.05


@pytest.mark.parametrize("prediction", ["velocity", "edm"])
@pytest.mark.parametrize("times", ["uniform", "logit-normal"])
def test_the_right_answer_has_no_loss(
    prediction: str, times: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = make(prediction=prediction, times=times, perturbation=0.0)
    images = torch.rand(64, 1, 8, 8)
    x_0 = 2 * images - 1
    monkeypatch.setattr(
        model, "velocity", lambda x, t, _: (x - x_0) / t[:, None, None, None].clamp(min=1e-6)
    )
    assert float(model.loss(Batch(images), Step()).total) < 1e-3


def test_edm_leaves_nothing_to_tell_of_gaussian_pixels() -> None:
    model = FlowMatching(dataclasses.replace(SMALL, prediction="edm"), DATA)  # tells zero
    x, t = torch.randn(50, 1, 8, 8), torch.rand(50)
    expected = exact_velocity(x, t[:, None, None, None], std=0.5, mean=0.0)
    torch.testing.assert_close(model.velocity(x, t), expected)
    images = (0.5 * torch.randn(1500, 1, 8, 8) + 1) / 2
    model = FlowMatching(dataclasses.replace(SMALL, prediction="edm", perturbation=0.0), DATA)
    # What is left is noise of unit variance at every time.
    assert float(model.loss(Batch(images), Step()).total) == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize("prediction", ["velocity", "edm"])
def test_the_network_sees_and_tells_by_the_preconditioning(
    prediction: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, seen = make(prediction=prediction), list[Tensor]()

    def keep(x: Tensor, t: Tensor, told: Tensor | None) -> Tensor:
        seen.append(x)
        return torch.ones_like(x)

    monkeypatch.setattr(model, "predict", keep)
    x_0, eps = 0.5 * torch.randn(2, 2000, 1, 8, 8)
    t = torch.rand(2000)
    share = t[:, None, None, None]
    told = model.velocity((1 - share) * x_0 + 2 * share * eps, t)
    assert told.shape == x_0.shape
    if prediction == "edm":
        assert float(seen[0].std()) == pytest.approx(1, abs=0.01)
    else:
        assert torch.equal(told, torch.ones_like(told))


@pytest.mark.parametrize("times", ["uniform", "logit-normal"])
def test_times_are_drawn_as_asked(times: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, seen = make(times=times), list[Tensor]()

    def keep(x: Tensor, t: Tensor, told: Tensor | None) -> Tensor:
        seen.append(t / 1000)
        return x

    monkeypatch.setattr(model, "predict", keep)
    for _ in range(300):
        model.loss(Batch(torch.rand(16, 1, 8, 8)), Step())
    drawn = torch.cat(seen).double()
    for t in (0.1, 0.4, 0.5, 0.9):
        share = t
        if times == "logit-normal":
            share = 0.5 * (1 + math.erf(math.log(t / (1 - t)) / math.sqrt(2)))
        assert float((drawn <= t).double().mean()) == pytest.approx(share, abs=0.01)


def test_training_learns_a_constant_image() -> None:
    torch.manual_seed(0)
    model = FlowMatching(SMALL, DATA)
    batch = Batch(torch.full((8, 1, 8, 8), 0.75))
    with torch.enable_grad():
        descend(model, batch, steps=50, lr=1e-2)
    images = model.eval().sample(4, generator=ImageGenerator(0, range(4)), steps=10)
    assert float((images - 0.75).abs().mean()) < 0.05


def test_guidance_goes_from_unconditional_through_conditional() -> None:
    model = make(conditional=True)
    told = model.embed(Condition(torch.tensor([0, 1, 2, 1])))
    x, t = torch.randn(4, 1, 8, 8), torch.rand(4)
    zero, one, three = (model.velocity(x, t, told, guidance) for guidance in (0.0, 1.0, 3.0))
    assert torch.equal(zero, model.velocity(x, t))
    assert float((one - zero).abs().max()) > 1e-3
    torch.testing.assert_close(three, zero + 3 * (one - zero), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_an_image_depends_on_its_seed_and_index_alone(sampler: str) -> None:
    model = make()
    many = model.sample(4, generator=ImageGenerator(5, range(4)), sampler=sampler, steps=6)
    again = model.sample(4, generator=ImageGenerator(5, range(4)), sampler=sampler, steps=6)
    one = model.sample(1, generator=ImageGenerator(5, [2]), sampler=sampler, steps=6)
    assert torch.equal(many, again)
    torch.testing.assert_close(many[2:3], one, atol=1e-4, rtol=0)
    assert 0 <= float(many.min()) < float(many.max()) <= 1


@pytest.mark.parametrize("prediction", ["velocity", "edm"])
def test_encoding_is_the_way_back(prediction: str) -> None:
    model = make(prediction=prediction)
    x = 0.1 + 0.8 * torch.rand(4, 1, 8, 8)  # no pixel is clipped
    z = model.encode(x)
    assert z.shape == x.shape
    assert float((model.decode(z) - ((1.01 * (2 * x - 1) + 1) / 2)).abs().max()) < 0.01
    assert float((z - (2 * x - 1)).abs().max()) > 0.3


def test_decoding_noise_is_sampling() -> None:
    model = make()
    z, again = (ImageGenerator(1, range(3)) for _ in range(2))
    drawn = model.sample(3, generator=again, sampler="midpoint")
    assert torch.equal(model.decode(model.sample_latent(3, generator=z)), drawn)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_steps_are_reported_as_images(sampler: str) -> None:
    seen: list[tuple[int, int, Tensor]] = []
    out = make().sample(
        2, generator=ImageGenerator(0, range(2)), sampler=sampler, steps=4,
        on_step=lambda *now: seen.append(now),
    )  # fmt: skip
    assert [now[:2] for now in seen] == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert torch.equal(seen[-1][2], out)


@pytest.mark.parametrize("options", [{"sampler": "ddpm"}, {"steps": 0}])
def test_sampling_options_that_do_not_fit_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        make().sample(1, generator=ImageGenerator(0, [0]), **options)


def test_the_network_is_that_of_ddpm() -> None:
    from gencli.models.diffusion.configs import DDPMConfig
    from gencli.models.diffusion.ddpm import DDPM

    ddpm = DDPM(DDPMConfig(width=8, multipliers=(1, 2)), DATA)
    assert {name: p.shape for name, p in ddpm.named_parameters()} == {
        name: p.shape for name, p in make().named_parameters()
    }
    assert any(isinstance(module, nn.GroupNorm) for module in ddpm.modules())
