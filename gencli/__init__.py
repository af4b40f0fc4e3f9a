"""gencli: deep generative models of images, under one set of verbs.

In Python, `gencli.load("vae")` gives the model of a run ready to sample, encode and decode:

    model = gencli.load("vae")
    images = model.sample(64, seed=1)   # (64, C, H, W) in [0, 1]
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gencli.loaded import LoadedModel, load

__version__ = "0.1.0"
__all__ = ["LoadedModel", "load"]


def __getattr__(name: str) -> Any:  # torch is imported only when something needs it
    if name in __all__:
        import gencli.loaded

        return getattr(gencli.loaded, name)
    raise AttributeError(f"module 'gencli' has no attribute {name!r}")
