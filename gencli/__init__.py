"""gencli: deep generative models of images, under one set of verbs.

In Python:

    model = gencli.train("vae", epochs=5)   # or gencli.load("vae"), of an earlier run
    images = model.sample(64, seed=1)       # (64, C, H, W) in [0, 1]
    model.evaluate(metrics=["nll_bound"])
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gencli.api import compare, evaluate, list_runs, report, train
    from gencli.data.conditions import Condition
    from gencli.loaded import LoadedModel
    from gencli.loading import load

__version__ = "0.1.0"
__all__ = [
    "Condition",
    "LoadedModel",
    "compare",
    "evaluate",
    "list_runs",
    "load",
    "report",
    "train",
]

_HOMES = {
    **dict.fromkeys(("compare", "evaluate", "list_runs", "report", "train"), "gencli.api"),
    "LoadedModel": "gencli.loaded",
    "load": "gencli.loading",
    "Condition": "gencli.data.conditions",
}


def __getattr__(name: str) -> Any:  # torch is imported only when something needs it
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'gencli' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
