"""One row of the table of models. No torch here."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gencli.config import Config

if TYPE_CHECKING:
    from gencli.models.interface import GenerativeModel

FAMILIES = ("latent", "adversarial", "autoregressive", "boltzmann", "mixture", "diffusion")
"""What a model can be of, in the order of lists."""


@dataclass(frozen=True)
class ModelSpec:
    """One row of the table.

    Attributes:
        name: What the user types.
        target: The model, `module:Class`.
        config: Its options, `module:Class`, in a module that imports no torch.
        family: One of `FAMILIES`.
        summary: One line for people.
        paper: The source, with its arXiv id where it has one.
        abilities: Names from `gencli.models.abilities.PROTOCOLS`.
        aliases: Other names for it.
    """

    name: str
    target: str
    config: str
    family: str
    summary: str
    paper: str
    abilities: frozenset[str] = frozenset()
    aliases: tuple[str, ...] = ()

    @property
    def module(self) -> str:
        """The module that holds the model."""
        return self.target.partition(":")[0]

    def options(self) -> type[Config]:
        """The model's config class, without importing the model."""
        loaded: type[Config] = _attribute(self.config)
        return loaded

    def load(self) -> type[GenerativeModel]:
        """Import the model's class."""
        loaded: type[GenerativeModel] = _attribute(self.target)
        return loaded


def _attribute(target: str) -> Any:
    module, _, name = target.partition(":")
    return getattr(importlib.import_module(module), name)
