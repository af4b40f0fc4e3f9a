"""Stages with settings of their own: what the trainer honours of them, and what a step tells."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from gencli.config import Config
from gencli.data.order import Order
from gencli.data.spec import DataInfo
from gencli.data.splits import ImageData, Split
from gencli.data.store import ResidentStore
from gencli.errors import InterruptedRun
from gencli.models.interface import (
    NOTHING,
    Batch,
    Condition,
    GenerativeModel,
    Loss,
    Optimizer,
    Stage,
    StageSettings,
    Step,
    Update,
)
from gencli.random import ImageGenerator
from gencli.runs import Run
from gencli.training.budget import Budget
from gencli.training.metrics import Window
from gencli.training.reporter import Silent
from gencli.training.settings import Settings
from gencli.training.signals import StopRequest
from gencli.training.steps import Steps
from gencli.training.trainer import Trainer

from . import small_run

N = 24
INFO = DataInfo(1, 4, 4)
SGD = Optimizer("sgd")


class Slope(GenerativeModel):
    """One weight whose loss has the gradient `slope` everywhere; it keeps what it is shown."""

    def __init__(self, slope: float = 1.0) -> None:
        super().__init__(Config(), INFO)
        self.weight = nn.Parameter(torch.zeros(()))
        self.slope = slope
        self.sizes: list[int] = []
        self.steps: list[tuple[int, float | None]] = []

    def loss(self, batch: Batch, step: Step) -> Loss:
        self.sizes.append(len(batch.images))
        self.steps.append((step.number, step.done))
        return Loss(self.slope * self.weight)

    def stage(self, settings: StageSettings | None = None, **update: Any) -> Stage:
        one = Update("one", self.loss, (self.weight,), SGD, **update)
        return Stage("s", (one,), settings=settings or StageSettings())

    def sample(
        self, n: int, *, generator: ImageGenerator, condition: Condition = NOTHING
    ) -> Tensor:
        return torch.zeros(n, *INFO.shape)


class Staged(Slope):
    """The same with stages that a test gives it."""

    given: tuple[Stage, ...] = ()

    def stages(self) -> tuple[Stage, ...]:
        return self.given


def images() -> Split:
    return Split(torch.zeros(N, 1, 4, 4, dtype=torch.uint8), None)


def steps_of(model: Slope, stage: Stage, total: int | None = None, **given: Any) -> Steps:
    settings = Settings(**({"steps": 4, "lr": 0.5} | given))
    store, order = ResidentStore(images(), INFO, "cpu"), Order(N, 8, seed=0)
    return Steps(model, stage, store, order, settings, precision="fp32", total=total)


def trainer_of(model: GenerativeModel, **given: Any) -> Trainer:
    from gencli import new_run, runs

    record = {"model": "slope", "config": {}, "data": {"name": "flat", "fingerprint": "f"}}
    run = new_run.create("slope", "flat", record | {"created": runs.now(), "status": "done"})
    settings = Settings(**({"batch_size": 8, "lr": 0.5, "sample_every": 0} | given))
    data = ImageData("flat", INFO, images(), images(), images(), fingerprint="f")
    return Trainer(
        model, data, settings, run,
        device=torch.device("cpu"), precision="fp32", reporter=Silent(), stop=StopRequest(),
    )  # fmt: skip


def test_the_learning_rate_is_scaled_by_the_stage_and_the_optimizer():
    model = Slope()
    stage = model.stage(StageSettings(lr_scale=0.1))
    (update,) = stage.updates
    stage = replace(stage, updates=(replace(update, optimizer=Optimizer("sgd", lr_scale=2.0)),))
    steps_of(model, stage).take(0, Window())
    assert model.weight.item() == pytest.approx(-0.5 * 0.1 * 2.0)


@pytest.mark.parametrize(
    ("of_the_run", "of_the_update", "moved"),
    [(None, None, 10.0), (None, 2.0, 2.0), (3.0, None, 3.0), (3.0, 2.0, 3.0), (0.0, 2.0, 10.0)],
)
def test_the_runs_clip_norm_wins_over_the_updates(
    of_the_run: float | None, of_the_update: float | None, moved: float
):
    model = Slope(slope=10.0)
    stage = model.stage(clip_norm=of_the_update)
    steps_of(model, stage, clip_norm=of_the_run, lr=1.0).take(0, Window())
    assert -model.weight.item() == pytest.approx(moved, rel=1e-4)


@pytest.mark.parametrize(("own", "decay"), [(None, 0.9), (0.5, 0.5), (0.0, None)])
def test_the_average_is_the_stages_own(own: float | None, decay: float | None):
    model = Slope()
    steps = steps_of(model, model.stage(StageSettings(ema_decay=own), ema=True), ema_decay=0.9)
    assert (steps.ema.decay if steps.ema else None) == decay


def test_a_step_tells_its_number_and_the_part_that_is_done():
    model = Slope()
    steps = steps_of(model, model.stage(), total=4)
    for number in range(4):
        steps.take(number, Window())
    assert model.steps == [(0, 0.0), (1, 0.25), (2, 0.5), (3, 0.75)]
    timed = Slope()
    steps_of(timed, timed.stage()).take(7, Window())
    assert timed.steps == [(7, None)]


def test_updates_hand_on_within_a_step_and_no_further():
    model, met = Slope(), []

    def first(batch: Batch, step: Step) -> Loss:
        met.append(dict(step.shared))
        step.shared["images"] = batch.images + step.number
        return Loss(model.weight)

    def second(batch: Batch, step: Step) -> Loss:
        met.append(dict(step.shared))
        return Loss(model.weight)

    stage = Stage("s", tuple(Update(f.__name__, f, (model.weight,)) for f in (first, second)))
    steps = steps_of(model, stage)
    steps.take(0, Window())
    steps.take(1, Window())
    assert [sorted(shared) for shared in met] == [[], ["images"], [], ["images"]]
    assert (met[3]["images"] == 1).all()


def lengths(settings: Settings, *stages: StageSettings, sizes: tuple[int, ...] = ()) -> list[Any]:
    model = Slope()
    made = tuple(model.stage(s) for s in stages)
    budget = Budget(settings, made, N, sizes or tuple(8 for _ in stages))
    return [budget.steps(i) for i in range(len(stages))]


def test_stages_share_the_run_by_their_shares():
    thrice, once = StageSettings(share=3.0), StageSettings()
    assert lengths(Settings(epochs=8), thrice, once) == [18, 6]
    assert lengths(Settings(steps=8), thrice, once) == [6, 2]


def test_a_stages_own_epochs_come_out_of_the_runs():
    own, rest = StageSettings(epochs=2), StageSettings()
    assert lengths(Settings(epochs=8), own, rest) == [6, 18]
    assert lengths(Settings(epochs=8), rest, own) == [18, 6]
    assert lengths(Settings(epochs=1), own, rest) == [3, 0]  # never longer than the run
    assert lengths(Settings(steps=10), own, rest) == [6, 4]


def test_a_stages_own_batch_size_makes_its_epochs_longer():
    assert lengths(Settings(epochs=2), StageSettings(), StageSettings(), sizes=(8, 4)) == [3, 6]


def test_the_trainer_honours_batch_size_and_epochs_of_each_stage(home: Path):
    model = Staged()
    small = model.stage(StageSettings(batch_size=4, epochs=1))
    model.given = (small, replace(model.stage(), name="t"))
    trainer_of(model, epochs=3).fit()
    assert model.sizes == [4] * 6 + [8] * 6
    assert [number for number, _ in model.steps] == [*range(6), *range(6)]


def test_a_stages_own_validation_selects_and_its_own_preview_is_drawn(home: Path):
    model, previews = Staged(), []

    def preview(n: int, generator: ImageGenerator, condition: Condition) -> Tensor:
        assert len(generator) == n
        previews.append(n)
        return torch.ones(n, *INFO.shape)

    def validate(batch: Batch) -> Tensor:
        return (model.weight + 1.0).abs().expand(len(batch.images))  # least at -1

    stage = replace(model.stage(), validate=validate, preview=preview)
    model.given = (stage,)
    trainer = trainer_of(model, epochs=4, lr=0.125, sample_every=1)
    state = trainer.fit()  # epochs of 3 steps: -0.375, -0.75, -1.125, -1.5
    assert previews == [64] * 4
    assert state.best_step == 9
    assert state.best_value == pytest.approx(0.125)
    trainer.run.release()
    assert Run(trainer.run.path).checkpoint("best").step == 9


def test_without_a_figure_nothing_is_selected(home: Path):
    model = Staged()
    model.given = (model.stage(),)
    assert trainer_of(model, epochs=1).fit().best_step is None


@pytest.mark.parametrize("after", [4, 5])
def test_a_stop_in_the_last_step_finds_all_done(after: int) -> None:
    trainer = small_run.trainer_of(steps=5)
    trainer.stop = StopRequest(after)
    if after < 5:
        with pytest.raises(InterruptedRun, match="checkpoint of"):
            trainer.fit()
    else:
        trainer.fit()
    assert trainer.run.checkpoint().step == after
