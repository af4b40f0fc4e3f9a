"""Signs of trouble: trainings that are made to fail are told of, good ones are not."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from gencli import new_run, registry, runs
from gencli.config import Enough
from gencli.kinds import Binarization
from gencli.models.adversarial import base
from gencli.models.adversarial.configs import DCGANConfig, GANConfig, LSGANConfig, WGANConfig
from gencli.models.adversarial.signs import CRITIC_HAS_WON, has_won
from gencli.models.build import build_model
from gencli.models.interface import Sign
from gencli.training import summary, watch
from gencli.training.reporter import Silent
from gencli.training.settings import resolve
from gencli.training.signals import StopRequest
from gencli.training.trainer import Trainer
from gencli.training.watch import LEAST_SPREAD, Lasting, spread
from tests.unit import quarters

SMALL = {"width": 16, "d_width": 16, "latent_dim": 8}


class Told(Silent):
    """Keeps every line."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def message(self, text: str) -> None:
        self.lines.append(text)

    @property
    def troubles(self) -> list[str]:
        return [line for line in self.lines if line.startswith("trouble")]


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Judge a training soon, since those here are short."""
    monkeypatch.setattr(watch, "SETTLED_STEPS", 100)


def trained(
    name: str,
    config: dict[str, Any],
    binarization: Binarization = "none",
    weights: float | None = None,
    **given: Any,
) -> tuple[Trainer, Told]:
    """A small training on images of bright quarters, perhaps begun with all weights the same."""
    data = quarters.data(binarization=binarization)
    spec = registry.find(name)
    settings = resolve({"batch_size": 50} | given, spec.options().training)
    torch.manual_seed(0)
    model = build_model(name, config, asdict(data.info))
    for p in model.parameters() if weights is not None else ():
        torch.nn.init.constant_(p, weights)
    record = {
        "model": name, "config": config, "settings": asdict(settings), "status": "running",
        "data": {"name": "quarters", "fingerprint": "", "info": asdict(data.info)},
        "precision": "fp32", "created": runs.now(),
    }  # fmt: skip
    told, run = Told(), new_run.create(name, "quarters", record)
    trainer = Trainer(
        model, data, settings, run,
        device=torch.device("cpu"), precision="fp32", reporter=told, stop=StopRequest(),
    )  # fmt: skip
    trainer.fit()
    run.release()
    return trainer, told


def test_a_discriminator_that_learns_too_fast_is_told_of_once(
    home: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(base, "has_won", lambda config: replace(has_won(config), lasting=100))
    config = SMALL | {"d_lr_scale": 1000.0, "r1": 0.0}
    _, told = trained("gan", config, steps=200, lr=1e-5, sample_every=0, lr_schedule="constant")
    (line,) = told.troubles
    assert "the discriminator has won (d_real 0.9" in line or "(d_real 1," in line
    assert line.endswith("try a lower --d-lr-scale, a larger --r1 or --spectral-norm")


def test_a_generator_that_does_not_learn_makes_one_image(home: Path):
    _, told = trained("gan", SMALL, weights=0.0, steps=110, lr=0.0, sample_every=1_000)
    (line,) = told.troubles
    assert line.startswith("trouble at step 110: the samples are nearly all alike (")
    assert line.endswith("try a longer training")  # 110 are few


def test_a_likelihood_that_learns_nothing(home: Path, soon: None):
    trainer, told = trained("made", {"hidden": [8]}, "dynamic", steps=120, lr=0.0, sample_every=0)
    (line,) = told.troubles
    assert "the likelihood is that of pixels on their own" in line
    assert trainer.last_metrics["val_loss"] < 12 * 12 * 0.6932


@pytest.mark.parametrize(
    ("name", "config", "binarization", "lr"),
    [
        ("made", {"hidden": [32]}, "dynamic", 1e-2),
        ("vae", {"hidden": [32], "latent_dim": 4}, "none", 5e-3),
        ("gan", SMALL, "none", 1e-3),
    ],
)
def test_good_trainings_are_left_alone(
    home: Path, soon: None, name: str, config: dict[str, Any], binarization: Binarization, lr: float
):
    _, told = trained(name, config, binarization, steps=200, lr=lr, sample_every=20)
    assert not told.troubles


def test_a_sign_must_last():
    sign = Sign("it", "that", ("a",), lambda means: means["a"], least=0.9, lasting=100)
    lasting = Lasting(sign, {})
    high, low = {"a": 1.0}, {"a": 0.5}
    assert not lasting.holds(50, high)
    assert not lasting.holds(100, high)
    assert not lasting.holds(140, low)
    assert not lasting.holds(150, high)
    assert not lasting.holds(240, high)
    assert lasting.holds(250, high)
    assert not lasting.holds(300, {"b": 1.0})


def test_a_resumed_training_remembers_what_there_was():
    past = {"d_real": [(50, 9.0), (100, 1.0)], "d_fake": [(50, 0.0), (100, 0.0)]}
    quiet, loud = Lasting(CRITIC_HAS_WON, past), Lasting(CRITIC_HAS_WON, {})
    means = {"d_real": 1.0, "d_fake": 0.0}
    assert [quiet.holds(step, means) for step in (150, 600, 700)] == [False, False, False]
    assert [loud.holds(step, means) for step in (150, 600, 700)] == [False, False, True]
    going_on = Lasting(CRITIC_HAS_WON, {k: [(50, v), (200, v)] for k, v in means.items()})
    assert going_on.holds(550, means)


def test_signs_suggest_what_the_model_has():
    assert has_won(GANConfig()).cure.startswith("a lower --d-lr-scale, ")
    assert has_won(LSGANConfig()).cure.endswith("or --spectral-norm")
    assert "--d-lr-scale" not in has_won(WGANConfig()).cure
    relative = has_won(DCGANConfig(objective="relativistic"))
    assert relative.measure({"d_real": 3.0, "d_fake": 2.5}) < relative.least  # as in good games
    assert relative.measure({"d_real": 9.0, "d_fake": 4.5}) > relative.least
    smoothed = has_won(DCGANConfig(label_smoothing=0.1))
    assert smoothed.measure({"d_real": 0.9, "d_fake": 0.02}) == pytest.approx(0.98)


def test_spread():
    same = torch.rand(1, 3, 4, 4).expand(8, -1, -1, -1)
    assert spread(same) == pytest.approx((0, 0), abs=1e-6)
    assert spread(same[:1]) == (0, 0)
    apart = torch.eye(5).reshape(5, 1, 1, 5)
    assert spread(apart) == pytest.approx((0.4**0.5, 0.4**0.5))
    large = apart.repeat_interleave(3, 2).repeat_interleave(3, 3)
    assert spread(large) == pytest.approx(spread(apart))
    two = torch.cat([apart[:1]] * 3 + [apart[1:2]] * 3)
    mean, nearest = spread(two)
    assert nearest == pytest.approx(0, abs=1e-6)
    assert mean > LEAST_SPREAD


def test_few_updates_are_told_of_before(home: Path):
    trainer, _ = trained("gan", SMALL, steps=5, sample_every=0)
    (line,) = summary.few(trainer, 190)
    assert line == (
        "few: 190 updates; gan needs about 5,000 for digits, 50,000 for photographs: "
        "--steps 5000, or a recipe (--config NAME)"
    )
    assert line.replace("190", "5") in summary.before(trainer, quarters.data(), "fp32", 1)
    trainer.run.update(origins={"sources": {"steps": "file"}})  # a recipe knows how long is enough
    assert line.replace("190", "5") not in summary.before(trainer, quarters.data(), "fp32", 1)
    assert not summary.few(trainer, 5_000)
    assert not summary.few(trainer, None)


def test_every_model_says_how_long_is_enough_by_default():
    """On glyphs, the default training of a model is never told to be short."""
    for spec in registry.models().values():
        config = spec.options()
        enough, training = config.enough, config.training
        assert enough is None or isinstance(enough, Enough)
        if enough is not None:
            repeat = getattr(config, "d_steps", 1)
            steps = training.epochs * (55_000 // training.batch_size) // repeat
            assert steps >= enough.digits, spec.name
            assert enough.photographs > enough.digits
