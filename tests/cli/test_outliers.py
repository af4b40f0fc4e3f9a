"""`gencli evaluate RUN --outliers`: figures, a picture in the run, and what does not fit."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from tests.conftest import Gencli


@pytest.fixture(scope="module")
def run(gencli: Gencli, image_folder: Path) -> Path:
    """A small mixture on the folder's images, told their classes."""
    done = gencli(
        "train", "mixture", "--data", str(image_folder), "--components", "3", "--epochs", "3",
        "--conditional", "--name", "classes", "-q",
    )  # fmt: skip
    return Path(done.stdout.strip())


def test_figures_and_a_picture(gencli: Gencli, run: Path) -> None:
    done = gencli("evaluate", "classes", "--outliers", "noise", "--n", "50", "--json")
    document = json.loads(done.stdout)
    assert list(document["metrics"]) == ["auroc_likelihood", "auroc_complexity", "auroc_typicality"]
    for metric in document["metrics"].values():
        assert metric["value"] > 0.9
        assert metric["kind"] == "exact"
        assert "noise" in metric["unit"]
    assert document["outliers"]["name"] == "noise"
    picture = Path(document["outliers"]["picture"])
    assert picture.parent == run / "outputs"
    assert str(picture) in done.stderr
    with Image.open(picture) as image:
        assert image.mode == "RGB"
    (kept,) = (json.loads(file.read_text()) for file in (run / "evaluations").iterdir())
    assert kept["outliers"] == document["outliers"]
    assert "auroc_likelihood@noise" in gencli("info", "classes").stdout


@pytest.mark.slow
def test_with_other_figures_and_the_folder_itself(
    gencli: Gencli, run: Path, image_folder: Path
) -> None:
    done = gencli(
        "evaluate", "classes", "--outliers", str(image_folder), "--metrics", "nll,bayes_accuracy",
        "--json",
    )  # fmt: skip
    document = json.loads(done.stdout)
    assert list(document["metrics"])[:2] == ["nll", "bayes_accuracy"]
    assert document["outliers"]["name"] == str(image_folder.resolve())
    assert document["metrics"]["bayes_accuracy"]["value"] > 0.8
    assert 0.1 < document["metrics"]["auroc_likelihood"]["value"] < 0.9
    again = json.loads(gencli("evaluate", "classes", "--outliers", "shuffled", "--json").stdout)
    assert again["outliers"]["picture"] != document["outliers"]["picture"]


def test_what_does_not_fit(gencli: Gencli, run: Path) -> None:
    done = gencli("evaluate", "classes", "--metrics", "auroc_typicality", expect=2)
    assert "--outliers" in done.stderr
    done = gencli("evaluate", "classes", "--outliers", "noisy", expect=2)
    assert "no data set or folder called noisy" in done.stderr
