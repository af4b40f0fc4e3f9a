"""Precisions: what the device has, and a word where it only imitates one."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from gencli import device
from gencli.data.options import DataOptions
from gencli.training.reporter import Silent
from gencli.training.session import resume, start

CPU = torch.device("cpu")


@pytest.mark.parametrize("fast", [True, False])
def test_auto_takes_what_the_device_has(monkeypatch: pytest.MonkeyPatch, fast: bool):
    monkeypatch.setattr(device, "has_fast_bf16", lambda _: fast)
    assert device.choose_precision("auto", CPU, model_allows=True) == ("bf16" if fast else "fp32")
    assert device.choose_precision("auto", CPU, model_allows=False) == "fp32"
    assert device.choose_precision("bf16", CPU, model_allows=True) == "bf16"


class Told(Silent):
    """Keeps what it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[str] = []

    def message(self, text: str) -> None:
        self.messages.append(text)


@pytest.mark.parametrize("fast", [True, False])
def test_an_imitated_precision_is_told(
    monkeypatch: pytest.MonkeyPatch, home: Path, image_folder: Path, fast: bool
):
    monkeypatch.setattr(device, "has_fast_bf16", lambda _: fast)
    data, reporter = DataOptions(data=str(image_folder)), Told()
    given = {"steps": 1, "batch_size": 4, "device": "cpu", "precision": "bf16"}
    run, _, _ = start("vae", {"hidden": [8]}, data, given, name="a", reporter=reporter)
    assert ("no bf16 of its own" in "\n".join(reporter.messages)) != fast
    again = Told()
    resume("vae", str(run.path), {"steps": 2}, reporter=again)
    assert ("no bf16 of its own" in "\n".join(again.messages)) != fast
