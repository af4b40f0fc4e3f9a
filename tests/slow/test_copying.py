"""A model that has its training images by heart is flagged, one that has not is cleared."""

from __future__ import annotations

import math
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch

from gencli import new_run, registry, runs
from gencli.data.load import load
from gencli.data.options import DataOptions
from gencli.evaluation.evaluate import evaluate
from gencli.evaluation.results import Metric
from gencli.models.build import build_model
from gencli.training.reporter import Silent
from gencli.training.settings import resolve
from gencli.training.signals import StopRequest
from gencli.training.trainer import Trainer

KEYS = ("ct", "authenticity", "authenticity_real", "fld_gap", "fld_gap_real")


def measured(n_train: int, epochs: int, **config: object) -> dict[str, Metric]:
    """A mixture of Gaussians trained on some glyphs, by the judge that comes with gencli."""
    data = load(DataOptions("glyphs"))
    data = replace(
        data, train=data.train.rows(slice(n_train)), test=data.test.rows(slice(2_000)),
        val=data.val.rows(slice(0)),
    )  # fmt: skip
    settings = resolve(
        {"epochs": epochs, "batch_size": 100, "sample_every": 0},
        registry.find("mixture").options().training,
    )
    record = {
        "model": "mixture", "config": config, "settings": asdict(settings), "precision": "fp32",
        "data": {"name": "glyphs", "fingerprint": "", "info": asdict(data.info)},
        "created": runs.now(), "status": "done",
    }  # fmt: skip
    torch.manual_seed(0)
    model = build_model("mixture", config, asdict(data.info))
    run = new_run.create("mixture", "glyphs", record)
    Trainer(
        model, data, settings, run,
        device=torch.device("cpu"), precision="fp32", reporter=Silent(), stop=StopRequest(),
    ).fit()  # fmt: skip
    return evaluate(model, data, n_samples=1_000, metrics=KEYS)


def below(found: dict[str, Metric]) -> float:
    """How far the gap is below that of real images, in standard errors of the difference."""
    gap, real = found["fld_gap"], found["fld_gap_real"]
    return (real.value - gap.value) / math.hypot(gap.standard_error or 0, real.standard_error or 0)


@pytest.mark.slow
def test_trained_for_long_on_a_hundred_images(home: Path) -> None:
    by_heart = measured(100, 30, components=100, variance_floor=1e-4, smoothing=0.0)
    assert by_heart["ct"].value < -10 * (by_heart["ct"].standard_error or 0)
    assert by_heart["authenticity"].value < by_heart["authenticity_real"].value / 2
    assert below(by_heart) > 10
    learnt = measured(5_000, 3, components=50)
    assert learnt["ct"].value > -3 * (learnt["ct"].standard_error or 0)
    assert learnt["authenticity"].value > learnt["authenticity_real"].value - 0.1
    assert below(learnt) < 5
