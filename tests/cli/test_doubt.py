"""`evaluate` says when the standard error of annealed importance sampling is not to be trusted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.conftest import Gencli


@pytest.mark.slow
def test_few_effective_chains_are_warned_of(gencli: Gencli, image_folder: Path) -> None:
    data = ("--data", str(image_folder), "--binarize", "static")
    gencli("train", "rbm", *data, "--hidden", "40", "--epochs", "10", "--name", "small", "-q")
    command = ("evaluate", "small", "--metrics", "nll_estimate", "--json")
    few = gencli(*command, "--chains", "20", "--temperatures", "10")
    lines = [line for line in few.stderr.splitlines() if line.startswith("warning:")]
    assert len(lines) == 1
    assert "effective chains" in lines[0]
    doubt = json.loads(few.stdout)["metrics"]["nll_estimate"]["doubt"]
    assert doubt
    assert doubt in lines[0]
    many = gencli(*command, "--chains", "300", "--temperatures", "1000")
    assert "warning:" not in many.stderr
    assert "doubt" not in json.loads(many.stdout)["metrics"]["nll_estimate"]
