from __future__ import annotations

import math

import pytest
import torch

from gencli.data.spec import DataInfo
from gencli.models.interface import Batch, Step
from gencli.models.latent.configs import VAEConfig
from gencli.models.latent.vae import VAE

DATA = DataInfo(1, 4, 4, binarization="static")
X = (torch.rand(6, 1, 4, 4, generator=torch.Generator().manual_seed(0)) < 0.5).float()


def test_the_loss_is_the_negative_bound():
    model = VAE(VAEConfig(latent_dim=3, hidden=(8,)), DATA)
    losses = []
    for of in (lambda: model.loss(Batch(X), Step()).total, lambda: -model.log_prob_bound(X).mean()):
        torch.manual_seed(1)
        losses.append(of())
    torch.testing.assert_close(*losses)


def test_more_samples_tighten_the_bound():
    torch.manual_seed(0)
    model = VAE(VAEConfig(latent_dim=3, hidden=(8,)), DATA)
    with torch.no_grad():
        one = torch.stack([model.log_prob_bound(X) for _ in range(2000)]).mean(0)
        weights = model.log_weights(X, 2000)
        many = weights.logsumexp(0) - math.log(2000)
    # the mean weight's logarithm is above the mean logarithm, which is the bound
    torch.testing.assert_close(weights.mean(0), one, atol=0.3, rtol=0)
    assert bool((many > one).all())


@pytest.mark.parametrize(("done", "share"), [(0, 0.0), (5, 0.5), (10, 1.0), (25, 1.0)])
def test_the_kl_term_warms_up(done: int, share: float):
    model = VAE(VAEConfig(latent_dim=3, hidden=(8,), beta=2.0, kl_warmup=10), DATA)
    (update,) = model.updates()
    loss = update.loss(Batch(X), Step(done))
    expected = loss.metrics["distortion"] + 2 * share * loss.metrics["kl"]
    torch.testing.assert_close(loss.total, expected)


def test_gated_units_are_linear_times_a_logistic_gate():
    model = VAE(VAEConfig(latent_dim=3, hidden=(8,), activation="gated"), DATA)
    dense = model.posteriors[0].encoder.dense
    linear = dense[0]
    value, gate = linear(X.flatten(1)).chunk(2, dim=1)
    torch.testing.assert_close(dense(X.flatten(1)), value * gate.sigmoid())
