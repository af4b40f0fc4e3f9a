"""Diffusion on discrete pixels: kernels and likelihoods against sums over every chain."""

from __future__ import annotations

import dataclasses
import itertools
import math

import pytest
import torch
from torch import Tensor

from gencli.data.conditions import Condition
from gencli.data.spec import DataInfo
from gencli.errors import UsageError
from gencli.models.diffusion import chain, masking
from gencli.models.diffusion.binomial import BinomialDiffusion
from gencli.models.diffusion.configs import BinomialDiffusionConfig, D3PMConfig
from gencli.models.diffusion.d3pm import D3PM
from gencli.models.diffusion.kernels import GaussianKernel, UniformKernel
from gencli.models.interface import Batch, Step
from gencli.random import ImageGenerator

TINY = D3PMConfig(width=8, multipliers=(1,), timesteps=3)
TWO_BY_TWO = DataInfo(1, 2, 2, ("a", "b"), "static")
EVERY = torch.tensor(list(itertools.product((0, 1), repeat=4))).view(16, 1, 2, 2)
KERNELS = ["uniform", "gaussian", "absorbing"]


def make(data: DataInfo = TWO_BY_TWO, config: D3PMConfig = TINY, **changes: object) -> D3PM:
    """A model whose every weight is random: a fresh one predicts nothing."""
    torch.manual_seed(0)
    model = D3PM(dataclasses.replace(config, **changes), data)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return model.eval()


@pytest.fixture(autouse=True)
def _no_gradients() -> object:
    with torch.no_grad():
        yield


def matrix(kernel: UniformKernel | GaussianKernel, k: Tensor) -> Tensor:
    """(K, K), a row for where each state goes."""
    return kernel.row(torch.arange(kernel.levels).view(-1, 1, 1, 1), k)[:, :, 0, 0, 0].double()


@pytest.mark.parametrize("kind", [UniformKernel, GaussianKernel])
@pytest.mark.parametrize("levels", [2, 3, 256])
def test_kernels_of_steps_multiply_to_those_of_longer_times(
    kind: type[UniformKernel | GaussianKernel], levels: int
) -> None:
    kernel, product = kind(levels, 6), torch.eye(levels, dtype=torch.float64)
    torch.testing.assert_close(
        matrix(kernel, kernel.cumulative[:1]), product, atol=1e-6, rtol=0, check_dtype=False
    )
    for t in range(1, 7):
        step = matrix(kernel, kernel.single[t : t + 1])
        torch.testing.assert_close(step, step.T)
        assert step.min() >= 0
        product = product @ step
        whole = matrix(kernel, kernel.cumulative[t : t + 1])
        torch.testing.assert_close(whole, product, atol=1e-6, rtol=0)
        torch.testing.assert_close(whole.sum(1), torch.ones_like(whole[0]))
        if t > 2:
            early, rest = (
                matrix(kernel, kernel.cumulative[2:3]),
                matrix(kernel, kernel.between(2, t)),
            )
            torch.testing.assert_close(early @ rest, whole, atol=1e-6, rtol=0)
        p = torch.rand(2, levels, 1, 3, 2).softmax(1)
        spread = torch.einsum("nkchw,kj->njchw", p.double(), whole)
        got = kernel.spread(p, kernel.cumulative[t : t + 1])
        torch.testing.assert_close(got.double(), spread, atol=1e-6, rtol=0)
    assert float((product * levels - 1).abs().max()) < 2e-3  # the end is uniform
    x = torch.arange(levels).view(1, 1, 1, levels)
    assert float(chain.prior_divergence(kernel, x)) < 1e-5 * levels


def test_the_gaussian_kernel_is_a_gaussian_away_from_the_ends() -> None:
    kernel = GaussianKernel(256, 1000)
    t = 500
    deviation = math.sqrt(2 * kernel.tau[t])
    row = matrix(kernel, kernel.cumulative[t : t + 1])[128]
    normal = torch.exp(-0.5 * ((torch.arange(256) - 128) / deviation) ** 2)
    assert 5 < deviation < 20
    torch.testing.assert_close(row, (normal / normal.sum()).double(), atol=1e-4, rtol=0)


@pytest.mark.parametrize("kind", [UniformKernel, GaussianKernel])
def test_posteriors_are_those_of_bayes(kind: type[UniformKernel | GaussianKernel]) -> None:
    K, kernel = 5, kind(5, 4)
    x_0, x_t = torch.cartesian_prod(torch.arange(K), torch.arange(K)).view(-1, 2, 1, 1, 1).unbind(1)
    log_p = torch.randn(K * K, K, 1, 1, 1).log_softmax(1)
    for s, t in ((0, 1), (1, 2), (1, 4), (2, 3)):
        first, then = kernel.cumulative[s][None], kernel.between(s, t)
        to_s, to_t = matrix(kernel, first), matrix(kernel, then)
        joint = to_s[:, :, None] * to_t  # q(x_s, x_t | x_0), by x_0, x_s, x_t
        expected = joint / joint.sum(1, keepdim=True)
        got = chain.log_posterior(kernel, x_0, x_t, first, then).exp()
        brute = expected.permute(0, 2, 1).reshape(K * K, K)
        torch.testing.assert_close(got[:, :, 0, 0, 0].double(), brute, atol=1e-5, rtol=0)
        # The reverse step: a mixture of posteriors by p(x_0 | x_t), which is Bayes' in turn.
        weights = log_p[:, :, 0, 0, 0].exp().double() * (to_s @ to_t).T[x_t.flatten()]
        weights = weights / weights.sum(1, keepdim=True)
        mixture = torch.einsum("nz,zjn->nj", weights, expected[:, :, x_t.flatten()])
        reverse = chain.log_reverse(kernel, log_p, x_t, first, then).exp()
        torch.testing.assert_close(reverse[:, :, 0, 0, 0].double(), mixture, atol=1e-5, rtol=0)


def chain_likelihood(model: D3PM, times: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """log p and the whole bound, for every image (16,), by a chain's matrices of all pixels."""
    kernel, predict = model.kernel, model.predictor()

    def of_images(p: Tensor) -> Tensor:  # (16, K, 1, 2, 2) of pixels -> (16, 16) of whole images
        each = p.double().flatten(2)[:, :, None].expand(-1, -1, 16, -1)
        picked = each.gather(1, EVERY.flatten(1).expand(len(p), 1, 16, 4))[:, 0]
        return picked.prod(-1)

    p = torch.full((16,), 1 / 16, dtype=torch.float64)
    elbo = torch.zeros(16, dtype=torch.float64)
    for t, s in itertools.pairwise(times):
        first, then = kernel.cumulative[s][None], kernel.between(s, t)
        weights = predict(EVERY, torch.full((16,), t))
        reverse = of_images(chain.log_reverse(kernel, weights, EVERY, first, then).exp())
        p = p @ reverse
        at_t = of_images(kernel.row(EVERY, kernel.cumulative[t][None]))
        if t == times[0]:
            elbo += (at_t * (math.log(1 / 16) - at_t.log())).sum(1)
        for x_t in range(16):
            here = EVERY[x_t].expand_as(EVERY)
            q = of_images(chain.log_posterior(kernel, EVERY, here, first, then).exp())
            terms = torch.xlogy(q, q) - torch.xlogy(q, reverse[x_t])
            elbo -= at_t[:, x_t] * terms.sum(1)
    return p.log(), elbo


def masked_likelihood(model: D3PM, steps: int) -> Tensor:
    """log p of every image (16,), by a walk over all 81 partly masked ones."""
    states = torch.tensor(list(itertools.product((0, 1, 2), repeat=4)))
    p_0 = model.predictor()(states.view(81, 1, 2, 2), torch.zeros(81)).exp()
    p_0 = p_0.double().flatten(2)  # (81, 2, 4)
    p = torch.zeros(81, dtype=torch.float64)
    p[80] = 1
    for left in range(steps, 0, -1):
        each = torch.zeros(81, 3, 4, dtype=torch.float64)  # where each pixel goes
        each[:, :2] = p_0 / left
        each[:, 2] = 1 - 1 / left
        stays = (states[:, None] == torch.arange(3)[:, None]).double()
        each = torch.where(states[:, None] == 2, each, stays)
        moves = each[:, None].expand(-1, 81, -1, -1).gather(2, states.expand(81, 81, 4)[:, :, None])
        p = p @ moves[:, :, 0].prod(-1)
    return p[(states < 2).all(1)].log()


@pytest.mark.parametrize("kernel", KERNELS)
def test_the_bound_is_below_the_likelihood_which_sums_to_one(kernel: str) -> None:
    model = make(kernel=kernel)
    repeated = EVERY.float().repeat_interleave(400, 0)
    torch.manual_seed(1)
    draws = model.log_prob_bound(repeated, terms=4).double().view(16, 400)
    bound, error = draws.mean(1), draws.std(1) / 20
    if kernel == "absorbing":
        log_p = masked_likelihood(model, 3)
    else:
        log_p, exact = chain_likelihood(model, (3, 2, 1, 0))
        assert (exact <= log_p + 1e-6).all()
        assert ((bound - exact).abs() < 4 * error + 1e-6).all()
    assert float(log_p.exp().sum()) == pytest.approx(1, abs=1e-5)
    assert log_p.std() > 0.1  # the model is not a trivial one
    assert (bound <= log_p + 4 * error).all()
    few = model.log_prob_bound(repeated, terms=1).double().view(16, 400)
    assert ((few.mean(1) - bound).abs() < 5 * (few.std(1) / 20 + error)).all()


@pytest.mark.parametrize(("kernel", "steps"), [(k, s) for k in KERNELS for s in (3, 2)])
def test_samples_follow_the_likelihood(kernel: str, steps: int) -> None:
    model, n = make(kernel=kernel), 4000
    images = model.sample(n, generator=ImageGenerator(0, range(n)), steps=steps)
    times = (3, 2, 1, 0) if steps == 3 else (3, 2, 0)
    if kernel == "absorbing":
        p = masked_likelihood(model, steps).exp()
    else:
        p = chain_likelihood(model, times)[0].exp()
    number = (images.flatten(1).long() * torch.tensor([8, 4, 2, 1])).sum(1)
    counts = torch.bincount(number, minlength=16)
    chi_squared = ((counts - n * p) ** 2 / (n * p)).sum()
    assert float(chi_squared) < 45  # 15 degrees of freedom: one in 10,000


def test_masked_diffusion_of_many_steps_draws_pixels_in_every_order() -> None:
    model = make(timesteps=100_000)
    torch.testing.assert_close(model.weights, torch.ones(4), atol=1e-3, rtol=0)
    p, nats = model.predictor(), torch.zeros(16)
    for order in itertools.permutations(range(4)):
        x = torch.full((16, 4), 2)
        for pixel in order:
            log_p = p(x.view(16, 1, 2, 2), torch.zeros(16)).flatten(2)[:, :, pixel]
            value = EVERY.flatten(1)[:, pixel]
            nats -= log_p.gather(1, value[:, None])[:, 0] / 24
            x[:, pixel] = value
    torch.manual_seed(2)
    draws = -model.log_prob_bound(EVERY.float().repeat_interleave(400, 0), terms=4).view(16, 400)
    assert ((draws.mean(1) - nats).abs() < 4 * draws.std(1) / 20 + 1e-3).all()


def test_counts_of_masked_pixels_have_the_weights_of_the_chain() -> None:
    D, T = 5, 7
    weights = masking.count_weights(D, T).double()
    expected = [
        sum(
            math.comb(D, n) * (t / T) ** n * (1 - t / T) ** (D - n) * n / t for t in range(1, T + 1)
        )
        for n in range(1, D + 1)
    ]
    torch.testing.assert_close(weights, torch.tensor(expected, dtype=torch.float64))
    assert float(weights.sum()) == pytest.approx(D)
    drawn = masking.draw_counts(weights, (torch.arange(10_000) + 0.5).double() / 10_000)
    shares = torch.bincount(drawn, minlength=D + 1)[1:] / 10_000
    torch.testing.assert_close(shares.double(), weights / D, atol=1e-3, rtol=0)
    x_t = masking.masked(torch.zeros(40, 1, 3, 4, dtype=torch.long), torch.arange(40) % 12, 2)
    assert (x_t == 2).flatten(1).sum(1).tolist() == [i % 12 for i in range(40)]


def test_skipped_steps_change_nothing() -> None:
    data = dataclasses.replace(TWO_BY_TWO, height=4, width=4)
    model, calls = make(data, timesteps=1000), list[int]()
    predict = model.predictor()

    def counted(x_t: Tensor, t: Tensor) -> Tensor:
        calls.append(len(x_t))
        return predict(x_t, t)

    x, steps = torch.full((6, 1, 4, 4), 2), 120
    fast = masking.unmask(counted, x, 2, steps, generator=ImageGenerator(3, range(6)))
    # The chain as it is defined: every step asks of every image.
    generator = ImageGenerator(3, range(6))
    shown_in = (generator.uniform(1, 4, 4) * steps).long()
    uniforms = generator.uniform(1, 4, 4)
    for step in range(steps):
        p = predict(x, torch.zeros(6)).exp()
        x = torch.where(shown_in == step, (p[:, 0] <= uniforms).long(), x)
    assert torch.equal(fast, x)
    assert len(calls) <= 16 * 6 < steps
    assert sum(calls) <= 16 * 6  # at most once for each pixel of an image


@pytest.mark.parametrize("kernel", KERNELS)
def test_completion_keeps_what_is_known_and_starts_from_samples(kernel: str) -> None:
    model = make(kernel=kernel)
    x = EVERY[:6].float()
    each = torch.rand(6, 1, 2, 2) < 0.5
    filled = model.complete(x, each, generator=ImageGenerator(5, range(6)))
    assert torch.equal(filled[each], x[each])
    assert not torch.equal(filled, x)
    alone = model.complete(x[2:3], each[2:3], generator=ImageGenerator(5, [2]))
    assert torch.equal(alone, filled[2:3])
    nothing = torch.zeros(2, 2, dtype=torch.bool)
    free = model.sample(6, generator=ImageGenerator(5, range(6)))
    assert torch.equal(model.complete(x, nothing, generator=ImageGenerator(5, range(6))), free)


def test_masked_completion_is_conditional_sampling() -> None:
    """With two pixels unknown they are drawn in either order, or at once in one step of three."""
    model, n = make(), 4000
    x = torch.tensor([[1.0, 0.0], [0.0, 1.0]]).expand(n, 1, 2, 2)
    known = torch.tensor([[True, False], [False, True]])
    filled = model.complete(x, known, generator=ImageGenerator(1, range(n)))
    p = torch.zeros(2, 2)
    for value in itertools.product((0, 1), repeat=2):
        for i, j in ((0, 1), (1, 0)):
            seen = torch.tensor([1, 2, 2, 1])
            before = model.predictor()(seen.view(1, 1, 2, 2), torch.zeros(1)).exp().flatten(2)
            seen[1 + i] = value[i]
            after = model.predictor()(seen.view(1, 1, 2, 2), torch.zeros(1)).exp().flatten(2)
            then = 2 / 3 * after[0, value[j], 1 + j] + 1 / 3 * before[0, value[j], 1 + j]
            p[value] += before[0, value[i], 1 + i] * then / 2
    got = torch.zeros(2, 2)
    for a, b in filled.flatten(1)[:, 1:3].long().tolist():
        got[a, b] += 1 / n
    assert float((got - p).abs().max()) < 0.03


@pytest.mark.parametrize(
    ("kernel", "binarization"), [*((kernel, "static") for kernel in KERNELS), ("gaussian", "none")]
)
def test_training_learns_two_images(kernel: str, binarization: str) -> None:
    torch.manual_seed(0)
    data = DataInfo(1, 4, 4, (), binarization)
    model = D3PM(D3PMConfig(width=8, multipliers=(1,), timesteps=10, kernel=kernel), data)
    images = torch.stack([torch.zeros(1, 4, 4), torch.ones(1, 4, 4)]).repeat(8, 1, 1, 1)
    if binarization == "none":
        images = 0.2 + 0.4 * images
    optimizer = torch.optim.Adam(model.parameters(), 3e-2)
    start = float(model.log_prob_bound(images, terms=5).mean())
    with torch.enable_grad():
        for _ in range(15):
            optimizer.zero_grad()
            model.loss(Batch(images), Step()).total.backward()
            optimizer.step()
    after = float(model.eval().log_prob_bound(images, terms=5).mean())
    assert start / 2 < after < 0


@pytest.mark.parametrize("kernel", KERNELS)
def test_the_loss_is_the_bound_and_the_auxiliary_one_comes_on_top(kernel: str) -> None:
    torch.manual_seed(0)
    plain, more = make(kernel=kernel), make(kernel=kernel, auxiliary=0.1)
    images = EVERY[5:6].float().expand(8000, 1, 2, 2)
    torch.manual_seed(1)
    loss = plain.loss(Batch(images), Step())
    bound = -plain.log_prob_bound(images, terms=4).mean()
    assert float(loss.metrics["nats"]) == pytest.approx(float(bound), rel=0.03)
    assert float(loss.total) == pytest.approx(float(loss.metrics["nats"]) / 4)
    assert plain.validation_loss(images[:3]).shape == (3,)
    torch.manual_seed(1)
    both = more.loss(Batch(images), Step())
    assert float(both.metrics["nats"]) == float(loss.metrics["nats"])
    assert float(both.total) > float(loss.total)


def test_classes_are_told_to_the_network() -> None:
    model = make(conditional=True)
    x = EVERY.float()
    torch.manual_seed(0)
    first = model.log_prob_bound(x, Condition(torch.zeros(16, dtype=torch.long)), terms=4)
    torch.manual_seed(0)
    second = model.log_prob_bound(x, Condition(torch.ones(16, dtype=torch.long)), terms=4)
    assert not torch.allclose(first, second, atol=1e-3)
    loss = model.loss(Batch(x, Condition(torch.arange(16) % 2)), Step())
    assert loss.total.isfinite()


def test_colours_and_patches() -> None:
    model = make(DataInfo(3, 8, 4), multipliers=(1, 2), patch=2)
    images = model.sample(2, generator=ImageGenerator(0, range(2)))
    assert images.shape == (2, 3, 8, 4)
    levels = images * 255
    torch.testing.assert_close(levels, levels.round())
    bound = model.log_prob_bound(images)
    assert bound.shape == (2,)
    assert (bound < 0).all()


def test_steps_are_reported_with_masked_pixels_grey() -> None:
    seen: list[tuple[int, int, Tensor]] = []
    out = make().sample(
        2, generator=ImageGenerator(0, range(2)), on_step=lambda *now: seen.append(now)
    )
    assert [now[:2] for now in seen] == [(1, 3), (2, 3), (3, 3)]
    assert all(set(x.unique().tolist()) <= {0.0, 0.5, 1.0} for *_, x in seen)
    assert torch.equal(seen[-1][2], out)


def test_cold_samples_are_the_likeliest() -> None:
    model = make(timesteps=1000)
    cold = model.sample(50, generator=ImageGenerator(0, range(50)), temperature=1e-3)
    warm = model.sample(50, generator=ImageGenerator(0, range(50)))
    assert float(model.log_prob_bound(cold).mean()) > float(model.log_prob_bound(warm).mean())


def test_binomial_diffusion_is_the_uniform_kernel_on_two_levels() -> None:
    options = {"width": 8, "multipliers": (1,), "timesteps": 3}
    torch.manual_seed(0)
    binomial = BinomialDiffusion(BinomialDiffusionConfig(**options), TWO_BY_TWO).eval()
    torch.manual_seed(0)
    uniform = D3PM(D3PMConfig(kernel="uniform", **options), TWO_BY_TWO).eval()
    drawn = [
        model.sample(8, generator=ImageGenerator(0, range(8))) for model in (binomial, uniform)
    ]
    assert torch.equal(*drawn)
    with pytest.raises(UsageError, match="binary"):
        BinomialDiffusion(BinomialDiffusionConfig(**options), DataInfo(1, 2, 2))


@pytest.mark.parametrize("steps", [0, 4])
def test_steps_that_do_not_fit_are_refused(steps: int) -> None:
    with pytest.raises(UsageError, match="steps"):
        make().sample(1, generator=ImageGenerator(0, [0]), steps=steps)


def test_sizes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(UsageError, match="fractions of a pixel"):
        make(DataInfo(1, 6, 6), multipliers=(1, 2, 2))
