"""The parts of `vae`: priors, densities, pixels, networks, and options that exclude one another."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from gencli.data.conditions import Condition
from gencli.data.spec import DataInfo
from gencli.errors import UsageError
from gencli.models.interface import Batch
from gencli.models.latent.configs import VAEConfig
from gencli.models.latent.densities import EvenMixture, Gaussian, StandardNormal
from gencli.models.latent.pixels import DiscretisedPixels
from gencli.models.latent.priors import VampPrior
from gencli.models.latent.vae import VAE
from gencli.random import ImageGenerator

BINARY = DataInfo(1, 4, 4, ("a", "b", "c"), binarization="static")
X = (torch.rand(12, 1, 4, 4, generator=torch.Generator().manual_seed(0)) < 0.5).float()


@torch.no_grad()
def test_the_density_of_the_vamp_prior_integrates_to_one():
    torch.manual_seed(0)
    model = VAE(VAEConfig(latent_dim=2, hidden=(8,), prior="vamp", pseudo_inputs=5), BINARY)
    model.stages()[0].start([Batch(X)])
    (prior,) = model.priors([])
    line = torch.linspace(-9, 9, 400)
    log_p = prior.log_prob(torch.cartesian_prod(line, line))
    area = float(line[1] - line[0]) ** 2
    assert float(log_p.exp().sum() * area) == pytest.approx(1, abs=1e-4)


def test_a_mixture_is_the_mean_of_its_components():
    torch.manual_seed(0)
    components = Gaussian(torch.randn(5, 3), torch.randn(5, 3))
    z = torch.randn(7, 2, 3)
    apart = torch.stack(
        [
            Gaussian(m, v).log_prob(z)
            for m, v in zip(components.mean, components.log_var, strict=True)
        ]
    )
    torch.testing.assert_close(
        EvenMixture(components).log_prob(z), apart.logsumexp(0) - math.log(5), atol=1e-4, rtol=1e-5
    )


def test_log_densities_and_divergences_are_those_of_torch():
    torch.manual_seed(0)
    q, p = (Gaussian(torch.randn(6, 3), torch.randn(6, 3)) for _ in range(2))
    z = torch.randn(6, 3)

    def reference(of: Gaussian) -> torch.distributions.Distribution:
        normal = torch.distributions.Normal(of.mean, (0.5 * of.log_var).exp())
        return torch.distributions.Independent(normal, 1)

    torch.testing.assert_close(p.log_prob(z), reference(p).log_prob(z))
    expected = torch.distributions.kl_divergence(reference(q), reference(p))
    torch.testing.assert_close(p.divergence(q, z), expected)
    standard = Gaussian(torch.zeros(6, 3), torch.zeros(6, 3))
    torch.testing.assert_close(StandardNormal(3).log_prob(z), standard.log_prob(z))
    torch.testing.assert_close(StandardNormal(3).divergence(q, z), standard.divergence(q, z))


@pytest.mark.parametrize("batch", [3, 12])
def test_pseudo_inputs_begin_as_training_images_with_their_classes(batch: int):
    torch.manual_seed(0)
    prior = VampPrior(5, BINARY, 3)
    labels = torch.arange(12) % 3
    batches = [
        Batch(X[i : i + batch], Condition(labels[i : i + batch])) for i in range(0, 12, batch)
    ]
    prior.start(batches)
    same = (prior.pseudo_inputs[:, None] == X).flatten(2).all(-1)  # (5, 12)
    assert same.sum(1).tolist() == [1] * 5
    assert len(set(same.int().argmax(1).tolist())) == 5
    assert prior.classes.argmax(1).equal(labels[same.int().argmax(1)])
    VampPrior(30, BINARY, 0).start(batches)  # fewer images than pseudo-inputs


def test_pseudo_inputs_stay_in_the_range_of_images():
    model = VAE(VAEConfig(hidden=(8,), prior="vamp", pseudo_inputs=5), BINARY)
    (update,) = model.updates()
    with torch.no_grad():
        model.prior.pseudo_inputs.add_(torch.randn(5, 1, 4, 4))
    update.after()
    low, high = model.prior.pseudo_inputs.detach().aminmax()
    assert (float(low), float(high)) == (0, 1)


@torch.no_grad()
@pytest.mark.parametrize("options", [{"prior": "vamp", "pseudo_inputs": 3}, {"layers": 2}])
def test_latents_are_drawn_from_the_priors_density(options: dict[str, Any]):
    torch.manual_seed(0)
    model = VAE(VAEConfig(latent_dim=1, hidden=(8,), **options), BINARY)
    n = 4000
    z = model.sample_latent(n, generator=ImageGenerator(0, range(n)))
    zs = list(z.split(1, 1))
    log_p = sum(p.log_prob(z) for p, z in zip(model.priors(zs), zs, strict=True))
    # Over draws from p, the mean of 1 / p inside a region is that region's volume.
    inside = (z.abs() < 1.5).all(1)
    volume = torch.where(inside, torch.exp(-log_p), 0).mean()
    assert float(volume) == pytest.approx(3.0 ** z.shape[1], rel=0.1)


@pytest.mark.parametrize("kind", ["logistic", "gaussian"])
@torch.no_grad()
def test_the_levels_of_a_colour_sum_to_one(kind: str):
    pixels = DiscretisedPixels(kind, 3, levels=6)
    out = torch.randn(pixels.n_outputs, 1, 1, generator=torch.Generator().manual_seed(0))
    level = torch.arange(6) / 5
    x = torch.cartesian_prod(level, level, level)[..., None, None]  # (216, 3, 1, 1)
    log_p = pixels.log_prob(out.expand(len(x), -1, -1, -1), x)
    assert float(log_p.exp().sum()) == pytest.approx(1, abs=1e-4)


def test_a_colour_is_told_channel_after_channel():
    pixels = DiscretisedPixels("logistic", 3)
    assert pixels.n_outputs == 9
    out = torch.zeros(1, 9, 1, 1)
    # a decoder that tells 0 has each channel like the one before
    assert pixels.mean(out).flatten().tolist() == [0.5] * 3
    out[0, 0] = 0.3  # red
    assert pixels.mean(out).flatten().tolist() == pytest.approx([0.8] * 3)
    out[0, 6] = 1.0  # green has twice what red has over one half, cut at 1; blue as green
    assert pixels.mean(out).flatten().tolist() == pytest.approx([0.8, 1.0, 1.0])
    x = torch.full((1, 3, 1, 1), 0.5)
    plain, twice = torch.zeros(1, 9, 1, 1), torch.zeros(1, 9, 1, 1)
    twice[0, 6] = 1.0  # says nothing where red is one half
    torch.testing.assert_close(pixels.log_prob(twice, x), pixels.log_prob(plain, x))
    x[0, 0] = 0.7
    assert float(pixels.log_prob(twice, x)) < float(pixels.log_prob(plain, x))


@pytest.mark.parametrize("size", [(8, 8), (9, 13), (28, 28), (32, 32)])
@pytest.mark.parametrize("activation", ["relu", "gated"])
@torch.no_grad()
def test_convolutions_come_back_to_images_of_any_size(size: tuple[int, int], activation: str):
    data = DataInfo(3, *size)
    config = VAEConfig(network="conv", width=4, hidden=(8,), activation=activation, layers=2)
    model = VAE(config, data)
    x = torch.rand(2, *data.shape)
    assert model.decode(model.encode(x)).shape == x.shape
    assert model.log_weights(x, 3).shape == (3, 2)


@pytest.mark.parametrize(
    ("options", "data", "said"),
    [
        ({"width": 16}, BINARY, "--width"),
        ({"pseudo_inputs": 5}, BINARY, "--pseudo-inputs"),
        ({"importance_samples": 2, "dropout": 0.1}, BINARY, "--dropout"),
        ({"likelihood": "logistic"}, BINARY, "--likelihood"),
        ({"network": "conv"}, BINARY, "too small"),
    ],
)
def test_options_that_exclude_one_another_are_refused(
    options: dict[str, Any], data: DataInfo, said: str
):
    with pytest.raises(UsageError, match=said):
        VAE(VAEConfig(**options), data)


@torch.no_grad()
def test_the_class_is_heard():
    torch.manual_seed(0)
    model = VAE(VAEConfig(latent_dim=2, hidden=(8,), conditional=True), BINARY)
    a, b = (Condition(torch.full((12,), c)) for c in (0, 1))
    assert not model.encode(X, a).equal(model.encode(X, b))
    z = torch.zeros(12, 2)
    assert not model.decode(z, a).equal(model.decode(z, b))


@pytest.mark.parametrize("activation", ["relu", "gated"])
@torch.no_grad()
def test_convolutions_begin_with_outputs_as_large_as_inputs(activation: str):
    torch.manual_seed(0)
    data = DataInfo(3, 32, 32)
    config = VAEConfig(network="conv", width=8, activation=activation, latent_dim=32)
    model = VAE(config, data)
    x = torch.randn(16, *data.shape)
    (posterior,) = model.posteriors
    assert 0.4 < float(posterior.encoder(x, None).square().mean().sqrt()) < 2.5
    assert float(posterior(x, None).log_var.mean()) < -3  # latents that are worth reading
    out = model.decoder(torch.randn(16, 32), None)
    assert 0.02 < float(out.std()) < 0.5  # scales are what they are for a decoder that tells 0
