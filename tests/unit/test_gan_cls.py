"""Text to image: captions as vectors, three kinds of examples, and prompts that are heeded."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from gencli import registry
from gencli.data.captions import NOTHING, UNKNOWN
from gencli.data.conditions import Condition
from gencli.data.spec import DataInfo
from gencli.errors import UsageError
from gencli.models.adversarial.configs import GANCLSConfig
from gencli.models.adversarial.gan_cls import GANCLS
from gencli.models.build import make
from gencli.models.interface import Batch, Step
from gencli.models.text import CaptionEncoder, with_gaps
from gencli.random import ImageGenerator

DATA = DataInfo(1, 8, 8, vocabulary=("light", "dark", "on"), caption_length=4)
LIGHT, DARK, ON = 2, 3, 4


def build(**options: Any) -> GANCLS:
    torch.manual_seed(0)
    small = {"latent_dim": 2, "width": 8, "d_width": 8, "hidden": 16, "caption_dim": 8}
    return GANCLS(GANCLSConfig(**small | options), DATA).train()


def rows_of(*captions: list[int]) -> Tensor:
    return torch.tensor([c + [NOTHING] * (4 - len(c)) for c in captions])


@torch.no_grad()
def test_a_caption_is_the_order_of_its_words_and_not_what_follows_them():
    torch.manual_seed(0)
    encode = CaptionEncoder(5, 6)
    several = rows_of([LIGHT, ON, DARK], [DARK, ON, LIGHT], [LIGHT], [])
    vectors = encode(several)
    assert not vectors[0].allclose(vectors[1])
    assert vectors[3].eq(0).all()
    longer = F.pad(several, (0, 3))
    torch.testing.assert_close(encode(longer), vectors)


def test_gaps_are_unknown_words_and_empty_captions():
    torch.manual_seed(0)
    tokens = rows_of(*[[LIGHT, ON, DARK]] * 2_000)
    gaps = with_gaps(tokens, 0.2, 0.3)
    empty = (gaps == NOTHING).all(1)
    assert float(empty.float().mean()) == pytest.approx(0.3, abs=0.04)
    kept = gaps[~empty]
    unknown = kept == UNKNOWN
    assert float(unknown[:, :3].float().mean()) == pytest.approx(0.2, abs=0.03)
    assert not unknown[:, 3].any()
    assert kept.where(~unknown, tokens[~empty]).equal(tokens[~empty])
    assert with_gaps(tokens, 0, 0).equal(tokens)


def test_the_discriminator_is_shown_three_kinds_of_examples(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("gencli.models.adversarial.matching.UNKNOWN_WORDS", 0.0)
    model = build(caption_dropout=0.0, r1=0.0, diversity=0.0)
    torch.nn.init.normal_(model.D.embedding.weight)
    tokens = rows_of([LIGHT], [DARK], [DARK], [LIGHT, ON, DARK])
    x, step = torch.rand(4, 1, 8, 8), Step()
    discriminator, generator = model.updates()
    loss = discriminator.loss(Batch(x, Condition(text=tokens)), step)
    h, fake = model.captions(tokens), step.shared["fake"]
    wrong = model.captions(tokens[[3, 0, 1, 2]])

    def cross_entropy(score: Tensor, target: float) -> Tensor:
        targets = torch.full_like(score, target)
        return F.binary_cross_entropy_with_logits(score, targets, reduction="none")

    mismatched = cross_entropy(model.D(x, wrong), 0)[[0, 1, 3]]  # the third's is its own again
    expected = cross_entropy(model.D(x, h), 1).mean()
    expected += cross_entropy(model.D(fake, h), 0).mean() / 2 + mismatched.sum() / 4 / 2
    torch.testing.assert_close(loss.total, expected)
    made = generator.loss(Batch(x, Condition(text=tokens)), step).total
    torch.testing.assert_close(made, cross_entropy(model.D(fake, h), 1).mean())


def test_two_images_of_a_caption_are_kept_apart():
    model = build(diversity=0.5)
    discriminator, generator = model.updates()
    x, tokens = torch.rand(5, 1, 8, 8), rows_of(*[[LIGHT], [DARK], [LIGHT], [ON], [DARK]])
    step = Step()
    discriminator.loss(Batch(x, Condition(text=tokens)), step)
    fake, twins = step.shared["fake"], step.shared["twins"]
    assert (len(fake), len(twins)) == (5, 2)
    loss = generator.loss(Batch(x, Condition(text=tokens)), step).total
    apart = (fake[:2] - twins).abs().mean((1, 2, 3))
    assert (apart > 0).all()
    other = F.softplus(-model.D(fake, step.shared["h"])).mean()
    torch.testing.assert_close(loss, other - 0.5 * (apart + 1e-3).log().mean())
    (gradient,) = torch.autograd.grad(loss, twins)
    assert gradient.any()


def test_interpolated_captions_are_one_more_loss_of_the_generator():
    losses = {}
    for weight in (0.0, 1.0, 3.0):
        model = build(interpolation=weight)
        discriminator, generator = model.updates()
        batch = Batch(torch.rand(4, 1, 8, 8), Condition(text=rows_of(*[[LIGHT], [DARK]] * 2)))
        step = Step()
        discriminator.loss(batch, step)
        torch.manual_seed(1)
        losses[weight] = float(generator.loss(batch, step).total.detach())
    assert losses[1.0] - losses[0.0] > 0.1
    assert losses[3.0] - losses[0.0] == pytest.approx(3 * (losses[1.0] - losses[0.0]), rel=1e-4)


def test_prompts_are_heeded_after_training():
    """The upper half is the first word, the lower half the last."""
    model = build(caption_dropout=0.1)
    captions = rows_of([LIGHT, ON, DARK], [DARK, ON, LIGHT], [LIGHT, ON, LIGHT], [DARK, ON, DARK])
    halves = torch.tensor([[0.9, 0.1], [0.1, 0.9], [0.9, 0.9], [0.1, 0.1]])
    updates = model.updates()
    optimizers = [torch.optim.Adam(u.parameters, 3e-3, betas=(0.5, 0.999)) for u in updates]
    for _ in range(200):
        which = torch.randint(4, (32,))
        images = halves[which].repeat_interleave(4, 1).view(-1, 1, 8, 1).expand(-1, 1, 8, 8)
        batch, step = Batch(images, Condition(text=captions[which])), Step()
        for update, optimizer in zip(updates, optimizers, strict=True):
            optimizer.zero_grad()
            update.loss(batch, step).total.backward(inputs=update.parameters)
            optimizer.step()
    assert all(p.grad is not None and p.grad.any() for p in model.captions.parameters())
    model.eval()
    asked = torch.arange(4).repeat(25)
    with torch.no_grad():
        told = Condition(text=captions[asked])
        drawn = model.sample(100, generator=ImageGenerator(0, range(100)), condition=told)
    found = torch.stack([drawn[:, :, :4].mean((1, 2, 3)), drawn[:, :, 4:].mean((1, 2, 3))], 1)
    means = found.view(25, 4, 2).mean(0)
    torch.testing.assert_close(means, halves, atol=0.2, rtol=0)


def test_it_needs_captions():
    with pytest.raises(UsageError, match="gan-cls needs captions"):
        make(registry.find("gan-cls"), GANCLSConfig(), DataInfo(1, 8, 8))
    with pytest.raises(UsageError, match="text"):
        build().decode(torch.randn(2, 2))
