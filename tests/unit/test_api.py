"""The commands' functions in Python."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

import gencli
from gencli import arguments
from gencli.data.spec import DataInfo
from gencli.errors import UsageError
from gencli.loaded import LoadedModel

from . import small_run

IMAGES = torch.rand(2, 1, 28, 28, generator=torch.Generator().manual_seed(0))


def test_dir_shows_what_there_is_to_call() -> None:
    assert {"train", "load", "evaluate", "list_runs"} <= set(dir(gencli))
    assert all(callable(getattr(gencli, name)) for name in dir(gencli))


def test_a_training_in_python(home: Path, image_folder: Path) -> None:
    model = gencli.train(
        "vae", name="small", data=str(image_folder), epochs=1, hidden=(8,), latent_dim=2
    )
    assert repr(model).startswith("<vae small, step ")
    assert len(repr(model)) < 100
    assert [run.name for run in gencli.list_runs()] == ["small"]
    walk = model.interpolate(5, seed=3)
    assert walk.shape == (5, 1, 28, 28)
    ends = model.decode(model.sample_latent(2, seed=3))
    torch.testing.assert_close(walk[[0, 4]], ends)
    found = gencli.evaluate("small", metrics=["nll_bound"])
    assert found == model.evaluate(metrics=["nll_bound"])
    assert found == gencli.evaluate("small", metrics="nll_bound")
    assert found == gencli.evaluate("small", metrics={"nll_bound"})  # which JSON has no form for
    assert found["nll_bound"].kind == "bound"
    shown = r"<[\d.]+ ± [\d.]+ nats per image \(cross-entropy\), bound, \d+ images>"
    assert re.fullmatch(shown, repr(found["nll_bound"]))
    (table,) = gencli.compare("small")
    assert repr(table).startswith("<1 run on images")
    assert repr(table).endswith("test split: nll_bound (bound)>")
    head, row = str(table).splitlines()
    assert head.split() == ["run", "nll_bound", "(bound)", "differs"]
    assert row.split()[:2] == ["small", f"{found['nll_bound'].value:.5g}"]
    with pytest.raises(UsageError, match="no option n_images"):
        gencli.evaluate("small", n_images=3)
    with pytest.raises(UsageError, match="no exact likelihood"):
        model.log_prob(walk)


def test_exact_likelihoods_and_options_in_python(home: Path, image_folder: Path) -> None:
    model = gencli.train(
        "made", data=str(image_folder), binarize="threshold", steps=2, hidden=[8], batch_size=20
    )
    images = model.sample(3, temperature=0.5)
    assert model.log_prob(images).shape == (3,)
    with pytest.raises(UsageError, match="--steps"):
        model.sample(3, steps=4)
    with pytest.raises(UsageError, match="no option latent_dim"):
        gencli.train("made", latent_dim=3)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    """A small VAE that was never trained."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GENCLI_HOME", str(tmp_path_factory.mktemp("home")))
        trainer = small_run.trainer_of()
    return LoadedModel(trainer.model.eval(), trainer.run, "raw", 0)


@pytest.mark.parametrize(
    ("call", "problem"),
    [
        (lambda m: m.sample(0), "n cannot be 0"),
        (lambda m: m.sample("4"), "n cannot be '4'"),
        (lambda m: m.sample(2.5), "n cannot be 2.5"),
        (lambda m: m.sample(2, seed=None), "seed cannot be None"),
        (lambda m: m.sample(2, batch_size=0), "batch_size cannot be 0"),
        (lambda m: m.sample(2, condition=3), "3 is no condition"),
        (lambda m: m.sample_latent(-1), "n cannot be -1"),
        (lambda m: m.interpolate(1), "points cannot be 1"),
        (lambda m: m.decode(torch.zeros(2, 3)), r"Latents of the shape \(2, 3\) do not fit"),
        (lambda m: m.decode(torch.zeros(2)), r"Latents of the shape \(2,\) do not fit"),
        (lambda m: m.decode("x"), "Latents cannot be made of a str"),
        (lambda m: m.encode(IMAGES[0]), "Images of the shape"),
        (lambda m: m.encode(IMAGES.expand(-1, 3, -1, -1)), "Images of the shape"),
        (lambda m: m.encode((255 * IMAGES).byte()), "pixels of 0 to 255"),
        (lambda m: m.encode(2 * IMAGES), r"outside of \[0, 1\]"),
        (lambda m: m.encode(IMAGES * float("nan")), "or no number"),
    ],
)
def test_what_does_not_fit_is_said(
    model: LoadedModel, call: Callable[[LoadedModel], object], problem: str
) -> None:
    with pytest.raises(UsageError, match=problem):
        call(model)


def test_arrays_and_other_types_of_numbers_are_taken(model: LoadedModel) -> None:
    z = model.encode(IMAGES)
    assert torch.equal(z, model.encode(IMAGES.numpy()))
    assert torch.equal(model.decode(z), model.decode(z.double()))
    assert torch.equal(model.decode(z), model.decode(z.tolist()))
    assert torch.equal(model.sample(2, seed=np.int64(3)), model.sample(2, seed=3))


def test_grey_images_have_no_probability_under_a_model_of_zeros_and_ones() -> None:
    info = DataInfo(1, 2, 2, binarization="dynamic")
    grey = torch.full((1, 1, 2, 2), 0.3)
    with pytest.raises(UsageError, match="grey values"):
        arguments.images(grey, info, torch.device("cpu"), exactly_binary=True)
    assert torch.equal(arguments.images(grey, info, torch.device("cpu")), grey)


def test_a_run_is_found_by_a_path(home: Path) -> None:
    run = small_run.small_run()
    assert gencli.load(run.path).step == 5
    with pytest.raises(TypeError, match="NoneType"):
        gencli.load(None)
