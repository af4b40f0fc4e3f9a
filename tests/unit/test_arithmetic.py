"""Sums of mean latents: what terms mean, and the sheet of them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from gencli.cli import arithmetic
from gencli.cli.arithmetic import Term, arithmetic_sheet, parsed
from gencli.config import Config
from gencli.data.captions import tokens
from gencli.data.conditions import NOTHING, Condition
from gencli.data.spec import DataInfo
from gencli.data.splits import ImageData, Split
from gencli.errors import DataError, UsageError
from gencli.loaded import LoadedModel
from gencli.models.interface import GenerativeModel
from gencli.models.latent.configs import PPCAConfig, VAEConfig
from gencli.models.latent.ppca import PPCA
from gencli.models.latent.vae import VAE
from gencli.random import ImageGenerator

WORDS = ("thin", "slanted", "left")
INFO = DataInfo(1, 4, 4, ("zero", "one", "2"), vocabulary=WORDS, caption_length=2)
SAID = ["thin", "slanted left", "thin slanted", "", "slanted", "thin"]
SPLIT = Split(
    torch.arange(96, dtype=torch.uint8).view(6, 1, 4, 4),
    torch.tensor([0, 0, 1, 1, 2, 2]),
    torch.from_numpy(tokens(SAID, WORDS, 2)),
)


@pytest.mark.parametrize(
    ("name", "images"),
    [
        ("zero", [0, 1]), ("0", [0, 1]), ("2", [4, 5]), ("zero:slanted", [1]), (":thin", [0, 2, 5]),
        ("one:thin slanted", [2]), (":Slanted, left", [1]),
    ],
)  # fmt: skip
def test_a_term_is_a_class_and_words(name: str, images: list[int]) -> None:
    (term,) = parsed(name, INFO)
    assert term.sign == 1
    assert term.images(SPLIT, INFO).tolist() == images


def test_terms_are_added_and_taken_away() -> None:
    terms = parsed(" zero:thin - one + 2:left ", INFO)
    assert terms == [
        Term(1, "zero:thin", 0, ("thin",)), Term(-1, "one", 1, ()), Term(1, "2:left", 2, ("left",)),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "named"),
    [("seven", "seven"), ("3", "3"), ("zero:thick", "thick"), ("zero - :", "names no"), ("", "no")],
)
def test_what_means_nothing_is_refused(text: str, named: str) -> None:
    with pytest.raises(UsageError, match=named):
        parsed(text, INFO)


def test_a_term_without_images_is_refused() -> None:
    (term,) = parsed("2:left", INFO)
    with pytest.raises(DataError, match="2:left"):
        term.images(SPLIT, INFO)


def sheet(
    model: GenerativeModel, text: str, rows: int, monkeypatch: pytest.MonkeyPatch
) -> torch.Tensor:
    data = ImageData("small", INFO, SPLIT, SPLIT, SPLIT, "small")
    monkeypatch.setattr(arithmetic, "recorded", lambda run: (None, None))
    monkeypatch.setattr(arithmetic, "load", lambda *_: data)
    monkeypatch.setattr(arithmetic, "same_data", lambda *_: None)
    run: Any = SimpleNamespace(model="vae", name="small")
    return arithmetic_sheet(LoadedModel(model.eval(), run, "raw", 0), text, rows, 0, {})


def test_a_linear_model_adds_images(monkeypatch: pytest.MonkeyPatch) -> None:
    """PPCA's codes and images are linear in each other: sums of latents are sums of pictures."""
    torch.manual_seed(0)
    model = PPCA(PPCAConfig(latent_dim=3), INFO)
    images = sheet(model, "zero - one + 2", 1, monkeypatch)
    assert images.shape == (1, 4, *INFO.shape)
    zero, one, two, result = images[0]
    inside = (images[0] > 0).all(0) & (images[0] < 1).all(0)
    assert inside.sum() > 4
    torch.testing.assert_close(result[inside], (zero - one + two)[inside], atol=1e-4, rtol=0)


def test_rows_are_of_other_images_and_conditions_of_the_last_term_added(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    torch.manual_seed(0)
    model, seen = VAE(VAEConfig(hidden=(8,), latent_dim=2, conditional=True), INFO), []
    decode = model.decode
    monkeypatch.setattr(
        model, "decode", lambda z, told: seen.append(told.labels.tolist()) or decode(z, told)
    )
    images = sheet(model, "0 + 1 - 2", 3, monkeypatch)
    assert images.shape == (3, 4, *INFO.shape)
    assert seen == [[0] * 3, [1] * 3, [2] * 3, [1] * 3]


class Halves(GenerativeModel):
    """Latents are the grey of the left and the right half."""

    def __init__(self) -> None:
        super().__init__(Config(), INFO)
        self.scale = torch.nn.Parameter(torch.ones(1))

    def sample_latent(self, n: int, *, generator: ImageGenerator) -> torch.Tensor:
        return generator.uniform(2)

    def decode(self, z: torch.Tensor, condition: Condition = NOTHING) -> torch.Tensor:
        return z.clamp(0, 1).repeat_interleave(2, 1)[:, None, None].expand(-1, 1, 4, 4)


def test_without_an_encoder_the_judge_says_what_samples_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def judge(images: torch.Tensor) -> tuple[None, torch.Tensor]:
        """Left dark is class 0, left light class 1; half are unsure."""
        left, right = images[:, 0, 0, 0], images[:, 0, 0, 3]
        answer = torch.nn.functional.one_hot((left > 0.5).long(), 3).float()
        return None, torch.where(right[:, None] < 0.5, answer, 0.5)

    monkeypatch.setattr(arithmetic, "judge_for", lambda data: judge)
    images = sheet(Halves(), "1 - 0 + 0", 1, monkeypatch)
    one, zero, same, result = images[0, :, 0, 0]
    torch.testing.assert_close(one[::3], torch.tensor([0.75, 0.25]), atol=0.07, rtol=0)
    torch.testing.assert_close(zero[::3], torch.tensor([0.25, 0.25]), atol=0.07, rtol=0)
    torch.testing.assert_close(result, one - zero + same)
    with pytest.raises(UsageError, match="no encoder"):
        sheet(Halves(), "0:thin + 1", 1, monkeypatch)
