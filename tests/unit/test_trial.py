"""The largest batch that fits: found apart from the training, named where one does not fit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

import gencli
from gencli import memory, registry
from gencli.cli.app import run as command
from gencli.config import fields_of, parse_value
from gencli.errors import GencliError, UsageError
from gencli.training import trial
from gencli.training.settings import AUTO, Settings
from gencli.training.steps import Steps
from gencli.training.trial import Found, largest_batch
from tests.contract.conftest import build, small_data, tiny_data

FP32 = {"device": torch.device("cpu"), "precision": "fp32"}
TRAIN = {"hidden": (8,), "latent_dim": 2, "val": 0, "sample_every": 0, "steps": 2}


@pytest.fixture
def little(monkeypatch: pytest.MonkeyPatch) -> int:
    """Memory for 20 images at once."""
    whole = Steps._loss

    def loss(self: Steps, update: object, batch: object, step: object) -> object:
        if len(batch.images) > 20:  # type: ignore[attr-defined]
            raise RuntimeError(
                "[enforce fail at alloc_cpu.cpp:124] . DefaultCPUAllocator: not enough memory: "
                "you tried to allocate 4000000000 bytes."
            )
        return whole(self, update, batch, step)  # type: ignore[arg-type]

    monkeypatch.setattr(Steps, "_loss", loss)
    return 20


def found(**options: object) -> Found:
    spec, data = registry.find("vae"), small_data("none")
    settings = Settings(batch_size=AUTO, **options)  # type: ignore[arg-type]
    return largest_batch(build(spec, data), data, settings, **FP32)  # type: ignore[arg-type]


def test_the_largest_power_of_two_that_there_are_images_for():
    assert found() == (64, "96 are the most")
    after = torch.get_rng_state()
    build(registry.find("vae"), small_data("none"))  # the same seed
    assert (torch.get_rng_state() == after).all()


def test_what_does_not_fit(little: int):
    assert found() == (16, "twice as many do not fit in memory")
    assert found(grad_accumulation=2) == (32, "twice as many do not fit in memory")


def test_nothing_fits(monkeypatch: pytest.MonkeyPatch):
    def none(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(Steps, "_loss", none)
    with pytest.raises(GencliError, match="not enough memory for a batch of 2 images"):
        found()


def test_a_cpu_is_never_filled(monkeypatch: pytest.MonkeyPatch):
    used = iter([100, 130, 130, 190, 190, 300])
    monkeypatch.setattr(memory, "peak", lambda *, anew=False: next(used))
    monkeypatch.setattr(memory, "physical", lambda: 500)
    assert found() == (64, "96 are the most")
    used = iter([100, 180])
    assert found() == (32, "twice as many might not fit in memory")
    monkeypatch.setattr(trial, "_PATIENCE", 0.0)
    monkeypatch.setattr(memory, "peak", lambda *, anew=False: None)
    assert found() == (64, "trying more would take long")


def test_the_most_memory_that_was_had():
    low = memory.peak(anew=True)
    if low is None:
        pytest.skip("the system does not say")
    block = torch.ones(50_000_000)
    high = memory.peak()
    assert high is not None
    assert high - low > 0.9 * block.nbytes


def test_auto_is_a_number_in_the_record(home: Path, image_folder: Path):
    run = gencli.train("vae", data=str(image_folder), batch_size="auto", **TRAIN)
    n = run.run.record["settings"]["batch_size"]
    assert n == 64
    again = gencli.train("vae", data=str(image_folder), batch_size=n, **TRAIN)
    ours, theirs = (r.model.state_dict() for r in (run, again))
    assert all((t == theirs[name]).all() for name, t in ours.items())


def test_too_large_a_batch_names_one_that_fits(
    home: Path, image_folder: Path, little: int, capsys: pytest.CaptureFixture[str]
):
    train = ["train", "vae", "--data", str(image_folder), "--val", "0", "--steps", "1"]
    assert command([*train, "--hidden", "8", "--batch-size", "60", "-q"]) == 1
    problem, cure = capsys.readouterr().err.splitlines()
    assert problem == "error: There is not enough memory for 4.0 GB, with 60 images a batch."
    assert cure == "  try: This fits: --batch-size 16, or --grad-accumulation 4."
    assert command([*train, "--hidden", "8", "--batch-size", "16", "-q"]) == 0


def test_words_stand_for_numbers():
    (field,) = (f for f in fields_of(Settings) if f.name == "batch_size")
    assert parse_value(field, "auto") == AUTO
    assert parse_value(field, "12") == 12
    for wrong, cure in (("0", "at least 1"), ("many", "a whole number or auto")):
        with pytest.raises(UsageError) as refused:
            parse_value(field, wrong)
        assert cure in refused.value.cure


@pytest.mark.slow
@pytest.mark.parametrize("name", [spec.name for spec in registry.MODELS])
def test_every_model_can_be_tried(name: str):
    spec = registry.find(name)
    data = tiny_data(spec)
    data = replace(data, train=data.train.rows(slice(0, 40)))
    model = build(spec, data)
    before = {key: t.clone() for key, t in model.state_dict().items()}
    assert largest_batch(model, data, Settings(), **FP32).size == 32  # type: ignore[arg-type]
    after = model.state_dict()
    assert all(torch.equal(t, after[key]) for key, t in before.items())
