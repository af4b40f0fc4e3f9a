"""Two stages of text to image: conditions from captions, sizes, and what is frozen."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal, kl_divergence

from gencli.data.conditions import Condition
from gencli.data.spec import DataInfo
from gencli.errors import UsageError
from gencli.models.adversarial.configs import StackGANConfig
from gencli.models.adversarial.stackgan import StackGAN
from gencli.models.adversarial.stackgan_networks import ConditioningAugmentation, Refiner
from gencli.models.interface import Batch, Step
from gencli.random import ImageGenerator

DATA = DataInfo(1, 16, 16, vocabulary=("light", "dark", "on"), caption_length=3)
CAPTIONS = torch.tensor([[2, 4, 3], [3, 4, 2], [2, 4, 2], [3, 4, 3]])
HALVES = torch.tensor([[0.9, 0.1], [0.1, 0.9], [0.9, 0.9], [0.1, 0.1]])  # of the pictures


def build(data: DataInfo = DATA, **options: Any) -> StackGAN:
    torch.manual_seed(0)
    small = {"latent_dim": 2, "width": 8, "d_width": 8, "hidden": 16, "caption_dim": 8}
    return StackGAN(
        StackGANConfig(**small | {"condition_dim": 3, "refiner_width": 4} | options), data
    )


def batch_of(n: int) -> Batch:
    which = torch.randint(4, (n,))
    images = HALVES[which].repeat_interleave(8, 1).view(-1, 1, 16, 1).expand(-1, 1, 16, 16)
    return Batch(images, Condition(text=CAPTIONS[which]))


@torch.no_grad()
def test_conditions_are_draws_from_a_gaussian_of_the_caption():
    torch.manual_seed(0)
    augment, h = ConditioningAugmentation(4, 3), torch.randn(1, 4)
    mean, log_var = augment.linear(h).chunk(2, 1)
    c, divergence = augment(h.expand(20_000, 4), torch.randn(20_000, 3))
    gaussian = Normal(mean, (log_var / 2).exp())
    torch.testing.assert_close(c.mean(0), gaussian.mean[0], atol=0.03, rtol=0)
    torch.testing.assert_close(c.std(0), gaussian.stddev[0], atol=0.03, rtol=0)
    exact = kl_divergence(gaussian, Normal(torch.zeros(3), torch.ones(3))).sum()
    torch.testing.assert_close(divergence, exact.expand(20_000))


@pytest.mark.parametrize(("side", "deepest"), [(8, 4), (14, 7), (32, 8), (64, 16)])
@torch.no_grad()
def test_the_refiner_doubles_the_sides_of_any_size(side: int, deepest: int):
    refiner = Refiner(DataInfo(3, side, side), 5, 4).eval()
    images, told = torch.rand(2, 3, side, side), torch.randn(2, 5)
    assert refiner.down(images).shape[2:] == (deepest, deepest)
    drawn = refiner(images, told)
    assert drawn.shape == (2, 3, 2 * side, 2 * side)
    assert not drawn.allclose(refiner(images.flip(3), told))
    assert not drawn.allclose(refiner(images, -told))


def test_the_first_stage_sees_half_the_size_and_the_second_changes_nothing_of_it():
    model = build().train()
    first, second = model.stages()
    whole = batch_of(6)
    small = first.prepare(whole)
    assert small.images.equal(whole.images[:, :, ::2, ::2])  # which are flat in each half
    for stage, batch, side in ((first, small, 8), (second, batch_of(6), 16)):
        step = Step()
        for update in stage.updates:
            update.loss(batch, step).total.backward(inputs=update.parameters)
        assert step.shared["fake"].shape == (6, 1, side, side)
    learnt = {p for update in second.updates for p in update.parameters}
    for module in second.frozen:
        assert not learnt & set(module.parameters())
    everything = {p for stage in (first, second) for u in stage.updates for p in u.parameters}
    assert everything == set(model.parameters())
    model.zero_grad()
    step = Step()
    second.updates[0].loss(batch_of(6), step)
    second.updates[1].loss(batch_of(6), step).total.backward()  # into whatever it reaches
    assert all(p.grad is None for p in (*model.G1.parameters(), *model.captions.parameters()))


@torch.no_grad()
def test_a_preview_of_the_first_stage_is_its_image_at_full_size():
    model = build().eval()
    told = Condition(text=CAPTIONS)
    preview = model.stages()[0].preview
    assert preview is not None
    shown = preview(4, ImageGenerator(0, range(4)), told)
    assert shown.shape == (4, 1, 16, 16)
    assert shown[:, :, ::2, ::2].equal(shown[:, :, 1::2, 1::2])
    drawn = model.sample(4, generator=ImageGenerator(0, range(4)), condition=told)
    assert not drawn.allclose(shown)


def test_sides_that_do_not_halve_are_refused():
    with pytest.raises(UsageError, match="do not fit"):
        build(DataInfo(1, 27, 27, vocabulary=("a",), caption_length=1))


def trained(model: StackGAN, steps: int) -> StackGAN:
    for stage in model.stages():
        model.train()
        for module in stage.frozen:
            module.eval()
        optimizers = [
            torch.optim.Adam(u.parameters, 3e-3, betas=(0.5, 0.999)) for u in stage.updates
        ]
        for _ in range(steps):
            batch, step = stage.prepare(batch_of(32)), Step()
            for update, optimizer in zip(stage.updates, optimizers, strict=True):
                optimizer.zero_grad()
                update.loss(batch, step).total.backward(inputs=update.parameters)
                optimizer.step()
    return model.eval()


@pytest.mark.slow
def test_prompts_are_heeded_after_both_stages():
    model = trained(build(), 200)
    told = Condition(text=CAPTIONS.repeat(25, 1))

    def halves(images: Tensor) -> Tensor:
        rows = images.mean((1, 3)).view(25, 4, 2, -1)
        return rows.mean((0, 3))

    with torch.no_grad():
        drawn = model.sample(100, generator=ImageGenerator(0, range(100)), condition=told)
    assert (halves(drawn) > 0.5).equal(HALVES > 0.5)
