"""`train --init-from`: another run's weights, where they fit, and nothing undoes them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

import gencli
from gencli.cli.app import run as command

SMALL = {"batch_size": 20, "sample_every": 0, "val": 0}
VAE = {"hidden": (8,), "latent_dim": 2, **SMALL}


def weights(model: gencli.LoadedModel) -> dict[str, torch.Tensor]:
    return {name: t.clone() for name, t in model.model.state_dict().items()}


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(t.equal(b[name]) for name, t in a.items())


def test_all_weights_are_taken_over(home: Path, image_folder: Path):
    data = str(image_folder)
    first = gencli.train("vae", name="first", data=data, steps=3, **VAE)
    second = gencli.train("vae", init_from="first", data=data, steps=1, lr=0.0, seed=7, **VAE)
    assert same(weights(first), weights(second))
    kept = second.run.record["init_from"]
    assert kept["run"] == str(first.run.path)
    assert set(kept["tensors"]) == set(weights(first))


def test_what_does_not_fit_begins_anew_and_is_listed(
    home: Path, image_folder: Path, capsys: pytest.CaptureFixture[str]
):
    data = str(image_folder)
    first = gencli.train("vae", name="first", data=data, steps=3, **VAE)
    arguments = ["--data", data, "--hidden", "8", "--latent-dim", "3", "--steps", "1", "--lr", "0"]
    arguments += ["--batch-size", "20", "--val", "0", "--sample-every", "0", "--name", "second"]
    assert command(["train", "vae", "--init-from", "first", *arguments]) == 0
    told = capsys.readouterr().err
    second = gencli.load("second")
    before, after = weights(first), weights(second)
    fits = [name for name in after if before[name].shape == after[name].shape]
    assert f"begun with {len(fits)} of {len(after)} tensors of {first.run.path}" in told
    assert " there, " in told
    assert 0 < len(fits) < len(after)
    assert all(before[name].equal(after[name]) for name in fits)


def test_a_start_from_the_data_does_not_undo_it(home: Path, image_folder: Path):
    data = str(image_folder)
    first = gencli.train("fvsbn", name="first", data=data, steps=20, lr=0.1, **SMALL)
    assert first.model.stages()[0].start is not None  # sets output biases to the base rates
    second = gencli.train("fvsbn", init_from="first", data=data, steps=1, lr=0.0, **SMALL)
    assert same(weights(first), weights(second))


def test_it_resumes_bit_for_bit(home: Path, image_folder: Path):
    data = str(image_folder)
    gencli.train("fvsbn", name="first", data=data, steps=5, **SMALL)
    whole = gencli.train("fvsbn", init_from="first", data=data, steps=8, **SMALL)
    gencli.train("fvsbn", name="part", init_from="first", data=data, steps=4, **SMALL)
    assert command(["train", "fvsbn", "--resume", "part", "--steps", "8", "-q"]) == 0
    assert same(weights(whole), weights(gencli.load("part")))


def test_refusals(home: Path, image_folder: Path, capsys: pytest.CaptureFixture[str]):
    data = str(image_folder)
    gencli.train("vae", name="first", data=data, steps=1, **VAE)
    assert command(["train", "mixture", "--init-from", "first", "--data", data]) == 2
    assert "None of the weights of first fits" in capsys.readouterr().err
    assert command(["train", "vae", "--init-from", "nothing", "--data", data]) == 4
    assert command(["train", "vae", "--init-from", "first", "--resume", "first"]) == 2


def test_a_run_without_a_checkpoint_begins_again_with_the_same_weights(
    home: Path, image_folder: Path
):
    data = str(image_folder)
    first = gencli.train("vae", name="first", data=data, steps=3, **VAE)
    second = gencli.train(
        "vae", name="second", init_from="first", data=data, steps=1, lr=0.0, seed=7, **VAE
    )
    shutil.rmtree(second.run.path / "checkpoints")
    assert command(["train", "vae", "--resume", "second", "-q"]) == 0
    assert same(weights(first), weights(gencli.load("second")))
