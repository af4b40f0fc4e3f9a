"""Options of `sketch` and its row of the table of models. No torch here: --help reads this."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from gencli.config import Config, Options, Training, option
from gencli.kinds import ConditionKind
from gencli.registry import ModelSpec


@dataclass(frozen=True)
class SketchSampling(Options):
    """Sampling options of `sketch`."""

    top_k: int | None = option(
        None, "Ink this many pixels, the likeliest; every pixel by its probability unless given.",
        min=1,
    )  # fmt: skip


@dataclass(frozen=True)
class SketchConfig(Config):
    """Options of `sketch`."""

    training: ClassVar[Training] = Training(epochs=2, batch_size=64, lr=1e-3, binarize="dynamic")
    Sampling: ClassVar[type[Options]] = SketchSampling

    latent_dim: int = option(4, "Dimensions of the latent space.", min=1)
    width: int = option(64, "Units of the hidden layers.", min=1)

    def conditions(self) -> tuple[ConditionKind, ...]:
        """The caption of each image and its source image."""
        return ("text", "source")


SPEC = ModelSpec(
    name="sketch",
    target="gencli_sketch.model:Sketch",
    config="gencli_sketch:SketchConfig",
    family="latent",
    summary="Conditional autoencoder of captions and source images",
    paper="Sohn et al. 2015, NeurIPS",
    abilities=frozenset({"bound", "latent", "encoder"}),
)
