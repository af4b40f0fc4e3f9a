"""The complete model in docs/adding-a-model.md works as the page says."""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path

import pytest
import torch

from gencli.config import fields_of
from gencli.data.spec import DataInfo
from gencli.models.abilities import abilities_of
from gencli.models.interface import Batch, Step
from gencli.random import ImageGenerator

PAGE = Path(__file__).parent.parent.parent / "docs" / "adding-a-model.md"


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    code = re.search(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert code is not None
    (tmp_path / "factorised_example.py").write_text(code[1])
    monkeypatch.syspath_prepend(tmp_path)
    yield importlib.import_module("factorised_example")
    del sys.modules["factorised_example"]


def test_the_example_trains_and_samples(module):
    config = module.FactorisedConfig
    assert [f.flag for f in fields_of(config)] == ["--initial-logit"]
    assert config.training.binarize == "dynamic"
    info = DataInfo(1, 4, 4, binarization="dynamic")
    model = module.Factorised(config(), info)
    assert abilities_of(model).names == {"log_prob"}
    x = torch.ones(8, 1, 4, 4)
    optimizer = torch.optim.Adam(model.parameters(), 0.5)
    before = model.loss(Batch(x), Step()).total.item()
    for _ in range(50):
        optimizer.zero_grad()
        model.loss(Batch(x), Step()).total.backward()
        optimizer.step()
    assert model.loss(Batch(x), Step()).total.item() < before / 10
    with torch.no_grad():
        images = model.sample(6, generator=ImageGenerator(0, range(6)))
    assert images.shape == (6, 1, 4, 4)
    assert images.mean() > 0.9
