"""run.json, whose fields are checked here and nowhere else. No torch here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gencli import guarded
from gencli.checkpoint import check_format
from gencli.errors import RunError

FILE = "run.json"

_CURE = "`gencli list runs` shows the runs there are."
_AGAIN = "Train again."
_LARGEST = 1 << 14
"""Pixels a side."""

_FIELDS: dict[str, guarded.Kinds] = {
    **dict.fromkeys(("model", "status", "precision"), str),
    **dict.fromkeys(("config", "data", "settings"), dict),
    "created": (int, float),
}
_DATA_FIELDS: dict[str, guarded.Kinds] = {"name": str, "fingerprint": str, "info": dict}
_INFO_FIELDS: dict[str, guarded.Kinds] = {
    **dict.fromkeys(("channels", "height", "width"), int),
    "classes": list,
    "binarization": str,
}


def read(run: Path) -> dict[str, Any]:
    """The contents of a run's run.json.

    Raises:
        RunError: If the file is missing, is no JSON, has another format version, or a field is
            missing or of another type.
    """
    path = run / FILE
    record = guarded.read_json(path, _CURE)
    check_format(record, path)
    guarded.check_fields(record, _FIELDS, path, _AGAIN)
    guarded.check_fields(record["data"], _DATA_FIELDS, path, _AGAIN)
    info = record["data"]["info"]
    guarded.check_fields(info, _INFO_FIELDS, path, _AGAIN)
    good = {
        "created": 0 <= record["created"] < 1e11,
        "precision": record["precision"] in ("fp32", "bf16"),
        "classes": all(isinstance(name, str) for name in info["classes"]),
        **{name: 0 < info[name] <= _LARGEST for name in ("channels", "height", "width")},
    }
    for name, is_good in good.items():
        if not is_good:
            raise RunError(f"{path}: {name} is out of bounds.", _AGAIN)
    return record
