"""`ppca` and `factor-analysis` against scikit-learn, brute force and their own closed forms."""

from __future__ import annotations

import math
from itertools import islice, pairwise

import pytest
import torch
from sklearn.decomposition import PCA
from sklearn.decomposition import FactorAnalysis as SklearnFactorAnalysis
from torch import Tensor
from torch.distributions import MultivariateNormal

from gencli.data.spec import DataInfo
from gencli.data.splits import ImageData, Split
from gencli.errors import UsageError
from gencli.evaluation.evaluate import evaluate
from gencli.models.interface import Batch, Step
from gencli.models.latent.configs import FactorAnalysisConfig, PPCAConfig
from gencli.models.latent.factor_analysis import FactorAnalysis, em
from gencli.models.latent.linear_gaussian import LinearGaussian, ordered
from gencli.models.latent.ppca import PPCA, principal_components
from gencli.models.latent.spread import DEVIATION
from gencli.random import ImageGenerator

INFO = DataInfo(1, 3, 3)
KINDS = pytest.mark.parametrize("kind", ["ppca", "factor-analysis"])


def images(n: int = 400, info: DataInfo = INFO) -> Tensor:
    """Three latents, pixels of different noise, on the grid of the data's levels."""
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(n, 3, generator=generator)
    noise = 0.1 * torch.rand(9, generator=generator) * torch.randn(n, 9, generator=generator)
    x = 0.5 + 0.15 * z @ torch.randn(3, 9, generator=generator) + noise
    steps = 1 if info.binary else 255
    return ((x.clamp(0, 1) * steps).round() / steps).view(n, 1, 3, 3)


def untrained(kind: str, info: DataInfo = INFO, latent_dim: int = 3) -> LinearGaussian:
    torch.manual_seed(0)
    if kind == "ppca":
        return PPCA(PPCAConfig(latent_dim=latent_dim), info)
    config = FactorAnalysisConfig(latent_dim=latent_dim, iterations=5000, tolerance=1e-9)
    return FactorAnalysis(config, info)


def trained(kind: str, x: Tensor, info: DataInfo = INFO, epochs: int = 1) -> LinearGaussian:
    model = untrained(kind, info)
    (stage,) = model.stages()
    (update,) = stage.updates
    assert stage.start is not None
    assert update.epoch_end is not None
    batches = [Batch(part) for part in x.split(64)]
    stage.start(iter(batches))
    with torch.no_grad():
        for _ in range(epochs):
            for batch in batches:
                update.loss(batch, Step())
            update.epoch_end()
    return model.eval().requires_grad_(False)


def covariance_of(model: LinearGaussian) -> Tensor:
    noise = model.noise.detach().double().expand(model.data.n_pixels)
    weight = model.weight.detach().double()
    return weight @ weight.T + torch.diag(noise)


@KINDS
def test_density_is_that_of_the_full_covariance(kind: str) -> None:
    model, x = untrained(kind).requires_grad_(False), images(50)
    normal = MultivariateNormal(model.mean.double(), covariance_of(model))
    torch.testing.assert_close(
        model.log_prob(x).double(), normal.log_prob(x.flatten(1).double()), atol=1e-4, rtol=1e-6
    )


@KINDS
def test_encoder_is_the_posterior_mean(kind: str) -> None:
    model, x = untrained(kind).requires_grad_(False), images(50)
    weight, away = model.weight.double(), x.flatten(1).double() - model.mean
    expected = away @ torch.linalg.solve(covariance_of(model), weight)
    torch.testing.assert_close(model.encode(x).double(), expected, atol=1e-5, rtol=1e-5)


@KINDS
def test_bound_is_the_mean_over_what_rounds_to_an_image(kind: str) -> None:
    """Binary pixels: importance weights p(y) / q(y|x) of drawn y, their mean logarithm."""
    info = DataInfo(1, 3, 3, binarization="static")
    model, x = untrained(kind, info).requires_grad_(False), images(4, info)
    normal = MultivariateNormal(model.mean.double(), covariance_of(model))
    # Normal numbers below 1/2, by inversion, taken to the side of each pixel, and their density.
    normal_u = torch.distributions.Normal(0.0, DEVIATION)
    top = normal_u.cdf(torch.tensor(0.5).double())
    u = normal_u.icdf(top * torch.rand(200_000, 1, 9, dtype=torch.float64))
    flat = x.flatten(1).double()
    stretch = float(1 - 2 * u.mean())
    y = 0.5 + (flat + torch.where(flat > 0, -u, u) - 0.5) / stretch
    assert ((y > 0.5) == (flat > 0.5)).all()
    log_q = (normal_u.log_prob(u) - top.log() + math.log(stretch)).sum(-1)
    weights = normal.log_prob(y) - log_q
    error = float(weights.std(0).max()) / math.sqrt(len(u))
    found = model.log_prob_bound(x).double()
    torch.testing.assert_close(found, weights.mean(0), atol=5 * error, rtol=0)
    assert (found <= weights.exp().mean(0).log()).all()  # an estimate of P(x)


@KINDS
def test_bounds_stay_below_the_probabilities_of_eight_bit_pixels(kind: str) -> None:
    """All values of one pixel, the others being independent of it: masses sum to at most one."""
    model = untrained(kind).requires_grad_(False)
    model.weight[0] = 0
    model.mean[0] = 0.3
    model.noise.fill_(0.01)
    levels = torch.arange(256) / 255
    x = torch.full((256, 1, 3, 3), 0.5)
    x[:, 0, 0, 0] = levels
    rest = model.log_prob(x) - torch.distributions.Normal(0.3, 0.1).log_prob(levels)
    bound = model.log_prob_bound(x) - rest + 8 * math.log(255)  # the other pixels' bins
    edges = (torch.arange(257) - 0.5) / 255
    mass = torch.distributions.Normal(0.3, 0.1).cdf(edges.double()).diff()
    kept = mass > 1e-6
    correction = model.log_prob_bound(x) - model.log_prob(x) + 9 * math.log(255)
    assert (correction < 0).all()
    assert (bound.double()[kept] <= mass[kept].log() + 1e-3).all()
    assert float(bound.exp().sum()) == pytest.approx(1, abs=0.02)


def test_ppca_agrees_with_scikit_learn() -> None:
    x = images().flatten(1).double()
    other = PCA(3, svd_solver="full").fit(x.numpy())
    weight, noise = principal_components(torch.cov(x.T), 3)
    assert float(noise) == pytest.approx(other.noise_variance_, rel=1e-9)
    model = untrained("ppca").requires_grad_(False)
    model.mean.copy_(x.mean(0))
    model.weight.copy_(ordered(weight, noise))
    model.noise.copy_(noise)
    mine = model.log_prob(x.float().view(-1, 1, 3, 3)).double()
    assert float(mine.mean()) == pytest.approx(other.score(x.numpy()), abs=1e-3)


def test_ppca_training_is_the_closed_form() -> None:
    x = images()
    model = trained("ppca", x)
    covariance = torch.cov(x.flatten(1).double().T, correction=0)
    covariance += torch.eye(9) / 12 / 255**2
    values, vectors = torch.linalg.eigh(covariance)
    values = torch.cat([values[:-3].mean().expand(6), values[-3:]])
    expected = vectors @ torch.diag(values) @ vectors.T
    torch.testing.assert_close(covariance_of(model), expected, atol=1e-6, rtol=1e-4)
    torch.testing.assert_close(model.mean, x.flatten(1).mean(0))


def test_factor_analysis_agrees_with_scikit_learn() -> None:
    x = images().flatten(1).double()
    other = SklearnFactorAnalysis(3, tol=1e-10, max_iter=20_000, svd_method="lapack")
    other.fit(x.numpy())
    steps = list(islice(em(torch.cov(x.T, correction=0), 3, floor=1e-12), 2000))
    assert steps[-1][0] == pytest.approx(other.score(x.numpy()), abs=1e-5)
    noise = torch.from_numpy(other.noise_variance_)
    torch.testing.assert_close(steps[-1][2], noise, atol=1e-5, rtol=1e-2)


@pytest.mark.parametrize("floor", [1e-12, 2e-3])
def test_em_never_lowers_the_likelihood(floor: float) -> None:
    covariance = torch.cov(images().flatten(1).double().T, correction=0)
    steps = list(islice(em(covariance, 3, floor=floor), 200))
    assert min(b - a for (a, *_), (b, *_) in pairwise(steps)) > -1e-9
    assert steps[-1][0] > steps[0][0] + 0.05
    assert float(steps[-1][2].min()) >= floor
    log_p, weight, noise = steps[7]
    normal = MultivariateNormal(torch.zeros(9).double(), weight @ weight.T + torch.diag(noise))
    x = images().flatten(1).double()
    assert log_p == pytest.approx(float(normal.log_prob(x - x.mean(0)).mean()), abs=1e-9)


def test_factor_analysis_does_not_mind_the_pixels_units() -> None:
    """The same latents where a pixel is counted in other units; principal components change."""
    covariance = torch.cov(images().flatten(1).double().T, correction=0)
    units = torch.linspace(0.2, 5, 9).double()
    scaled = covariance * units * units[:, None]
    (_, a, _), (_, b, _) = (
        list(islice(em(s, 3, floor=1e-12), 1000))[-1] for s in (covariance, scaled)
    )
    torch.testing.assert_close(b @ b.T, (a @ a.T) * units * units[:, None], atol=1e-4, rtol=1e-3)


@KINDS
def test_fit_is_better_than_its_neighbours(kind: str) -> None:
    x = images()
    model = trained(kind, x)
    best = float(model.log_prob_bound(x).double().mean())
    for parameter in (model.weight, model.mean, model.noise):
        kept = parameter.clone()
        parameter.mul_(1 + 0.05 * torch.randn_like(parameter))
        assert float(model.log_prob_bound(x).double().mean()) < best
        parameter.copy_(kept)


@KINDS
def test_more_epochs_and_the_stages_end_change_nothing(kind: str) -> None:
    x = images()
    once, twice = trained(kind, x), trained(kind, x, epochs=2)
    torch.testing.assert_close(covariance_of(once), covariance_of(twice), atol=1e-6, rtol=1e-4)
    before = {name: t.clone() for name, t in twice.state_dict().items()}
    finish = twice.stages()[0].finish
    assert finish is not None
    finish()
    assert all(t.equal(before[name]) for name, t in twice.state_dict().items())


@KINDS
def test_a_training_shorter_than_an_epoch_fits_at_its_end(kind: str) -> None:
    x, model = images(), untrained(kind)
    before = model.weight.detach().clone()
    (stage,) = model.stages()
    with torch.no_grad():
        stage.updates[0].loss(Batch(x[:200]), Step())
        assert model.weight.equal(before)
        assert stage.finish is not None
        stage.finish()
    whole = trained(kind, x[:200])
    torch.testing.assert_close(covariance_of(model), covariance_of(whole), atol=1e-5, rtol=1e-3)


@KINDS
def test_completions_have_the_conditional_distribution(kind: str) -> None:
    """Given some pixels, the others' means and covariance are those of the joint Gaussian."""
    model = untrained(kind).requires_grad_(False)
    model.weight.mul_(0.3)  # so that nothing is clamped
    known = torch.tensor([[True, False, True], [False, False, True], [True, True, False]])
    x, n = images(1), 50_000
    drawn = model.complete(
        x.expand(n, 1, 3, 3), known, generator=ImageGenerator(0, range(n)), temperature=1.0
    ).flatten(1)
    seen, hidden = known.flatten(), ~known.flatten()
    assert drawn[:, seen].equal(x.flatten(1)[:, seen].expand(n, -1))
    joint, mean = covariance_of(model), model.mean.double()
    gain = torch.linalg.solve(joint[seen][:, seen], joint[seen][:, hidden]).T
    expected = mean[hidden] + gain @ (x.flatten().double() - mean)[seen]
    spread = joint[hidden][:, hidden] - gain @ joint[seen][:, hidden]
    noise = torch.diag(model.noise.double().expand(9)[hidden])  # images are means of p(x|z)
    torch.testing.assert_close(drawn[:, hidden].double().mean(0), expected, atol=1e-3, rtol=0)
    found = torch.cov(drawn[:, hidden].double().T)
    torch.testing.assert_close(found, spread - noise, atol=2e-4, rtol=0)
    masks = known.expand(2, 1, 3, 3).clone()
    masks[1] = ~known
    each = model.complete(x.expand(2, 1, 3, 3), masks, generator=ImageGenerator(0, range(2)))
    torch.testing.assert_close(each[0].flatten(), drawn[0])
    assert each[1].flatten()[hidden].equal(x.flatten()[hidden])


@KINDS
def test_pixels_that_never_change_are_no_trouble(kind: str) -> None:
    x = images()
    x[:, 0, 0] = 0
    model = trained(kind, x)
    assert torch.isfinite(model.log_prob(x)).all()
    assert float(model.noise.min()) >= 0.99 / 12 / 255**2
    other = x.clone()
    other[:, 0, 0] = 1
    assert (model.log_prob_bound(other) < model.log_prob_bound(x)).all()


def test_latents_are_independent_and_in_order() -> None:
    model = trained("factor-analysis", images())
    scaled = model.weight / model.noise.unsqueeze(1)
    information = scaled.T @ model.weight
    diagonal = information.diagonal()
    assert (diagonal[:-1] >= diagonal[1:]).all()
    torch.testing.assert_close(
        information, torch.diag(diagonal), atol=1e-2 * float(diagonal[0]), rtol=0
    )
    assert (
        model.filters()
        .flatten(1)
        .gather(1, model.filters().flatten(1).abs().argmax(1, keepdim=True))
        > 0
    ).all()


@pytest.mark.parametrize("binarization", ["none", "static"])
def test_evaluate_tells_the_density_from_the_bound(binarization: str) -> None:
    info = DataInfo(1, 3, 3, binarization=binarization)
    x = images(100, info)
    split = Split((x * 255).round().to(torch.uint8), None)
    data = ImageData("small", info, split, split, split, "small")
    found = evaluate(trained("ppca", x, info), data)
    assert found["nll"].unit == "nats per image (density)"
    assert found["nll_bound"].unit == "nats per image"
    assert found["nll_bound"].value > 0
    assert ("bits_per_dim" in found) == (binarization == "none")
    if binarization == "none":
        bits = found["nll_bound"].value / 9 / math.log(2)
        assert found["bits_per_dim"].value == pytest.approx(bits)
        assert found["bits_per_dim"].kind == "bound"


@KINDS
def test_bounds_of_all_binary_images_sum_to_less_than_one(kind: str) -> None:
    info = DataInfo(1, 3, 3, binarization="static")
    x = images(300, info)
    model = trained(kind, x, info)
    everything = ((torch.arange(512)[:, None] >> torch.arange(9)) & 1).float().view(-1, 1, 3, 3)
    bounds = model.log_prob_bound(everything).double()
    assert 0.1 < float(bounds.exp().sum()) < 1
    mean = x.flatten(1).double().mean(0)
    independent = (torch.special.entr(mean) + torch.special.entr(1 - mean)).sum()
    assert -model.log_prob_bound(x).double().mean() < independent  # what latents are for


def test_too_many_latents_are_refused() -> None:
    with pytest.raises(UsageError, match="--latent-dim 9"):
        PPCA(PPCAConfig(latent_dim=9), INFO)
    with pytest.raises(UsageError, match="too large"):
        PPCA(PPCAConfig(), DataInfo(3, 64, 64))
