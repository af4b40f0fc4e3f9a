"""Weights in shards are trained as whole ones are, and a checkpoint does not show which it was."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from gencli import registry
from gencli.errors import UsageError
from gencli.processes import Processes
from gencli.runs import Run
from gencli.training.settings import Settings
from gencli.training.weights import blocks, check_shards
from tests.unit.together import data_of, model_of, train_all

SHARED = {"ema_decay": 0.9, "steps": 4, "clip_norm": 1.0, "sample_every": 1}


def compared(model: str) -> list[list[Any]]:
    """Two processes with whole weights, and with shards."""
    return [
        [f"{model}-whole", model, 2, SHARED],
        [f"{model}-shards", model, 2, SHARED | {"shard": True}],
    ]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("home")
    shards = SHARED | {"shard": True}
    again = [["t-again", "transformer", 2, shards | {"steps": n}] for n in (2, 4)]
    train_all(
        [*compared("transformer"), *again, ["t-again", "transformer", 1, {"steps": 6}]], folder
    )
    return folder


def tensors(home: Path, run: str, part: str) -> dict[str, Tensor]:
    return Run(home / "runs" / run).checkpoint().tensors(f"{part}.safetensors")


def told(home: Path, name: str, rank: int) -> dict[str, Any]:
    return json.loads((home / f"{name}-{rank}.json").read_text())


def assert_alike(home: Path, model: str) -> None:
    """To rounding: the sums are made in another order."""
    for part in ("model", "trainer"):
        whole, shards = (tensors(home, f"{model}-{how}", part) for how in ("whole", "shards"))
        assert list(whole) == list(shards)
        for name, tensor in whole.items():
            torch.testing.assert_close(
                shards[name],
                tensor,
                atol=1e-6,
                rtol=1e-5,
                msg=lambda told, name=name: f"{name}: {told}",
            )


def test_shards_are_trained_as_whole_weights_are(home: Path):
    assert_alike(home, "transformer")
    assert (home / "runs" / "transformer-shards" / "samples" / "step-00000004.png").is_file()


def test_each_process_keeps_its_part(home: Path):
    n = sum(t.numel() for t in model_of("transformer", data_of("transformer")).parameters())
    kept = [told(home, "transformer-shards", rank)["kept"] for rank in (0, 1)]
    assert sum(kept) == n
    assert max(kept) < 0.6 * n
    assert [told(home, "transformer-whole", rank)["kept"] for rank in (0, 1)] == [n, n]


@pytest.mark.reliability("exact resumes")
def test_resuming_shards_is_exact(home: Path):
    for part in ("model", "trainer"):
        file = Path("checkpoints") / "step-00000004" / f"{part}.safetensors"
        once, again = (home / "runs" / name for name in ("transformer-shards", "t-again"))
        assert (once / file).read_bytes() == (again / file).read_bytes()


def test_one_process_goes_on_with_what_was_in_shards(home: Path):
    assert Run(home / "runs" / "t-again").checkpoint().step == 6


@pytest.mark.slow
def test_and_so_it_is_for_all_models_of_one_update(tmp_path: Path):
    models = {s.name: model_of(s.name, data_of(s.name)) for s in registry.MODELS}
    names = [
        name for name, model in models.items() if all(len(s.updates) == 1 for s in model.stages())
    ]
    assert len(names) > 15
    for i in range(4):  # each has its time limit
        train_all([job for name in names[i::4] for job in compared(name)], tmp_path)
    for name in names:
        assert_alike(tmp_path, name)


class Two(Processes):
    rank, world = 0, 2


@pytest.mark.parametrize(
    ("model", "given", "processes", "problem"),
    [
        ("vae", {}, Processes(), "--shard needs several processes"),
        ("vae", {"compile": True}, Two(), "--shard and --compile do not go together"),
        ("dcgan", {}, Two(), "one network's work in each step"),
    ],
)
def test_what_cannot_be_split_is_refused(
    model: str, given: dict[str, Any], processes: Processes, problem: str
):
    network = model_of(model, data_of(model))
    check_shards(network, Settings(**given), processes)
    with pytest.raises(UsageError, match=problem):
        check_shards(network, Settings(shard=True, **given), processes)


@pytest.mark.parametrize("model", ["ddpm", "transformer", "pixelcnn"])
def test_blocks_hold_most_weights_of_deep_networks(model: str):
    spec = registry.find(model)
    network = spec.load()(spec.options()(), data_of(model).info)
    inside = sum(p.numel() for block in blocks(network) for p in block.parameters())
    assert inside > 0.5 * sum(p.numel() for p in network.parameters())
