"""Several processes train as one does, where nothing is drawn at random, and agree in all else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor

from gencli import registry
from gencli.cli.app import run as command
from gencli.data.order import Order
from gencli.data.store import ResidentStore
from gencli.errors import UsageError
from gencli.models.interface import Stage, Update
from gencli.place import Place, place_in
from gencli.processes import Processes
from gencli.runs import Run
from gencli.several import Several
from gencli.training.settings import Settings
from gencli.training.steps import Steps
from tests.unit.together import data_of, model_of, train_all

AGAIN = {"ema_decay": 0.9, "steps": 2}
AND_AGAIN = {"ema_decay": 0.9, "steps": 4}


def compared(model: str) -> list[list[Any]]:
    """One process, several, and one in pieces."""
    pieces = {"grad_accumulation": 2}
    return [
        [f"{model}-one", model, 1, {}],
        [f"{model}-more", model, 3 if model == "nade" else 2, {}],
        [f"{model}-pieces", model, 1, pieces],
    ]


def resumed(model: str) -> list[list[Any]]:
    return [
        [f"{model}-once", model, 2, AND_AGAIN],
        [f"{model}-again", model, 2, AGAIN],
        [f"{model}-again", model, 2, AND_AGAIN],
    ]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("home")
    jobs = [*compared("nade"), *compared("mixture"), *resumed("rbm")]
    jobs += [["rbm-again", "rbm", 1, {"steps": 5}], ["rbm-again", "rbm", 2, {"steps": 6}]]
    train_all(jobs, folder)
    return folder


@pytest.fixture(scope="module")
def slow_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("home")
    jobs = [job for model in ("fvsbn", "made", "pixelcnn", "ppca") for job in compared(model)]
    train_all([*jobs, *resumed("dcgan")], folder)
    return folder


def run_of(home: Path, name: str) -> Run:
    return Run(home / "runs" / name)


def losses(run: Run) -> list[float]:
    rows = [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]
    return [row.get("loss", row.get("val_loss")) for row in rows]


def weights(run: Run) -> dict[str, Tensor]:
    return run.checkpoint().tensors("model.safetensors")


def told(home: Path, name: str, rank: int) -> dict[str, Any]:
    return json.loads((home / f"{name}-{rank}.json").read_text())


def assert_equal_losses(home: Path, model: str) -> None:
    one = run_of(home, f"{model}-one")
    expected, parameters = losses(one), weights(one)
    assert len(expected) > 4
    for how in ("more", "pieces"):
        other = run_of(home, f"{model}-{how}")
        assert losses(other) == pytest.approx(expected, rel=2e-5)
        theirs = weights(other)
        for name, tensor in parameters.items():
            assert (tensor.double() - theirs[name].double()).abs().max() < 2e-4, name
    assert told(home, f"{model}-more", 1)["weights"] == told(home, f"{model}-more", 0)["weights"]


def assert_exact_resume(home: Path, model: str) -> None:
    once, again = run_of(home, f"{model}-once"), run_of(home, f"{model}-again")
    for part in ("model", "trainer"):
        file = Path("checkpoints") / "step-00000004" / f"{part}.safetensors"
        assert (once.path / file).read_bytes() == (again.path / file).read_bytes()
    assert told(home, f"{model}-once", 1)["weights"] == told(home, f"{model}-once", 0)["weights"]


@pytest.mark.parametrize("model", ["nade", "mixture"])
def test_processes_and_pieces_give_the_losses_of_one(home: Path, model: str):
    assert_equal_losses(home, model)


@pytest.mark.slow
@pytest.mark.parametrize("model", ["fvsbn", "made", "pixelcnn", "ppca"])
def test_and_so_they_do_for_other_models(slow_home: Path, model: str):
    assert_equal_losses(slow_home, model)


@pytest.mark.reliability("exact resumes")
def test_resuming_with_as_many_processes_is_exact(home: Path):
    assert_exact_resume(home, "rbm")


@pytest.mark.slow
@pytest.mark.reliability("exact resumes")
def test_and_so_it_is_with_batch_normalisation_and_two_updates(slow_home: Path):
    assert_exact_resume(slow_home, "dcgan")


@pytest.mark.slow
def test_all_models_have_the_same_weights_in_all_processes(tmp_path: Path):
    names = [spec.name for spec in registry.MODELS]
    train_all([[f"{name}-two", name, 2, {"steps": 4}] for name in names], tmp_path)
    for name in names:
        first, second = (told(tmp_path, f"{name}-two", rank)["weights"] for rank in (0, 1))
        assert first == second, name


def test_chains_and_random_numbers_are_each_process_s_own(home: Path):
    last = run_of(home, "rbm-once").checkpoint()
    trainer = last.tensors("trainer.safetensors")
    chain = last.tensors("model.safetensors")["chain"]
    assert (trainer["process/1/chain/chain"] != chain).any()
    assert (trainer["process/1/random/cpu"] != trainer["random/cpu"]).any()


def test_resuming_with_another_number_of_processes_says_so(home: Path):
    assert {4, 5, 6} <= {c.step for c in run_of(home, "rbm-again").checkpoints()}
    assert any("1 before and 2 now" in line for line in told(home, "rbm-again", 0)["messages"])
    assert not told(home, "rbm-once", 0)["messages"]


WHOLE = {
    **{"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2"},
    **{"MASTER_ADDR": "here", "MASTER_PORT": "1"},
}


@pytest.mark.parametrize(
    ("environment", "place"),
    [
        ({}, Place()),
        ({"WORLD_SIZE": "1"}, Place()),
        ({"WORLD_SIZE": "1", "RANK": "0"}, Place()),
        (WHOLE, Place(1, 2, 1, 2)),
        (WHOLE | {"TORCHELASTIC_RESTART_COUNT": "3"}, Place(1, 2, 1, 2, attempt=3)),
    ],
)
def test_the_place_is_what_torchrun_says(environment: dict[str, str], place: Place):
    assert place_in(environment) == place


@pytest.mark.parametrize(
    ("environment", "problem"),
    [
        ({"WORLD_SIZE": "2"}, "has WORLD_SIZE, but not RANK, LOCAL_RANK"),
        ({"RANK": "0"}, "WORLD_SIZE"),
        (WHOLE | {"RANK": "2"}, "no process 2 of 2"),
        (WHOLE | {"RANK": "x"}, "RANK cannot be 'x'"),
    ],
)
def test_half_an_environment_is_refused(environment: dict[str, str], problem: str):
    with pytest.raises(UsageError, match=problem):
        place_in(environment)


@pytest.mark.parametrize(
    ("environment", "arguments", "problem"),
    [
        ({"WORLD_SIZE": "2"}, ["train", "vae"], "error: The environment has WORLD_SIZE, but not"),
        (WHOLE | {"RANK": "0"}, ["report", "vae"], "error: report is for one process."),
        (
            WHOLE | {"RANK": "0"},
            ["sample", "vae", "--complete", "test:0"],
            "error: --complete is for one process.",
        ),
    ],
)
def test_what_the_command_says(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    environment: dict[str, str],
    arguments: list[str],
    problem: str,
):
    for name, value in (environment | {"GENCLI_HOME": str(tmp_path)}).items():
        monkeypatch.setenv(name, value)
    assert command(arguments) == 2
    assert problem in capsys.readouterr().err


@pytest.mark.parametrize("rank", ["0", "1"])
def test_who_is_silent_lets_the_first_speak(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], home: Path, rank: str
):
    for name, value in (WHOLE | {"RANK": rank, "LOCAL_RANK": rank}).items():
        monkeypatch.setenv(name, value)
    waited: list[float] = []
    monkeypatch.setattr("gencli.cli.app.time.sleep", waited.append)
    assert command(["report", "vae"]) == 2  # which torchrun would answer by ending the other
    assert waited == ([] if rank == "0" else [30])
    assert ("error: " in capsys.readouterr().err) == (rank == "0")


class Two(Processes):
    rank, world = 0, 2


def steps_of(stage: Stage, batch_size: int, **given: Any) -> Steps:
    data = data_of("nade")
    store = ResidentStore(data.train, data.info, "cpu")
    order = Order(len(store), batch_size, seed=0)
    settings = Settings(steps=1, **given)
    model = model_of("nade", data)
    return Steps(model, stage, store, order, settings, precision="fp32", total=1, processes=Two())


def test_a_batch_has_two_images_for_each_part():
    stage = model_of("nade", data_of("nade")).stages()[0]
    steps_of(stage, 8, grad_accumulation=2)
    with pytest.raises(UsageError, match="8 images is too small for 6 parts"):
        steps_of(stage, 8, grad_accumulation=3)


def test_sums_that_a_model_does_not_name_are_refused():
    model = model_of("nade", data_of("nade"))
    stage = Stage("sums", (Update("sum", model.loss, (), None),))
    with pytest.raises(UsageError, match="does not say which of its buffers are sums"):
        steps_of(stage, 8)


@pytest.mark.parametrize("device", ["mps", "cuda:0"])
def test_processes_cannot_share_a_device(device: str):
    with pytest.raises(UsageError, match="2 processes cannot share the device"):
        Several(Place(0, 2, 0, 2)).device(device)


@pytest.mark.parametrize("world", ["1", "2"])
def test_a_command_ends_at_once(world: str) -> None:
    """With threads of torch's collectives alive, what an interpreter does at its end may abort."""
    code = (
        "import atexit; atexit.register(print, 'at exit')\n"
        "from gencli.__main__ import leave\nprint('flushed', end=' ')\nleave(3)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"WORLD_SIZE": world}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 3
    assert done.stdout.split() == ["flushed"]
