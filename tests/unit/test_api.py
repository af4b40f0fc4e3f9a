"""The commands' functions in Python."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

import gencli
from gencli.errors import UsageError


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
