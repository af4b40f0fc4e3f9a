"""What every registered model promises, for `vae` in other forms than its default."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gencli import registry
from gencli.data.load import ImageData
from gencli.models.interface import GenerativeModel
from gencli.registry import ModelSpec

from . import test_interface as interface
from . import test_resume as resume
from .conftest import TINY, build, small_data
from .test_export import export_onnx

VARIANTS: dict[str, dict[str, Any]] = {
    "iwae-two-layers-vamp": {
        "layers": 2, "prior": "vamp", "pseudo_inputs": 5, "importance_samples": 3,
    },
    "conditional-conv": {"conditional": True, "network": "conv", "width": 4},
    "conditional-vamp": {"conditional": True, "prior": "vamp", "pseudo_inputs": 5},
}  # fmt: skip

test_each_update_changes_its_own_parameters = (
    interface.test_each_update_changes_its_own_parameters_and_no_others
)
test_samples_have_the_promised_shape_and_range = (
    interface.test_samples_have_the_promised_shape_and_range
)
test_image_i_depends_on_seed_and_i_alone = interface.test_image_i_depends_on_seed_and_i_alone
test_abilities_keep_their_word = interface.test_abilities_keep_their_word


@pytest.fixture(params=VARIANTS)
def spec(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> ModelSpec:
    monkeypatch.setitem(TINY, "vae", TINY["vae"] | VARIANTS[request.param])
    return registry.find("vae")


@pytest.fixture
def data() -> ImageData:
    return small_data("static")


@pytest.fixture
def model(spec: ModelSpec, data: ImageData) -> GenerativeModel:
    return build(spec, data)


def test_interrupted_and_resumed_equals_uninterrupted(
    spec: ModelSpec, data: ImageData, home: Path
) -> None:
    resume.test_interrupted_and_resumed_equals_uninterrupted(spec, data)


@pytest.mark.parametrize("spec", ["conditional-conv"], indirect=True)  # ONNX takes its time
def test_decoders_are_reproduced(model: GenerativeModel, tmp_path: Path) -> None:
    parity = export_onnx(model, tmp_path / "x.onnx")
    assert 0 <= parity.max_abs_difference <= 1e-4
