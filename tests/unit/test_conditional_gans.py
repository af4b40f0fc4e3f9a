"""Adversarial models that are told classes: `cgan`, and the others with `--conditional`."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from gencli import registry
from gencli.data.conditions import Condition
from gencli.data.spec import DataInfo
from gencli.models.adversarial.base import AdversarialModel
from gencli.models.interface import Batch, Step
from gencli.random import ImageGenerator

DATA = DataInfo(1, 8, 8, ("a", "b", "c"))
SMALL: dict[str, Any] = {"latent_dim": 2, "width": 16, "d_width": 16}
MLP = {**SMALL, "network": "mlp", "conditional": True}
OPTIONS: dict[str, dict[str, Any]] = {
    "cgan": {**SMALL, "network": "mlp"},
    "gan": {**SMALL, "conditional": True},
    "dcgan": {**SMALL, "conditional": True, "hidden": 16, "d_lr_scale": 1.0, "r1": 0.2},
    "wgan": {**MLP, "clip": 0.1, "d_steps": 2},
    "wgan-gp": {**MLP, "d_steps": 2},
    "lsgan": MLP,
}
every = pytest.mark.parametrize("name", OPTIONS)


def build(name: str, **options: Any) -> AdversarialModel:
    torch.manual_seed(0)
    spec = registry.find(name)
    model = spec.load()(spec.options()(**OPTIONS[name] | options), DATA)
    assert isinstance(model, AdversarialModel)
    return model.train()


def greys(n: int) -> Batch:
    """Class k is a grey of (k + 1) / 4."""
    labels = torch.randint(3, (n,))
    return Batch(((labels + 1) / 4).view(-1, 1, 1, 1).expand(-1, 1, 8, 8), Condition(labels))


@every
def test_both_networks_learn_what_the_classes_are(name: str) -> None:
    model = build(name)
    assert model.conditions == ("labels",)
    tables = (model.D.embedding, model.G.embedding)
    step = Step()
    for update, table in zip(model.updates(), tables, strict=True):
        assert table is not None
        model.zero_grad()
        update.loss(greys(32), step).total.backward(inputs=update.parameters)
        assert table.weight.grad is not None
        assert (table.weight.grad.abs().sum(1) > 0).all()


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=[pytest.mark.slow] * (n not in ("cgan", "dcgan"))) for n in OPTIONS],
)
def test_the_class_asked_for_is_drawn_after_training(name: str) -> None:
    model = build(name)
    updates = model.updates()
    optimizers = [torch.optim.Adam(u.parameters, 2e-3, betas=(0.5, 0.999)) for u in updates]
    for _ in range(200):
        step, last = Step(), greys(64)
        for update, optimizer in zip(updates, optimizers, strict=True):
            for repeat in range(update.repeat):
                optimizer.zero_grad()
                batch = last if repeat == update.repeat - 1 else greys(64)
                update.loss(batch, step).total.backward(inputs=update.parameters)
                optimizer.step()
                if update.after is not None:
                    with torch.no_grad():
                        update.after()
    model.eval()
    asked = Condition(torch.arange(3).repeat(50))
    with torch.no_grad():
        drawn = model.sample(150, generator=ImageGenerator(0, range(150)), condition=asked)
    found = drawn.mean((1, 2, 3)).view(50, 3).mean(0)
    torch.testing.assert_close(found, torch.tensor([0.25, 0.5, 0.75]), atol=0.1, rtol=0)


def strokes(n: int) -> Batch:
    """A bar lying, a bar standing or both as a cross, by class, at one of seven places."""
    labels, first = torch.randint(3, (n,)), torch.randint(7, (n, 1))
    place = torch.arange(8)
    inked = ((place >= first) & (place < first + 2)).float()
    lying, standing = (inked.view(n, *shape).expand(n, 8, 8) for shape in ((8, 1), (1, 8)))
    images = torch.stack([lying, standing, torch.maximum(lying, standing)])
    return Batch(images[labels, torch.arange(n)].unsqueeze(1), Condition(labels))


def test_a_discriminator_that_is_told_classes_does_not_win() -> None:
    """By default; with --r1 0 its means go on to 0.9 and 0.1, and a class is one image."""
    model = build("dcgan", latent_dim=8, d_width=8, hidden=64, d_lr_scale=0.3, r1=None)
    updates = model.updates()
    optimizers = [
        torch.optim.Adam(u.parameters, 5e-3 * u.optimizer.lr_scale, betas=(0.5, 0.999))
        for u in updates
        if u.optimizer is not None
    ]
    found = []
    for _ in range(120):
        step, batch = Step(), strokes(32)
        for update, optimizer in zip(updates, optimizers, strict=True):
            optimizer.zero_grad()
            loss = update.loss(batch, step)
            loss.total.backward(inputs=update.parameters)
            optimizer.step()
            found += [loss.metrics] if "d_real" in loss.metrics else []
    d_real, d_fake = (
        torch.stack([metrics[name] for metrics in found[-20:]]).mean()
        for name in ("d_real", "d_fake")
    )
    assert d_real < 0.65
    assert d_fake > 0.4


def test_the_gradient_penalty_is_that_of_the_critic_of_the_class() -> None:
    """With f(x, y) = e(y) mean(x) the gradient's norm is |e(y)| / 8."""
    model = build("wgan-gp", penalty=1.0)
    e = torch.tensor([8.0, 24.0, 0.0])

    def critic(x: Tensor, labels: Tensor) -> Tensor:
        return e[labels] * x.mean((1, 2, 3))

    model.D.forward = critic  # type: ignore[method-assign]
    images = torch.rand(3, 1, 8, 8)
    for label, norm in ((0, 1.0), (1, 3.0), (2, 0.0)):
        labels = torch.full((3,), label)
        penalty = model.gradient_penalty(images, images.flip(0), labels)  # type: ignore[operator]
        torch.testing.assert_close(penalty, torch.tensor((norm - 1) ** 2))


@pytest.mark.parametrize("name", [name for name in OPTIONS if name != "cgan"])
def test_without_being_asked_they_are_told_nothing(name: str) -> None:
    model = build(name, conditional=False)
    assert model.conditions == ()
    assert model.D.embedding is model.G.embedding is None
