"""Drawing and measuring by several processes give what one process alone gives, to the bit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.conftest import Gencli

DRAWN = ("sample", "vae", "--n", "45", "--batch-size", "7", "--format", "npz", "--out")
KEYS = "nll_bound,nll_estimate,reconstruction,confident"
MEASURED = ("evaluate", "vae", "--json", "--batch-size", "7", "--samples", "60", "-k", "3")
MEASURED += ("--metrics", KEYS)

PROGRAM = "import sys, json; from tests.unit import commands_together as it; "
PROGRAM += "it.main(json.loads(sys.argv[1]))"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("home")
    jobs: list[Any] = []
    for name, world in (("one", 1), ("two", 2)):
        jobs.append([f"drawn-{name}", world, [*DRAWN, str(folder / f"{name}.npz")]])
        jobs.append([f"measured-{name}", world, [*MEASURED]])
    jobs.append(["few", 2, ["sample", "vae", "--n", "1", "--out", str(folder / "few.png")]])
    Gencli(folder).python(PROGRAM, json.dumps(jobs))
    return folder


def printed(home: Path, name: str, rank: int = 0) -> str:
    return (home / f"{name}-{rank}.out").read_text()


def test_the_images_are_those_of_one_process(home: Path) -> None:
    one, two = (np.load(home / f"{name}.npz")["images"] for name in ("one", "two"))
    assert one.shape == (45, 28, 28, 1)
    assert len(np.unique(one.reshape(45, -1), axis=0)) == 45
    assert (one == two).all()


def test_the_figures_are_those_of_one_process(home: Path) -> None:
    one, two = (json.loads(printed(home, f"measured-{name}")) for name in ("one", "two"))
    assert set(one["metrics"]) == {*KEYS.split(",")}
    assert one == two
    kept = list((home / "runs").glob("*/evaluations/*.json"))
    assert len(kept) == 2


def test_the_first_alone_prints_and_writes(home: Path) -> None:
    assert printed(home, "drawn-two") == f"{home / 'two.npz'}\n"
    assert printed(home, "drawn-two", 1) == printed(home, "measured-two", 1) == ""
    assert (home / "few.png").is_file()
