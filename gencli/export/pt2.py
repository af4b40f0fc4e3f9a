"""PT2: the decoder as a `torch.export` archive, which runs without gencli (in Python or in C++)."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import torch

from gencli.atomic import replacing
from gencli.errors import GencliError
from gencli.export.onnx import describe
from gencli.export.program import Decoder, Parity, check, trace
from gencli.models.interface import GenerativeModel


def export_pt2(
    model: GenerativeModel,
    target: Path,
    *,
    seed: int = 0,
    metadata: dict[str, Any] | None = None,
) -> Parity:
    """Write the decoder as latents (n, ...) -> images (n, C, H, W), fp32, CPU, any batch size.

    Use it with `torch.export.load(path).module()(latents)`. The archive holds the graph as JSON,
    the weights as raw bytes and a description as `extra/gencli.json`, and no pickle: torch pickles
    only the example inputs of the trace, which are left out, and tensor subclasses, which models do
    not have. The archive is inspected, then loaded and compared with the model, before it takes its
    place.

    Raises:
        UsageError: If the model has no latent space.
        GencliError: If the exported decoder does not reproduce the model, if this torch would
            pickle a part of it, or if the path cannot be written.
    """
    decoder = Decoder(model)
    program = trace(decoder, seed)
    program.example_inputs = None
    description = json.dumps(describe(decoder, seed) | (metadata or {}), indent=2)
    # By way of memory: torch's own writer of files ends the process where a disk is full.
    archive = io.BytesIO()
    torch.export.save(program, archive, extra_files={"gencli.json": description})
    with replacing(target, needs=len(archive.getbuffer())) as temporary:
        temporary.write_bytes(archive.getbuffer())
        pickled = pickled_parts(temporary)
        if pickled:
            raise GencliError(
                f"torch {torch.__version__} pickles a part of a .pt2 file ({pickled[0]}), which "
                "gencli does not write.",
                "Upgrade torch, or export --format onnx.",
            )
        return check(decoder, torch.export.load(temporary).module(), seed)


def pickled_parts(path: Path) -> list[str]:
    """Names of the members of a .pt2 archive that are pickles, or may be, from its own table."""
    found = []
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            if member.filename.endswith("_config.json"):
                table = json.loads(archive.read(member))["config"]
                found += [name for name, payload in table.items() if payload["use_pickle"]]
            elif member.filename.endswith((".pt", ".pkl")) and member.file_size:
                found.append(member.filename)
    return found
