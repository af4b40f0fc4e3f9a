from __future__ import annotations

import importlib.util
import json
import zipfile
from pathlib import Path
from typing import Any

import onnx
import onnxruntime
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from gencli.config import Config
from gencli.data.spec import DataInfo
from gencli.errors import GencliError, UsageError
from gencli.export.onnx import export_onnx
from gencli.export.pt2 import export_pt2, pickled_parts
from gencli.export.weights import export_weights
from gencli.models.interface import NOTHING, Condition, GenerativeModel
from gencli.random import ImageGenerator


class Perceptron(GenerativeModel):
    """A decoder with dropout, beside an encoder that decoding does not touch."""

    def __init__(self) -> None:
        super().__init__(Config(), DataInfo(1, 8, 8, binarization="static"))
        self.encoder = nn.Sequential(nn.Linear(64, 500), nn.ReLU(), nn.Linear(500, 6))
        self.decoder = nn.Sequential(
            nn.Linear(6, 32), nn.ReLU(), nn.Dropout(0.5), nn.Linear(32, 64)
        )

    def sample_latent(self, n: int, *, generator: ImageGenerator) -> Tensor:
        return generator.normal(6)

    def decode(self, z: Tensor, condition: Condition = NOTHING) -> Tensor:
        return self.decoder(z).float().sigmoid().unflatten(1, self.data.shape)  # type: ignore[no-any-return]


class Convolutional(GenerativeModel):
    """A generator with batch normalisation on image-shaped latents, and a critic."""

    def __init__(self) -> None:
        super().__init__(Config(), DataInfo(3, 16, 16))
        self.generator = nn.Sequential(
            nn.ConvTranspose2d(5, 16, 4, 2, 1, bias=False),
            nn.BatchNorm2d(16),
            nn.LeakyReLU(0.2),
            nn.Upsample(scale_factor=2),
            nn.Conv2d(16, 3, 3, padding=1),
            nn.Tanh(),
        )
        self.critic = nn.Sequential(nn.Flatten(), nn.Linear(768, 300), nn.BatchNorm1d(300))
        with torch.no_grad():
            for _ in range(3):  # running statistics apart from 0 and 1
                self.generator(torch.randn(8, 5, 4, 4) * 2 + 1)

    def sample_latent(self, n: int, *, generator: ImageGenerator) -> Tensor:
        return generator.normal(5, 4, 4)

    def decode(self, z: Tensor, condition: Condition = NOTHING) -> Tensor:
        return (self.generator(z) + 1) / 2  # type: ignore[no-any-return]


class Latentless(GenerativeModel):
    def __init__(self) -> None:
        super().__init__(Config(), DataInfo(1, 4, 4))
        self.bias = nn.Parameter(torch.zeros(16))


class Restless(Perceptron):
    """A decoder that breaks its promise to be deterministic."""

    def decode(self, z: Tensor, condition: Condition = NOTHING) -> Tensor:
        return super().decode(z + torch.rand_like(z))


STAND_INS = pytest.mark.parametrize("model_class", [Perceptron, Convolutional])


def _reference(model: GenerativeModel, n: int) -> tuple[Tensor, Tensor]:
    z = model.sample_latent(n, generator=ImageGenerator(9, range(n)))  # type: ignore[attr-defined]
    model.eval()
    with torch.no_grad():
        return z, model.decode(z)  # type: ignore[attr-defined]


@STAND_INS
def test_onnx_reproduces_the_model_at_any_batch_size_and_says_what_it_is(
    model_class: type[GenerativeModel], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    model, target = model_class(), tmp_path / "decoder.onnx"
    parity = export_onnx(model, target, metadata={"dataset": "glyphs", "step": 7})
    assert capfd.readouterr().out == ""
    assert 0 <= parity.max_abs_difference <= parity.tolerance == 1e-4
    assert parity.n == 20
    assert model.training
    assert list(tmp_path.iterdir()) == [target]
    session = onnxruntime.InferenceSession(target, providers=["CPUExecutionProvider"])
    for n in (1, 2, 33):
        z, images = _reference(model, n)
        (found,) = session.run(None, {"latents": z.numpy()})
        torch.testing.assert_close(torch.from_numpy(found), images, atol=1e-5, rtol=0)
    proto = onnx.load(target)
    onnx.checker.check_model(proto, full_check=True)
    properties = {p.key: p.value for p in proto.metadata_props}
    assert properties["model"] == model_class.__name__
    assert properties["latents"].startswith("(n, ")
    assert json.loads(properties["data"])["channels"] in (1, 3)
    assert (properties["dataset"], properties["step"]) == ("glyphs", "7")
    for value in (*proto.graph.input, *proto.graph.output):
        assert value.type.tensor_type.shape.dim[0].dim_param == "n"
    assert not any("encoder" in t.name or "critic" in t.name for t in proto.graph.initializer)


@STAND_INS
def test_pt2_reproduces_the_model_without_pickle(
    model_class: type[GenerativeModel], tmp_path: Path
) -> None:
    model, target = model_class(), tmp_path / "decoder.pt2"
    parity = export_pt2(model, target, metadata={"dataset": "glyphs"})
    assert parity.max_abs_difference <= 1e-6
    assert list(tmp_path.iterdir()) == [target]
    extra = {"gencli.json": ""}
    loaded = torch.export.load(target, extra_files=extra)
    assert json.loads(extra["gencli.json"])["dataset"] == "glyphs"
    assert not any("encoder" in name or "critic" in name for name in loaded.state_dict)
    for n in (1, 2, 33):
        z, images = _reference(model, n)
        torch.testing.assert_close(loaded.module()(z), images, atol=1e-6, rtol=0)
    with zipfile.ZipFile(target) as archive:
        for name in archive.namelist():
            if "/data/weights/weight_" not in name:  # raw numbers, which may begin with anything
                assert not archive.read(name).startswith((b"PK", b"\x80")), name


def test_pickled_parts_are_found(tmp_path: Path) -> None:
    program = torch.export.export(nn.Linear(2, 2), (torch.zeros(1, 2),))
    torch.export.save(program, tmp_path / "x.pt2")  # with its example inputs
    assert [Path(name).name for name in pickled_parts(tmp_path / "x.pt2")] == ["model.pt"]


@pytest.mark.parametrize(("export", "suffix"), [(export_onnx, ".onnx"), (export_pt2, ".pt2")])
def test_an_export_that_differs_is_refused_and_removed(
    export: Any, suffix: str, tmp_path: Path
) -> None:
    with pytest.raises(GencliError, match="does not reproduce the model") as failure:
        export(Restless(), tmp_path / f"x{suffix}")
    assert failure.value.exit_code == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("export", [export_onnx, export_pt2])
def test_models_without_latents_are_refused(export: Any, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="Latentless has no decoder") as failure:
        export(Latentless(), tmp_path / "x")
    assert "weights" in failure.value.cure


def test_onnx_without_its_packages_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name.startswith("onnx") else find(name)
    )
    with pytest.raises(UsageError, match="onnxruntime") as failure:
        export_onnx(Perceptron(), tmp_path / "x.onnx")
    assert failure.value.cure == 'pip install "gencli[onnx]"'


def test_half_precision_and_channels_last_do_not_matter(tmp_path: Path) -> None:
    model = Convolutional().to(memory_format=torch.channels_last)
    model.generator.to(torch.bfloat16)
    export_pt2(model, tmp_path / "x.pt2")
    loaded = torch.export.load(tmp_path / "x.pt2")
    assert {t.dtype for t in loaded.state_dict.values()} == {torch.float32}
    assert all(t.is_contiguous() for t in loaded.state_dict.values())
    assert next(model.generator.parameters()).dtype == torch.bfloat16


@pytest.mark.parametrize("model_class", [Perceptron, Convolutional, Latentless])
def test_weights_load_back_and_describe_themselves(
    model_class: type[GenerativeModel], tmp_path: Path
) -> None:
    model, metadata = model_class(), {"model": "x", "config": {"latent_dim": 6}}
    export_weights(model, tmp_path / "x.safetensors", metadata)
    other = model_class()
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(1)
    other.load_state_dict(load_file(tmp_path / "x.safetensors"))
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, other.state_dict()[name]), name
    with safe_open(tmp_path / "x.safetensors", "pt") as file:
        assert json.loads(file.metadata()["gencli"]) == metadata
        assert "load_file('x.safetensors')" in file.metadata()["load"]
    assert [p.name for p in tmp_path.iterdir()] == ["x.safetensors"]


def test_tied_and_strided_weights_are_written(tmp_path: Path) -> None:
    model = Latentless()
    model.tied = model.bias
    model.register_buffer("turned", torch.arange(6.0).view(2, 3).t())
    export_weights(model, tmp_path / "x.safetensors", {})
    loaded = load_file(tmp_path / "x.safetensors")
    assert torch.equal(loaded["tied"], model.bias)
    assert torch.equal(loaded["turned"], torch.arange(6.0).view(2, 3).t())
