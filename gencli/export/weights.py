"""Weights: a model's tensors as safetensors, with a header that says what they belong to."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors.torch import save

from gencli.atomic import replacing
from gencli.models.interface import GenerativeModel

_LOAD = (
    "from safetensors.torch import load_file; "
    "model.load_state_dict(load_file({name!r}))  # a model made with this config and data"
)


def export_weights(model: GenerativeModel, target: Path, metadata: dict[str, Any]) -> None:
    """Write every parameter and buffer to `target`, which explains itself.

    The header of a safetensors file has each tensor's shape and type; under the key `gencli` it
    holds `metadata` (the model's name, its config, the data) as JSON, and under `load` a line that
    loads the tensors.

    Args:
        model: Any model.
        target: A path that ends in .safetensors.
        metadata: What is known of the model; JSON values.

    Raises:
        GencliError: If the path cannot be written.
    """
    tensors = {
        name: t.detach().cpu().contiguous().clone() for name, t in model.state_dict().items()
    }
    header = {
        "format": "pt",
        "gencli": json.dumps(metadata),
        "load": _LOAD.format(name=target.name),
    }
    data = save(tensors, header)  # `save_file` would hide it from other users
    with replacing(target, needs=len(data)) as temporary:
        temporary.write_bytes(data)
