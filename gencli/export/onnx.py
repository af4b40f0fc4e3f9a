"""ONNX: the decoder as a graph that other runtimes run, one self-contained file."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gencli.atomic import replacing
from gencli.errors import UsageError
from gencli.export.program import Decoder, Parity, batch_dimension, check, trace
from gencli.models.interface import GenerativeModel

_LARGEST_FILE = 2**31 - 2**20
"""Protocol buffers end at 2 GiB; the graph itself gets a megabyte of it."""

_PACKAGES = ("onnx", "onnxscript", "onnxruntime")


def export_onnx(
    model: GenerativeModel,
    target: Path,
    *,
    seed: int = 0,
    metadata: dict[str, Any] | None = None,
) -> Parity:
    """Write the decoder as `latents` (n, ...) -> `images` (n, C, H, W), fp32, any batch size.

    What the model is told (`labels`, `text`, `source`) are further inputs.

    The file is run with onnxruntime on the CPU and compared with the model before it takes its
    place. Its metadata_props say what it is: `model`, `data` (a JSON document), `latents`,
    `images`, and what `metadata` adds.

    Raises:
        UsageError: If the model has no latent space, is too large for one file, or the packages of
            the extra `onnx` are not installed.
        GencliError: If the exported decoder does not reproduce the model, or the path cannot be
            written.
    """
    missing = [name for name in _PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise UsageError(
            f"Exporting ONNX needs {' and '.join(missing)}.", 'pip install "gencli[onnx]"'
        )
    decoder = Decoder(model)
    program = trace(decoder, seed)
    size = sum(tensor.nbytes for tensor in program.state_dict.values())
    if size > _LARGEST_FILE:
        raise UsageError(
            f"The decoder's {size / 2**30:.1f} GiB do not fit one ONNX file, which ends at 2 GiB.",
            "Export --format pt2 or --format weights.",
        )
    with warnings.catch_warnings():
        # Inputs that share the free size cannot each name it, says torch.
        warnings.filterwarnings("ignore", "# The axis name", UserWarning)
        graph = torch.onnx.export(
            program,
            input_names=decoder.input_names,
            output_names=["images"],
            dynamic_shapes=batch_dimension(decoder),
            dynamo=True,
            verbose=False,  # or else it prints to stdout, which carries data only
            optimize=False,  # runtimes do that in seconds; here it takes minutes for a diffusion
        )
    assert graph is not None  # `None` is what the older exporter gives
    _forget_where_it_was_made(graph)
    graph.model.metadata_props.update(describe(decoder, seed) | _as_text(metadata or {}))
    with replacing(target) as temporary:
        graph.save(temporary, external_data=False)
        return check(decoder, _runner(temporary, decoder.input_names), seed)


def _forget_where_it_was_made(graph: torch.onnx.ONNXProgram) -> None:
    """Remove what the exporter notes at nodes and values: lines of source files in folders here."""
    inside = graph.model.graph
    for node in inside.all_nodes():
        node.metadata_props.clear()
    made = (value for node in inside.all_nodes() for value in node.outputs)
    for value in (*inside.inputs, *inside.initializers.values(), *made):
        value.metadata_props.clear()


def describe(decoder: Decoder, seed: int) -> dict[str, str]:
    """What an exported decoder takes and gives, as text."""
    model = decoder.model
    latents, *told = decoder.inputs(1, seed)
    conditions: dict[str, str] = {
        kind: f"{_shape(tensor)} {str(tensor.dtype).removeprefix('torch.')}"
        for kind, tensor in zip(model.conditions, told, strict=True)
    }
    return {
        "producer": "gencli",
        "model": type(model).__name__,
        "data": json.dumps(dataclasses.asdict(model.data)),
        "latents": f"{_shape(latents)} fp32, drawn from the model's prior",
        **conditions,
        "images": f"(n, {', '.join(map(str, model.data.shape))}) fp32 in [0, 1]",
    }


def _shape(tensor: Tensor) -> str:
    return f"({', '.join(['n', *map(str, tensor.shape[1:])])})"


def _as_text(metadata: dict[str, Any]) -> dict[str, str]:
    return {k: v if isinstance(v, str) else json.dumps(v) for k, v in metadata.items()}


def _runner(path: Path, names: Sequence[str]) -> Any:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 3  # errors only
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def run(*inputs: Tensor) -> Tensor:
        arrays = {name: t.numpy() for name, t in zip(names, inputs, strict=True)}
        return torch.from_numpy(session.run(["images"], arrays)[0])

    return run
