from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import pytest
import torch
from sklearn.mixture import GaussianMixture as SklearnMixture
from torch import Tensor
from torch.distributions import Categorical, MixtureSameFamily, MultivariateNormal

from gencli.data.spec import DataInfo
from gencli.errors import UsageError
from gencli.models.interface import Batch, Step
from gencli.models.latent.autoencoder import Autoencoder
from gencli.models.latent.configs import AutoencoderConfig
from gencli.models.latent.gaussian_mixture import GaussianMixture
from gencli.random import ImageGenerator

INFO = DataInfo(1, 4, 4)


def built(**options: Any) -> Autoencoder:
    torch.manual_seed(0)
    return Autoencoder(AutoencoderConfig(**{"hidden": (12,), "latent_dim": 3} | options), INFO)


def images(n: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(n, 1, 4, 4, generator=generator)


@torch.no_grad()
def test_plain_loss_is_the_cross_entropy_of_the_reconstruction() -> None:
    model, x = built(), images(8)
    expected = torch.nn.functional.binary_cross_entropy(model.decode(model.encode(x)), x)
    assert float(model.loss(Batch(x), Step()).total) == pytest.approx(
        16 * float(expected), rel=1e-5
    )


@pytest.mark.parametrize("hidden", [(), (12,)])
def test_contractive_penalty_is_the_jacobians_norm(hidden: tuple[int, ...]) -> None:
    model = built(hidden=hidden, code="sigmoid", penalty="contractive", contraction=0.5)
    x = images(4)
    jacobian = torch.autograd.functional.jacobian(lambda y: model.encode(y).sum(0), x)
    exact = float(jacobian.square().sum()) / len(x)
    batch = Batch(x.repeat(5000, 1, 1, 1))
    loss = model.loss(batch, Step())
    assert float(loss.metrics["jacobian"].detach()) == pytest.approx(exact, rel=0.05)
    total = loss.metrics["distortion"] + 0.5 * loss.metrics["jacobian"]
    torch.testing.assert_close(loss.total, total)
    if not hidden:  # one sigmoid layer has it in closed form (Rifai et al. 2011, equation 4)
        h, weight = model.encode(x), model.encoder[0].weight
        closed = ((h * (1 - h)).square() @ weight.square().sum(1)).mean()
        assert float(closed.detach()) == pytest.approx(exact, rel=1e-4)


def test_contraction_lowers_the_jacobian() -> None:
    x, found = images(64), {}
    for penalty in ("none", "contractive"):
        model = built(penalty=penalty, contraction=5.0)
        optimizer = torch.optim.Adam(model.parameters(), 1e-2)
        for _ in range(60):
            optimizer.zero_grad()
            model.loss(Batch(x), Step()).total.backward()
            optimizer.step()
        jacobian = torch.autograd.functional.jacobian(lambda y, m=model: m.encode(y).sum(0), x)
        found[penalty] = float(jacobian.square().sum())
    assert found["contractive"] < 0.5 * found["none"]


def test_denoising_sees_the_corrupted_and_is_asked_for_the_clean() -> None:
    model, x = built(penalty="denoising", corruption=0.4), images(2000)
    seen: list[Tensor] = []
    model.encoder.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    loss = model.loss(Batch(x), Step()).total
    (given,) = seen
    changed = given != x.flatten(1)
    assert float(changed.float().mean()) == pytest.approx(0.4, abs=0.02)
    assert (given[changed] == 0).all()
    expected = model.distortion(x, model.encoder(given)).mean()
    torch.testing.assert_close(loss, expected)


@torch.no_grad()
def test_sparse_codes_keep_the_largest() -> None:
    model, x = built(penalty="sparse", latent_dim=9, active=2), images(20)
    whole, kept = model.encoder(x.flatten(1)), model.encode(x)
    assert ((kept != 0).sum(1) == 2).all()
    for row, sparse in zip(whole, kept, strict=True):
        assert sparse[row.argmax()] == row.max()
        assert sparse.sum() == pytest.approx(float(row.topk(2).values.sum()))
    with pytest.raises(UsageError, match="--active 10"):
        built(penalty="sparse", latent_dim=9, active=10)


def test_stages_leave_each_other_alone() -> None:
    model, x = built(components=2), images(100)
    networks, prior = model.stages()
    assert not set(networks.updates[0].parameters) & set(prior.updates[0].parameters)
    batches = [Batch(part) for part in x.split(25)]
    assert prior.start is not None
    prior.start(batches)
    before, losses = model.encoder[0].weight.clone(), []
    for _ in range(5):
        with torch.no_grad():
            losses.append(
                sum(prior.updates[0].loss(prior.prepare(b), Step()).total for b in batches)
            )
            assert prior.updates[0].epoch_end is not None
            prior.updates[0].epoch_end()
    assert all(float(b) <= float(a) + 0.05 for a, b in pairwise(losses))
    assert model.encoder[0].weight.equal(before)
    assert prior.validate is not None
    assert prior.validate(Batch(x)).shape == (100,)


def codes(n: int = 3000) -> Tensor:
    """Three long, turned clouds of different sizes."""
    generator = torch.Generator().manual_seed(1)
    k = torch.multinomial(torch.tensor([0.5, 0.3, 0.2]), n, True, generator=generator)
    shapes = torch.randn(3, 4, 4, generator=generator)
    centres = 6 * torch.randn(3, 4, generator=generator)
    noise = torch.randn(n, 1, 4, generator=generator)
    return centres[k] + (noise @ shapes[k]).squeeze(1)


def fitted(z: Tensor, steps: int = 40, n: int = 3) -> tuple[GaussianMixture, list[float]]:
    torch.manual_seed(0)
    mixture = GaussianMixture(n, z.shape[1]).requires_grad_(False)
    mixture.start(z)
    reached = []
    for _ in range(steps):
        reached.append(float(torch.cat([mixture.gather(part) for part in z.split(500)]).mean()))
        mixture.maximize()
    return mixture, reached


def test_mixture_density_is_that_of_torch_distributions() -> None:
    z = codes(200)
    mixture, _ = fitted(z, steps=2)
    components = MultivariateNormal(mixture.mean, scale_tril=mixture.factor)
    expected = MixtureSameFamily(Categorical(logits=mixture.log_weight), components).log_prob(z)
    torch.testing.assert_close(mixture.log_prob(z), expected, atol=1e-4, rtol=1e-4)


def test_mixture_reaches_the_likelihood_of_scikit_learns() -> None:
    z = codes()
    _, reached = fitted(z)
    other = SklearnMixture(3, n_init=5, tol=1e-6, max_iter=500, random_state=0).fit(z.numpy())
    assert reached[-1] == pytest.approx(other.score(z.numpy()), abs=0.01)
    assert min(b - a for a, b in pairwise(reached)) > -1e-3  # but for the pseudo-code's pull


def test_mixture_of_one_is_the_moments() -> None:
    z = codes()
    mixture, _ = fitted(z, steps=1, n=1)
    torch.testing.assert_close(mixture.mean[0], z.mean(0), atol=1e-4, rtol=1e-4)
    covariance = mixture.factor[0] @ mixture.factor[0].T
    torch.testing.assert_close(covariance, torch.cov(z.T), atol=0.1, rtol=5e-3)


def test_latents_that_never_change_are_no_trouble() -> None:
    z = torch.cat([codes(), torch.zeros(3000, 2)], 1)
    mixture, reached = fitted(z, steps=5)
    assert all(math.isfinite(value) for value in reached)
    drawn = mixture.draw(ImageGenerator(0, range(100)))
    assert float(drawn[:, 4:].abs().max()) < 0.01


def test_draws_have_the_mixtures_moments() -> None:
    z = codes()
    mixture, _ = fitted(z)
    drawn = mixture.draw(ImageGenerator(0, range(20_000)))
    error = float(z.std(0).max()) / math.sqrt(3000)
    torch.testing.assert_close(drawn.mean(0), z.mean(0), atol=5 * error, rtol=0)
    torch.testing.assert_close(torch.cov(drawn.T), torch.cov(z.T), atol=1.5, rtol=0.1)
    still = mixture.draw(ImageGenerator(0, range(50)), temperature=0.0)
    assert torch.cdist(still, mixture.mean).min(1).values.max() < 1e-3
