"""Every registered model exports: its decoder where it has one, its weights in any case."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import gencli
from gencli import registry
from gencli.errors import UsageError
from gencli.export.onnx import export_onnx
from gencli.export.pt2 import export_pt2
from gencli.export.weights import export_weights
from gencli.models.interface import GenerativeModel
from gencli.registry import ModelSpec

from .conftest import build, tiny_data

FORMATS = pytest.mark.parametrize(
    ("export", "suffix"), [(export_onnx, ".onnx"), (export_pt2, ".pt2")]
)


ONNX = {"vae", "sbn", "gan-cls"}
"""By default those with a perceptron, binary layers and convolutions told a caption.

`test_variants.py` has convolutions told a class, `unit/test_export.py` a perceptron and
convolutions that are told nothing. ONNX takes seconds.
"""

PT2 = ONNX | {"ppca", "autoencoder", "cgan", "gan", "dcgan"}
"""The others: solvers of diffusion as one graph, many layers, or networks that one of these has."""


def _decoders() -> list[Any]:
    """The models with a latent space, in each format."""
    return [
        pytest.param(
            spec,
            export,
            id=f"{spec.name}{suffix}",
            marks=[pytest.mark.slow] * (spec.name not in default),
        )
        for suffix, export, default in ((".onnx", export_onnx, ONNX), (".pt2", export_pt2, PT2))
        for spec in registry.MODELS
        if "latent" in spec.abilities
    ]


@pytest.mark.parametrize(("spec", "export"), _decoders())
def test_decoders_are_reproduced(
    spec: ModelSpec, export: Callable[..., Any], tmp_path: Path
) -> None:
    data = tiny_data(spec)
    model = build(spec, data)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    parity = export(model, tmp_path / "exported")
    assert 0 <= parity.max_abs_difference <= 1e-4
    written = (tmp_path / "exported").read_bytes()  # an archive of pt2 is not compressed
    assert str(Path(gencli.__file__).parent).encode() not in written
    assert b".py" not in written
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
