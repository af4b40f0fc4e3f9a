"""Weights: a model's tensors as safetensors, and a JSON document that says what they belong to."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors.torch import save

from gencli.atomic import replacing
from gencli.errors import UsageError
from gencli.models.interface import GenerativeModel

_LOAD = (
    "from safetensors.torch import load_file; "
    "model.load_state_dict(load_file({name!r}))  # a model made with this config and data"
)


def export_weights(model: GenerativeModel, target: Path, metadata: dict[str, Any]) -> None:
    """Write every parameter and buffer to `target`, and `target` with the suffix .json beside it.

    The JSON document holds `metadata` (the model's name, its config, the data), each tensor's
    shape and dtype, and a line that loads them. `metadata` stands in the safetensors header as
    well, under the key `gencli`, so that the file explains itself when it is alone.

    Args:
        model: Any model.
        target: A path that ends in .safetensors.
        metadata: What is known of the model; JSON values.

    Raises:
        UsageError: If `target` itself ends in .json.
        GencliError: If a path cannot be written.
    """
    if target.suffix == ".json":
        raise UsageError(
            f"{target.name} is the name of the description.", "Give --out NAME.safetensors."
        )
    tensors = {
        name: t.detach().cpu().contiguous().clone() for name, t in model.state_dict().items()
    }
    document = metadata | {
        "tensors": {
            name: {"shape": list(t.shape), "dtype": str(t.dtype).removeprefix("torch.")}
            for name, t in tensors.items()
        },
        "load": _LOAD.format(name=target.name),
    }
    with replacing(target) as temporary, replacing(target.with_suffix(".json")) as beside:
        header = {"format": "pt", "gencli": json.dumps(metadata)}
        temporary.write_bytes(save(tensors, header))  # `save_file` would hide it from other users
        beside.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
