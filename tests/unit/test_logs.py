"""What metrics.jsonl holds beside losses, and its lines for TensorBoard."""

from __future__ import annotations

import importlib.util
import json
import time
from pathlib import Path
from typing import Any

import pytest

from gencli.curves import curves
from gencli.errors import UsageError
from gencli.models.interface import Optimizer, Update
from gencli.overview import last_losses
from gencli.runs import Run
from gencli.training import tensorboard
from gencli.training.pace import Pace
from gencli.training.trainer import Trainer
from tests.unit.small_run import small_run, trainer_of


def rows_of(run: Run) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]


def test_a_line_has_the_time_and_the_learning_rate(home: Path):
    began = time.time()
    run = small_run(steps=8, lr=0.5e-3, lr_schedule="cosine", log_every=2)
    rows = [row for row in rows_of(run) if "loss" in row]
    assert began - 1 <= rows[0]["time"] <= rows[-1]["time"] <= time.time() + 1
    assert rows[0]["lr"] <= 0.5e-3
    assert rows[-1]["lr"] < rows[0]["lr"] / 5  # near the end of the cosine
    assert set(curves(run)) == {"loss", "distortion", "kl", "val_loss"}
    assert set(last_losses(run)) == set(curves(run))


def test_updates_with_rates_of_their_own_are_told_apart(home: Path):
    trainer = trainer_of(steps=3, lr=1e-3, log_every=1)
    (update,) = trainer.stages[0].updates
    slow = Update("slow", update.loss, update.parameters, Optimizer(lr_scale=0.5))
    object.__setattr__(trainer.stages[0], "updates", (update, slow))
    trainer.fit()
    trainer.run.release()
    row = rows_of(trainer.run)[0]
    assert row["lr"] == {"model": row["lr"]["model"], "slow": row["lr"]["model"] / 2}
    assert set(last_losses(trainer.run)) == set(curves(trainer.run))


def test_images_per_second_are_those_since_the_last_line():
    pace = Pace(10, images=1_000, work_seconds=10.0)
    assert pace.since_last_line(1_300, 11.0) == pytest.approx(300)
    assert pace.since_last_line(1_400, 12.0) == pytest.approx(100)


def test_tensorboard_that_is_not_installed(home: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    tensorboard.require("none")
    with pytest.raises(UsageError) as failure:
        trainer_of(steps=2, log="tensorboard").fit()
    assert failure.value.cure == 'pip install "gencli[tensorboard]"'


def test_events_of_a_resumed_training(home: Path):
    pytest.importorskip("tensorboard", reason="the extra `tensorboard` is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    def trained(run: Run | None, resume: bool, **given: Any) -> Trainer:
        trainer = trainer_of(run, log="tensorboard", log_every=1, **given)
        trainer.fit(resume=resume)
        return trainer

    first = trained(None, False, steps=4)
    first.run.release()
    trained(Run(first.run.path).locked(), True, steps=6).run.release()
    events = EventAccumulator(str(first.run.path / "tensorboard")).Reload()
    lines = [row for row in rows_of(first.run) if "loss" in row]
    assert [e.step for e in events.Scalars("loss")] == [row["step"] for row in lines]
    assert [e.value for e in events.Scalars("loss")] == pytest.approx(
        [row["loss"] for row in lines], rel=1e-6
    )
    assert {"lr", "images_per_second", "kl", "val_loss"} <= set(events.Tags()["scalars"])
