"""A folder that is not what the run was trained on: its splits are others, so nothing is read."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.conftest import Gencli

CURE = "Put the files back as they were, or train again."


@pytest.fixture(scope="module")
def changed(
    gencli: Gencli, image_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Path]:
    """A folder to which a file was added after a training, and the folder as it was."""
    before = tmp_path_factory.mktemp("before") / "digits"
    shutil.copytree(image_folder, before)
    now = tmp_path_factory.mktemp("now") / "digits"
    shutil.copytree(image_folder, now)
    options = ("--hidden", "8", "--latent-dim", "2", "--epochs", "1", "--name", "small", "-q")
    gencli("train", "vae", "--data", str(now), *options)
    gencli("evaluate", "small", "--metrics", "nll_bound", "-q")
    first = sorted((now / "class-0").iterdir())[0]
    shutil.copy(first, now / "class-1" / "added.png")
    return now, before


@pytest.mark.parametrize(
    "command",
    [
        ("evaluate", "small", "--metrics", "nll_bound"),
        ("interpolate", "small", "--from", "test:0", "--to", "test:1"),
    ],
)
def test_is_refused(gencli: Gencli, changed: tuple[Path, Path], command: tuple[str, ...]) -> None:
    done = gencli(*command, expect=3)
    problem, cure = done.stderr.strip().splitlines()[-2:]
    assert f"{changed[0]} is not what small was trained on any more" in problem
    assert CURE in cure


@pytest.mark.slow
def test_its_name_as_another_data_set_too(gencli: Gencli, changed: tuple[Path, Path]) -> None:
    command = ("evaluate", "small", "--metrics", "nll_bound", "--json", "--data")
    gencli(*command, str(changed[0]), expect=3)
    gencli(*command, "digits", expect=3, cwd=changed[0].parent)


def test_another_data_set_is_measured(gencli: Gencli, changed: tuple[Path, Path]) -> None:
    command = ("evaluate", "small", "--metrics", "nll_bound", "--json", "--data")
    document = json.loads(gencli(*command, str(changed[1])).stdout)
    assert document["data"]["name"] == str(changed[1])
