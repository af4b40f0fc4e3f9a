"""Whether pictures show what their captions ask for."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from gencli.data import captions, scenes
from gencli.data.scene_colours import COLOURS
from gencli.data.scene_words import DIGITS, attributes
from gencli.data.spec import DataInfo
from gencli.data.splits import ImageData, Split
from gencli.evaluation import agreement
from gencli.evaluation.absent import reasons
from gencli.evaluation.evaluate import evaluate
from gencli.models.diffusion.configs import FlowMatchingConfig
from gencli.models.diffusion.flow_matching import FlowMatching

SEED = scenes.SPLITS["test"][1]
SAID = attributes(scenes.SPLITS["test"][0], seed=SEED)
WORDS, LENGTH = captions.vocabulary(SAID.captions())
INFO = DataInfo(3, 28, 28, scenes.CLASSES, vocabulary=WORDS, caption_length=LENGTH)
NAMES = [colour.name for colour in COLOURS]


def text(lines: Collection[str]) -> Tensor:
    return torch.from_numpy(captions.tokens(tuple(lines), WORDS, LENGTH))


def test_what_a_caption_asks_for_is_what_it_says() -> None:
    lines = SAID.captions()[:300]
    for line, asked in zip(lines, agreement.asked_for(text(lines), INFO).tolist(), strict=True):
        digit, ink, paper = asked
        assert DIGITS[digit] in line
        said = [word for word in captions.words(line) if word in NAMES]
        expected = {NAMES[ink]} if paper < 0 else {NAMES[ink], NAMES[paper]}
        assert set(said) == expected
        if paper >= 0 and f"{NAMES[ink]} on {NAMES[paper]}" in line:
            assert said == [NAMES[ink], NAMES[paper]]


def test_a_caption_of_nobody_asks_for_nothing() -> None:
    asked = agreement.asked_for(text(["", "a seven of ones"]), INFO)
    assert asked.tolist() == [[-1, -1, -1]] * 2


@pytest.fixture
def painter(monkeypatch: pytest.MonkeyPatch) -> FlowMatching:
    """A model that draws the test pictures, and a classifier that knows them but for some."""
    torch.manual_seed(0)
    options = FlowMatchingConfig(text=True, width=8, multipliers=(1, 1))
    model = FlowMatching(options, INFO)
    monkeypatch.setattr(agreement, "classifier", lambda *_: (None, [0.99, 0.98, 1.0]))
    return model


def test_shares_are_of_those_that_were_told(
    painter: FlowMatching, monkeypatch: pytest.MonkeyPatch
) -> None:
    n = 40
    images = torch.zeros(n, 3, 28, 28, dtype=torch.uint8)
    split = Split(images, torch.from_numpy(SAID.digit[:n]), text(SAID.captions()[:n]))
    data = ImageData("scenes", INFO, split, split, split, "x")
    right = torch.stack(
        [torch.from_numpy(getattr(SAID, name)[:n]) for name in ("digit", "ink", "paper")], 1
    )
    wrong = right.clone()
    wrong[:10, 1] += 1
    monkeypatch.setattr(agreement, "answers", lambda *_: wrong)

    def measure(**given: Any) -> dict[str, Any]:
        asked = ["digit_agreement", "ink_agreement", "paper_agreement"]
        own = {"steps": 1}
        return evaluate(painter, data, n_samples=n, metrics=asked, sampling=own, **given)

    found = measure()
    assert found["digit_agreement"].value == 1
    assert found["ink_agreement"].value == pytest.approx(0.75)
    assert found["paper_agreement"].value == 1
    told = int((agreement.asked_for(text(SAID.captions()[:n]), INFO)[:, 2] >= 0).sum())
    assert 0 < found["paper_agreement"].n == told < n
    assert "98.0%" in found["ink_agreement"].unit


def test_others_have_none_and_are_told_why(painter: FlowMatching) -> None:
    split = Split(torch.zeros(30, 3, 28, 28, dtype=torch.uint8), None, text([""] * 30))
    data = ImageData("others", INFO, split, split, split, "x")
    found = evaluate(painter, data, n_samples=20, metrics=["ink_agreement"])
    assert not found
    told = reasons(painter, data, 30, found, ["ink_agreement"])
    assert told == {"it takes a model that is told captions of scenes": ["ink_agreement"]}


def test_a_classifier_is_kept_with_its_accuracy(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train = agreement.train
    monkeypatch.setattr(agreement, "train", lambda *given: train(*given, n_pictures=250, epochs=1))
    monkeypatch.setitem(scenes.SPLITS, "test", (100, SEED))
    made, accuracy = agreement.classifier(16)
    kept, same = agreement.classifier(16)
    assert accuracy == same
    assert all(0 <= share <= 1 for share in accuracy)
    images = torch.randint(256, (20, 3, 16, 16), dtype=torch.uint8)
    assert torch.equal(agreement.answers(made, images), agreement.answers(kept, images))


@pytest.mark.slow
def test_the_classifier_is_mostly_right() -> None:
    """0.967, 0.998 and 1.000 on all test images: small digits are hard, colours are not."""
    network = agreement.train(32)
    n = 1000
    images = torch.from_numpy(scenes.render(n, seed=SEED, size=32).images)
    seen = agreement.answers(network, images)
    for i, (name, least) in enumerate({"digit": 0.94, "ink": 0.99, "paper": 0.99}.items()):
        right = seen[:, i] == torch.from_numpy(getattr(SAID, name)[:n])
        assert float(right.float().mean()) > least
