"""What cannot fit in memory is refused before it is taken."""

from __future__ import annotations

from pathlib import Path

import pytest

import gencli
from gencli import memory
from gencli.cli.app import run as command
from gencli.errors import DataError, UsageError

SMALL = {"steps": 1, "batch_size": 20, "sample_every": 0, "val": 0}


def test_half_of_the_memory_is_the_limit(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(memory, "physical", lambda: 1000)
    memory.see_that_they_fit(500, "It", "")
    with pytest.raises(UsageError, match=r"It would take 501 B of this machine's 1\.0 kB"):
        memory.see_that_they_fit(501, "It", "")
    with pytest.raises(DataError):
        memory.see_that_they_fit(501, "It", "", DataError)
    monkeypatch.setattr(memory, "physical", lambda: None)
    memory.see_that_they_fit(10**30, "It", "")


def test_astronomical_numbers_of_images(
    home: Path, image_folder: Path, capsys: pytest.CaptureFixture[str]
):
    gencli.train("vae", name="v", data=str(image_folder), hidden=(8,), latent_dim=2, **SMALL)
    for arguments in (
        ["sample", "v", "--n", "1000000000000"],
        ["sample", "v", "--n", "1000000000000", "--format", "npz"],
        ["interpolate", "v", "--grid", "100000000"],
        ["interpolate", "v", "--rows", "3000000", "--points", "100000"],
    ):
        assert command(arguments) in (1, 2), arguments
        assert "memory" in capsys.readouterr().err
