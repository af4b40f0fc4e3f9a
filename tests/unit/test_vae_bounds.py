"""Bounds and estimates of every kind of `vae` against log p(x) by integration over a grid."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from gencli.data.conditions import NOTHING, Condition
from gencli.data.spec import DataInfo
from gencli.models.interface import Batch, Step
from gencli.models.latent.configs import VAEConfig
from gencli.models.latent.vae import VAE

DATA = DataInfo(1, 4, 4, ("a", "b", "c"), binarization="static")
LARGER = DataInfo(1, 8, 8, ("a", "b", "c"), binarization="static")
COLOUR = DataInfo(3, 4, 4)

VARIANTS: dict[str, tuple[dict[str, Any], DataInfo]] = {
    "plain": ({}, DATA),
    "gated": ({"activation": "gated"}, DATA),
    "linear": ({"hidden": ()}, DATA),
    "iwae": ({"importance_samples": 5}, DATA),
    "vamp": ({"prior": "vamp", "pseudo_inputs": 7}, DATA),
    "two-layers": ({"layers": 2}, DATA),
    "two-layers-vamp": ({"layers": 2, "prior": "vamp", "pseudo_inputs": 7}, DATA),
    "conditional": ({"conditional": True}, DATA),
    "conditional-two-layers-vamp": (
        {"conditional": True, "layers": 2, "prior": "vamp", "pseudo_inputs": 7}, DATA
    ),
    "conv": ({"network": "conv", "width": 4}, LARGER),
    "conditional-conv": ({"network": "conv", "width": 4, "conditional": True}, LARGER),
    "colour": ({}, COLOUR),
}  # fmt: skip


def build(name: str, seed: int = 0) -> VAE:
    config, data = VARIANTS[name]
    torch.manual_seed(seed)
    model = VAE(VAEConfig(**({"latent_dim": 1, "hidden": (8,)} | config)), data)
    with torch.no_grad():
        if model.config.network == "conv":  # posteriors too narrow to draw from all of p(z|x)
            for posterior in model.posteriors:
                posterior.head.weight *= 0.3
                posterior.head.bias.zero_()
            model.decoder.doublings[-1][-1].weight *= 5
        else:  # an untrained decoder hardly looks at z
            for parameters in (*model.decoder.parameters(), *model.posteriors.parameters()):
                parameters *= 1.7
        if "vamp" in name:
            model.stages()[0].start([Batch(images(data, 20), told(data, 20, model))])
    return model


def images(data: DataInfo, n: int) -> Tensor:
    uniform = torch.rand(n, *data.shape, generator=torch.Generator().manual_seed(3))
    return (uniform < 0.5).float() if data.binary else (255 * uniform).round() / 255


def told(data: DataInfo, n: int, model: VAE) -> Condition:
    return Condition(torch.arange(n) % 3) if model.config.conditional else NOTHING


def log_prob(model: VAE, x: Tensor, condition: Condition) -> Tensor:
    """The logarithm of the integral of p(x|z) p(z), (B,), by the rectangle rule."""
    layers = model.config.layers
    line = torch.linspace(-8, 8, 801 if layers == 1 else 161)
    points = torch.cartesian_prod(*[line] * layers).view(-1, layers)
    zs = [z[:, None] for z in points.split(1, 1)]  # (points, 1, 1): each for all images
    log_p_z = sum(p.log_prob(z) for p, z in zip(model.priors([z[:, 0] for z in zs]),
                                                [z[:, 0] for z in zs], strict=True))  # fmt: skip
    y = model._told(condition)
    zs = [z.expand(-1, len(x), -1) for z in zs]
    log_p_x = model.log_likelihood(x, y, zs)
    cell = layers * math.log(float(line[1] - line[0]))
    return (log_p_x + log_p_z[:, None]).logsumexp(0) + cell


@pytest.mark.parametrize("name", VARIANTS)
@torch.no_grad()
def test_bounds_lie_below_the_likelihood_and_estimates_reach_it(name: str):
    model = build(name)
    x, condition = images(model.data, 4), told(model.data, 4, model)
    exact = log_prob(model, x, condition)
    again = torch.arange(400 * 4) % 4
    bounds = model.log_prob_bound(x[again], condition.rows(again)).view(400, 4)
    error = bounds.std(0) / math.sqrt(len(bounds))
    assert bool((bounds.mean(0) < exact + 4 * error).all())
    weights = model.log_weights(x, 20_000, condition)
    estimate = weights.logsumexp(0) - math.log(len(weights))
    shares = weights.softmax(0)
    error = (shares.square().sum(0)).sqrt()  # of the mean weight, relative to it
    assert bool(((estimate - exact).abs() < 4 * error + 1e-3).all()), (estimate - exact, error)
    assert bool((error < 0.1).all())  # or the test would say little


@pytest.mark.parametrize("name", ["plain", "vamp", "two-layers", "two-layers-vamp"])
@torch.no_grad()
def test_more_draws_tighten_the_bound(name: str):
    model = build(name)
    x = images(model.data, 4).repeat(4000, 1, 1, 1)

    def bound(draws: Tensor) -> tuple[Tensor, Tensor]:
        draws = draws.view(-1, 4)
        return draws.mean(0), draws.std(0) / math.sqrt(len(draws))

    elbo, e = bound(model.log_prob_bound(x))
    one, e_1 = bound(model.log_weights(x, 1)[0])
    five, e_5 = bound(model.log_weights(x, 5).logsumexp(0) - math.log(5))
    # the same bound, the KL terms in closed form or not
    assert bool(((one - elbo).abs() < 4 * torch.hypot(e, e_1)).all())
    assert bool((five > one + 4 * torch.hypot(e_1, e_5)).all())


@pytest.mark.parametrize("beta", [1.0, 0.4])
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("prior", ["normal", "vamp"])
def test_the_doubly_reparameterised_gradient_is_that_of_the_bound(
    beta: float, layers: int, prior: str
):
    """In the mean over many draws; the draws' own spread says how far apart they may be."""
    torch.manual_seed(0)
    config = VAEConfig(
        latent_dim=1, hidden=(3,), layers=layers, importance_samples=3, beta=beta, prior=prior,
        pseudo_inputs=2 if prior == "vamp" else None,
    )  # fmt: skip
    model = VAE(config, DATA)
    with torch.no_grad():
        for parameters in model.parameters():
            parameters *= 2
    x = images(DATA, 1).expand(4000, -1, -1, -1)

    def plain() -> Tensor:
        draws = model.infer(x, None, 3)
        qs, zs = [q for q, _ in draws], [z for _, z in draws]
        log_w = model.log_likelihood(x, None, zs) + beta * model._log_ratio(qs, zs)
        return -(log_w.logsumexp(0) - math.log(3)).mean()

    def gradients(loss: Any) -> Tensor:
        rows = []
        for _ in range(12):
            grads = torch.autograd.grad(loss(), list(model.parameters()))
            rows.append(torch.cat([g.flatten() for g in grads]))
        return torch.stack(rows)

    ours = gradients(lambda: model.loss(Batch(x), Step()).total)
    theirs = gradients(plain)
    error = ((ours.var(0) + theirs.var(0)) / 12).sqrt()
    apart = (ours.mean(0) - theirs.mean(0)).abs()
    assert bool((apart <= 5 * error + 1e-6).all())
    assert float(error.max()) < 0.05 * float(theirs.mean(0).abs().max())  # sharp enough to tell
