"""Training again by the same command gives the same weights, to the last bit."""

from __future__ import annotations

from pathlib import Path

import pytest
from safetensors.torch import load_file

from tests.conftest import Gencli


@pytest.mark.parametrize(
    ("model", "options"),
    [
        ("rbm", ("--hidden", "40", "--k", "2")),
        ("dbn", ("--hidden", "40,50", "--k", "2")),
    ],
)
@pytest.mark.slow
def test_chains_of_draws_are_the_same(
    gencli: Gencli, image_folder: Path, model: str, options: tuple[str, ...]
) -> None:
    training = ("--data", str(image_folder), "--binarize", "dynamic", "--epochs", "4", "-q")
    runs = [
        Path(gencli("train", model, *options, *training, "--name", f"{model}-{i}").stdout.strip())
        for i in (1, 2)
    ]
    first, second = (load_file(next(run.rglob("model.safetensors"))) for run in runs)
    assert first.keys() == second.keys()
    assert all(first[name].equal(second[name]) for name in first)
