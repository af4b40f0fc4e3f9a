"""Every registered model exports: its decoder where it has one, its weights in any case."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from gencli import registry
from gencli.errors import UsageError
from gencli.export.onnx import export_onnx
from gencli.export.pt2 import export_pt2
from gencli.export.weights import export_weights
from gencli.models.interface import GenerativeModel
from gencli.registry import ModelSpec

from .conftest import SIDE, build, small_data

FORMATS = pytest.mark.parametrize(
    ("export", "suffix"), [(export_onnx, ".onnx"), (export_pt2, ".pt2")]
)


ALIKE = {"wgan", "wgan-gp", "lsgan", "factor-analysis"}
"""Models whose decoder is the same network as another's here: `dcgan`'s and `ppca`'s."""

DEEP = {"pix2pix"}
"""Models whose decoder has so many layers that ONNX takes its time."""


LARGE = {"stackgan"}
"""Models whose decoder is several networks."""


def _decoders() -> list[Any]:
    """Models with a latent space; a diffusion solver unrolled into one graph takes its time."""
    return [
        pytest.param(
            spec,
            id=spec.name,
            marks=[pytest.mark.slow] * (spec.family == "diffusion" or spec.name in ALIKE | DEEP),
        )
        for spec in registry.MODELS
        if "latent" in spec.abilities
    ]


@pytest.mark.parametrize("spec", _decoders())
@FORMATS
def test_decoders_are_reproduced(
    spec: ModelSpec, export: Callable[..., Any], suffix: str, tmp_path: Path
) -> None:
    data = small_data(spec.options().training.binarize, SIDE.get(spec.name, 28))
    model = build(spec, data)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    parity = export(model, tmp_path / f"x{suffix}")
    assert 0 <= parity.max_abs_difference <= 1e-4
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name]), name


@FORMATS
def test_models_without_a_decoder_say_so(
    spec: ModelSpec, model: GenerativeModel, export: Callable[..., Any], suffix: str, tmp_path: Path
) -> None:
    if "latent" in spec.abilities:
        pytest.skip("has a decoder")
    with pytest.raises(UsageError, match="no latent space"):
        export(model, tmp_path / f"x{suffix}")


def test_weights_come_back(spec: ModelSpec, model: GenerativeModel, tmp_path: Path) -> None:
    export_weights(model, tmp_path / "x.safetensors", {"model": spec.name})
    loaded = load_file(tmp_path / "x.safetensors")
    state = model.state_dict()
    assert loaded.keys() == state.keys()
    for name, tensor in state.items():
        assert torch.equal(loaded[name], tensor), name
