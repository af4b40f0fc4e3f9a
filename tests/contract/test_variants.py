"""What every registered model promises, for some in other forms than their default."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gencli import registry
from gencli.data.splits import ImageData
from gencli.models.interface import GenerativeModel
from gencli.registry import ModelSpec

from . import test_interface as interface
from . import test_resume as resume
from .conftest import TINY, build, small_data
from .test_export import export_onnx

VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "vae-iwae-two-layers-vamp": ("vae", {
        "layers": 2, "prior": "vamp", "pseudo_inputs": 5, "importance_samples": 3,
    }),
    "vae-conditional-conv": ("vae", {"conditional": True, "network": "conv", "width": 4}),
    "vae-conditional-vamp": ("vae", {"conditional": True, "prior": "vamp", "pseudo_inputs": 5}),
    "dcgan-conditional": ("dcgan", {"conditional": True}),
    "wgan-gp-conditional": ("wgan-gp", {"conditional": True, "network": "mlp", "hidden": None}),
    "lsgan-conditional": ("lsgan", {"conditional": True, "network": "mlp", "hidden": None}),
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
    name, options = VARIANTS[request.param]
    monkeypatch.setitem(TINY, name, TINY[name] | options)
    return registry.find(name)


@pytest.fixture
def data() -> ImageData:
    return small_data("static")


@pytest.fixture
def model(spec: ModelSpec, data: ImageData) -> GenerativeModel:
    return build(spec, data)


def test_interrupted_and_resumed_equals_uninterrupted(
    spec: ModelSpec, data: ImageData, home: Path
) -> None:
    whole = resume.uninterrupted(spec, data)
    resume.test_interrupted_and_resumed_equals_uninterrupted(spec, data, whole)


@pytest.mark.parametrize("spec", ["vae-conditional-conv"], indirect=True)  # ONNX takes its time
def test_decoders_are_reproduced(model: GenerativeModel, tmp_path: Path) -> None:
    parity = export_onnx(model, tmp_path / "x.onnx")
    assert 0 <= parity.max_abs_difference <= 1e-4
