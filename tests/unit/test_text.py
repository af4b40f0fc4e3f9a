"""Captions as vectors, and what diffusion models make of them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gencli.config import fields_of
from gencli.data.captions import UNKNOWN, tokens, vocabulary
from gencli.data.conditions import Condition
from gencli.data.scene_words import attributes
from gencli.data.spec import DataInfo
from gencli.errors import UsageError
from gencli.models.diffusion.configs import DDPMConfig, FlowMatchingConfig
from gencli.models.diffusion.ddpm import DDPM
from gencli.models.diffusion.flow_matching import FlowMatching
from gencli.models.interface import Batch, Step
from gencli.models.text import CaptionEncoder
from gencli.random import ImageGenerator

WORDS = ("dark", "light", "top", "bottom")
DATA = DataInfo(1, 8, 8, vocabulary=WORDS, caption_length=3)
SIZE: dict[str, Any] = {"width": 8, "multipliers": (1, 2), "text": True}


def ddpm(data: DataInfo = DATA, **changes: Any) -> DDPM:
    torch.manual_seed(0)
    return DDPM(DDPMConfig(**{**SIZE, **changes}), data)


def flow(data: DataInfo = DATA, **changes: Any) -> FlowMatching:
    torch.manual_seed(0)
    return FlowMatching(FlowMatchingConfig(**{**SIZE, **changes}), data)


def told(*captions: str) -> Condition:
    return Condition(text=torch.from_numpy(tokens(captions, WORDS, 3)))


@pytest.mark.slow
def test_which_colour_is_which_is_learnt_from_few_captions() -> None:
    """In "white on blue" and "blue on white" the words are the same."""
    some, others = (attributes(n, seed=seed) for n, seed in ((20_000, 1), (2_000, 2)))
    known, length = vocabulary(some.captions())
    text, new = (torch.from_numpy(tokens(a.captions(), known, length)) for a in (some, others))
    torch.manual_seed(0)
    net = nn.Sequential(CaptionEncoder(len(known) + 2, 64), nn.Linear(64, 10))
    optimizer = torch.optim.Adam(net.parameters(), 3e-3)
    for _ in range(1000):
        rows = torch.randint(len(text), (16,))
        optimizer.zero_grad()
        F.cross_entropy(net(text[rows]), torch.from_numpy(some.ink)[rows]).backward()
        optimizer.step()
    with torch.no_grad():
        right = net(new).argmax(1) == torch.from_numpy(others.ink)
    assert float(right.float().mean()) > 0.95


@pytest.mark.parametrize("make", [ddpm, flow])
def test_conditions_are_those_asked_for(make: Any) -> None:
    both = DataInfo(1, 8, 8, ("a", "b"), vocabulary=WORDS, caption_length=3)
    assert make().conditions == ("text",)
    assert make(both, conditional=True).conditions == ("labels", "text")
    assert make(text=False).conditions == ()
    for text in (True, False):
        options = {field.name for field in fields_of(make(text=text).config.sampling())}
        assert ("guidance" in options) == text


def trained(make: Any) -> Any:
    """A model of dark and light images, told which."""
    model = make(label_dropout=0.1, multipliers=(1,))
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    images = torch.tensor([0.1, 0.9]).repeat(4)[:, None, None, None].expand(8, 1, 8, 8)
    batch = Batch(images, told(*["dark", "light"] * 4))
    for _ in range(40):
        optimizer.zero_grad()
        model.loss(batch, Step()).total.backward()
        optimizer.step()
    return model.eval()


@pytest.mark.parametrize("make", [ddpm, flow])
def test_images_are_as_told_and_an_empty_caption_tells_nothing(make: Any) -> None:
    model = trained(make)

    def draw(condition: Condition, **own: Any) -> Tensor:
        with torch.no_grad():
            images: Tensor = model.sample(
                8, generator=ImageGenerator(0, range(8)), condition=condition, steps=8, **own
            )
        return images

    asked = told(*["dark", "light"] * 4)
    seen = draw(asked).mean((1, 2, 3))
    assert (seen[::2] < 0.35).all()
    assert (seen[1::2] > 0.65).all()
    ignored = draw(asked, guidance=0.0)
    torch.testing.assert_close(draw(told(*[""] * 8)), ignored)
    assert not torch.equal(ignored, draw(asked))


def test_withheld_captions_are_empty_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    both = DataInfo(1, 8, 8, ("a", "b"), vocabulary=WORDS, caption_length=3)
    model, seen = flow(both, conditional=True, label_dropout=0.5), list[Condition]()
    monkeypatch.setattr(model.unet, "embed", seen.append)
    n = 400
    known = Condition(torch.arange(n) % 2, torch.full((n, 3), 4))
    model.loss(Batch(torch.rand(n, 1, 8, 8), known), Step())
    labels, text = seen[0].labels, seen[0].text
    assert labels is not None
    assert text is not None
    withheld = labels == 2
    assert 0.4 < float(withheld.float().mean()) < 0.6
    assert torch.equal(withheld, (text == 0).all(1))
    assert torch.equal(labels[~withheld], known.rows(~withheld).labels)
    words = text[~withheld]
    assert ((words == 4) | (words == UNKNOWN)).all()
    assert 0 < int((words == UNKNOWN).sum()) < 0.15 * words.numel()


@pytest.mark.parametrize("make", [ddpm, flow])
@torch.no_grad()
def test_between_two_captions_there_are_others(make: Any) -> None:
    model = make().eval()
    for parameter in model.parameters():
        parameter.add_(0.1 * torch.randn_like(parameter))
    z = model.sample_latent(1, generator=ImageGenerator(0, range(1)))
    ends = [model.embed(told(caption)) for caption in ("dark top", "light bottom")]
    own = {"steps": 3, "guidance": 2.0}
    first, middle, last = (
        model.decode_embedded(z, torch.lerp(*ends, share), **own) for share in (0.0, 0.5, 1.0)
    )
    assert torch.equal(first, model.decode(z, told("dark top"), **own))
    torch.testing.assert_close(last, model.decode(z, told("light bottom"), **own))
    assert float((first - last).abs().max()) > 0.01
    for end in (first, last):
        assert float((middle - end).abs().max()) > 1e-3
    with pytest.raises(UsageError, match="told nothing"):
        make(text=False).embed(Condition())
