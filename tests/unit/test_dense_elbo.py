"""The ELBO of a dense VAE, written out, against the plain form and autograd."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from gencli.data.spec import DataInfo
from gencli.models.interface import Batch, Step
from gencli.models.latent.configs import VAEConfig
from gencli.models.latent.vae import VAE

GREY = DataInfo(1, 12, 12)
X = torch.rand(6, 1, 12, 12, generator=torch.Generator().manual_seed(0))


def build(**options: Any) -> VAE:
    torch.manual_seed(0)
    model = VAE(VAEConfig(**({"latent_dim": 3, "hidden": (9, 7)} | options)), GREY)
    with torch.no_grad():
        for p in model.parameters():  # logits from near 0 to far from it
            p *= 2
    return model


def test_the_kinds_it_is_for() -> None:
    assert build()._is_dense()
    others: tuple[dict[str, Any], ...] = (
        {"activation": "gated"}, {"dropout": 0.1}, {"layers": 2}, {"prior": "vamp"},
        {"importance_samples": 2}, {"network": "conv"}, {"likelihood": "gaussian"},
    )  # fmt: skip
    assert not any(build(**options)._is_dense() for options in others)
    with torch.autocast("cpu", torch.bfloat16):
        assert not build()._is_dense()
    model = build()
    model.compile_networks()
    assert not model._is_dense()


@pytest.mark.parametrize("hidden", [(), (9,), (9, 8, 7)])
@pytest.mark.parametrize("beta", [1.0, 4.0])
def test_losses_and_gradients_are_those_of_autograd(
    hidden: tuple[int, ...], beta: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = build(hidden=hidden, beta=beta)
    found = []
    for by_hand in (True, False):
        monkeypatch.setattr(model, "_is_dense", lambda by_hand=by_hand: by_hand)
        torch.manual_seed(1)
        loss = model.loss(Batch(X), Step())
        gradients = torch.autograd.grad(loss.total, [*model.parameters()])
        found.append([loss.total, *loss.metrics.values(), *gradients])
    torch.testing.assert_close(*found, rtol=1e-5, atol=1e-5)


def test_weights_that_are_not_finite_give_a_loss_that_is_not() -> None:
    model = build()
    with torch.no_grad():
        model.decoder.to_map.weight[0, 0] = float("nan")
    assert model._is_dense()
    assert not model.loss(Batch(X), Step()).total.isfinite()
