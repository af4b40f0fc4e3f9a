"""Training 2N steps equals N steps, a stop, and N more, bit for bit, for every model."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch

from gencli import new_run, registry, runs
from gencli.data.splits import ImageData
from gencli.errors import InterruptedRun
from gencli.registry import ModelSpec
from gencli.runs import Run
from gencli.training.checkpoint import load_model
from gencli.training.reporter import Silent
from gencli.training.settings import resolve
from gencli.training.signals import StopRequest
from gencli.training.trainer import Trainer

from .conftest import build

STEPS = 7
"""Of each stage: two epochs of three batches, and one batch."""

BF16 = {"vae", "gan", "ddpm", "rbm", "dbn", "made"}
"""One model of each family, with two updates, chains, stages and masks; the rest takes longer."""


class StopAfter(StopRequest):
    """Asks for a stop after so many steps of one session."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        self._left = steps

    @property
    def requested(self) -> bool:
        self._left -= 1
        if self._left == 0:
            self.request()
        return self._left <= 0


def train(
    spec: ModelSpec,
    data: ImageData,
    *,
    run: Run | None = None,
    stop_after: int = 10_000,
    precision: str = "fp32",
    **given: Any,
) -> Run:
    training = spec.options().training
    values = {"batch_size": 32, "log_every": 4, "ema_decay": 0.9, "sample_every": 0} | given
    settings = resolve(values, training)
    resume = run is not None
    if run is None:
        run = new_run.create(spec.name, "glyphs", record(spec, data, precision))
    trainer = Trainer(
        build(spec, data), data, settings, run, device=torch.device("cpu"), precision=precision,
        reporter=Silent(), stop=StopAfter(stop_after),
    )  # fmt: skip
    trainer.fit(resume=resume)
    return run


def record(spec: ModelSpec, data: ImageData, precision: str) -> dict[str, Any]:
    about = {"model": spec.name, "created": runs.now(), "status": "done", "precision": precision}
    source = {"name": "glyphs", "fingerprint": "small", "info": asdict(data.info)}
    return about | {"config": {}, "settings": {}, "data": source}


def contents(run: Run) -> dict[str, bytes]:
    last = run.checkpoint("last")
    return {n: (last.path / n).read_bytes() for n in ("model.safetensors", "trainer.safetensors")}


def metrics(run: Run) -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]
    return [
        {k: v for k, v in row.items() if k not in ("images_per_second", "time")} for row in rows
    ]


@pytest.fixture(autouse=True)
def _home(home: Path) -> None:
    """Every test writes into a fresh home."""


@pytest.fixture(autouse=True)
def _few_temperatures(spec: ModelSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each validation of a Boltzmann machine estimates log Z; here it need not be near."""
    estimate = getattr(spec.load(), "log_partition", None)
    if estimate is not None:
        monkeypatch.setattr(estimate, "__kwdefaults__", {"chains": 8, "temperatures": 10})


@pytest.fixture(scope="module")
def trained() -> dict[str, Run]:
    """What `whole` has trained so far."""
    return {}


@pytest.fixture
def whole(spec: ModelSpec, data: ImageData, trained: dict[str, Run]) -> Run:
    """One uninterrupted training of each model, for all tests."""
    if spec.name not in trained:
        trained[spec.name] = uninterrupted(spec, data)
    return trained[spec.name]


def total(spec: ModelSpec, data: ImageData) -> int:
    return STEPS * len(build(spec, data).stages())


def uninterrupted(spec: ModelSpec, data: ImageData) -> Run:
    return train(spec, data, steps=total(spec, data), lr_schedule="cosine")


@pytest.mark.reliability("exact resumes")
def test_interrupted_and_resumed_equals_uninterrupted(spec: ModelSpec, data: ImageData, whole: Run):
    steps = total(spec, data)
    # amid an epoch and the steps of a line of the log; and of a later stage where there are several
    for stop in {5, steps - 2}:
        with pytest.raises(InterruptedRun):
            train(spec, data, steps=steps, lr_schedule="cosine", stop_after=stop)
        parted = runs.all_runs()[0]
        assert parted.checkpoints()[-1].step == stop
        train(spec, data, steps=steps, lr_schedule="cosine", run=parted)
        assert parted.path != whole.path
        assert contents(parted) == contents(whole)
        assert metrics(parted) == metrics(whole)


@pytest.mark.reliability("exact resumes")
def test_a_longer_total_equals_one_long_training(spec: ModelSpec, data: ImageData, whole: Run):
    steps = total(spec, data)
    if steps > STEPS:  # a longer total moves the stages' borders; the same one changes nothing
        before = contents(whole)
        train(spec, data, steps=steps, lr_schedule="cosine", run=whole)
        assert contents(whole) == before
        return
    long = train(spec, data, epochs=2, lr_schedule="constant")
    half = train(spec, data, epochs=1, lr_schedule="constant")
    train(spec, data, epochs=2, lr_schedule="constant", run=half)
    assert contents(half) == contents(long)
    assert metrics(half) == metrics(long)


def test_a_trained_run_is_read_back_with_its_average(spec: ModelSpec, data: ImageData, whole: Run):
    model = build(spec, data)
    averaged = any(u.ema for u in model.stages()[-1].updates)
    weights = load_model(model, whole.checkpoint("last"))
    assert weights == ("ema" if averaged else "raw")


def test_previews_do_not_change_training(spec: ModelSpec, data: ImageData, whole: Run):
    steps = total(spec, data)
    previewed = train(spec, data, steps=steps, lr_schedule="cosine", sample_every=3)
    assert contents(previewed) == contents(whole)
    assert list((previewed.path / "samples").glob("step-*.png"))
    assert not list((whole.path / "samples").glob("*"))


@pytest.mark.reliability("exact resumes")
@pytest.mark.parametrize(
    "spec",
    [
        pytest.param(spec.name, marks=[pytest.mark.slow] * (spec.name not in BF16))
        for spec in registry.MODELS
    ],
    indirect=True,
)
def test_bf16_resumes_exactly_too(spec: ModelSpec, data: ImageData):
    if not spec.load().bf16:
        pytest.skip(f"{spec.name} trains in fp32 only")
    whole = train(spec, data, steps=6, precision="bf16")
    with pytest.raises(InterruptedRun):
        train(spec, data, steps=6, precision="bf16", stop_after=2)
    parted = runs.all_runs()[0]
    train(spec, data, steps=6, precision="bf16", run=parted)
    assert contents(parted) == contents(whole)
