"""Options of Boltzmann machines and deep belief networks, without torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from gencli.config import Config, Options, Training, option

Objective = Literal["cd", "pcd", "pseudo-likelihood", "ratio-matching", "denoising-score-matching"]
"""Of restricted Boltzmann machines; `objectives.py` says what each is."""


@dataclass(frozen=True)
class GibbsSampling(Options):
    """Sampling options of models that run a Gibbs chain for each image."""

    steps: int = option(1000, "Rounds of Gibbs sampling before an image is read off.", min=1)


@dataclass(frozen=True)
class Annealing(Options):
    """How log Z is estimated, by annealed importance sampling."""

    chains: int = option(100, "Chains of annealed importance sampling.", min=2)
    temperatures: int = option(10_000, "Its intermediate temperatures.", min=2)


@dataclass(frozen=True)
class LayerConfig(Config):
    """What can be told of every restricted Boltzmann machine, alone or in a stack."""

    training: ClassVar[Training] = Training(
        epochs=20, batch_size=100, lr=0.3, lr_schedule="cosine", ema_decay=0.999,
        binarize="dynamic",
    )  # fmt: skip
    Sampling: ClassVar[type[Options]] = GibbsSampling
    Measuring: ClassVar[type[Options]] = Annealing

    visible: Literal["auto", "binary", "gaussian"] = option(
        "auto", "Visible units; auto is binary for binary data and Gaussian otherwise."
    )
    objective: Objective = option(
        "pcd",
        "What is minimised: the contrast with chains that start at the data (cd) or go on from "
        "step to step (pcd), or what needs no chains.",
    )
    k: int = option(1, "Gibbs steps of the negative phase (CD-k, PCD-k).", min=1)
    chains: int = option(100, "Persistent chains.", min=1)
    pixels: int = option(
        0, "Pixels drawn per image, for pseudo-likelihood and ratio-matching; 0 is all.", min=0
    )
    noise: float = option(
        0.3, "Standard deviation of the noise of denoising-score-matching.", min=1e-3
    )
    centered: bool = option(True, "Centre the units (without: the textbook's update).")
    optimizer: Literal["sgd", "adam"] = option("sgd", "SGD with momentum, or Adam.")
    momentum: float = option(0.0, "Momentum of SGD.", min=0, max=0.999)
    weight_decay: float = option(0.0, "Weight of |W|^2 / 2 in each layer's loss.", min=0)


@dataclass(frozen=True)
class RBMConfig(LayerConfig):
    """Options of `rbm`."""

    hidden: int = option(500, "Hidden units.", min=1)
    sparsity: float = option(0.0, "Weight of the sparsity penalty.", min=0)
    sparsity_target: float = option(0.1, "Mean activity that it pulls to.", min=0, max=1)


@dataclass(frozen=True)
class DBNConfig(LayerConfig):
    """Options of `dbn`."""

    hidden: tuple[int, ...] = option((500, 1000), "Hidden units of the layers, upwards.", min=1)


@dataclass(frozen=True)
class SweepSampling(Options):
    """Sampling options of a machine whose units are drawn one after another."""

    steps: int = option(200, "Sweeps over all units before an image is read off.", min=0)


@dataclass(frozen=True)
class BoltzmannConfig(Config):
    """Options of `boltzmann`."""

    training: ClassVar[Training] = Training(
        epochs=20, batch_size=100, lr=0.05, lr_schedule="cosine", ema_decay=0.999,
        binarize="dynamic",
    )  # fmt: skip
    Sampling: ClassVar[type[Options]] = SweepSampling
    Measuring: ClassVar[type[Options]] = Annealing

    hidden: int = option(200, "Hidden units; 0 leaves the visible ones alone.", min=0)
    objective: Literal["likelihood", "pseudo-likelihood"] = option(
        "likelihood", "What is maximised; pseudo-likelihood is for --hidden 0."
    )
    posterior: Literal["mean-field", "gibbs"] = option(
        "mean-field", "Hidden units given the data: their means if independent, or draws."
    )
    settle: int = option(10, "Rounds of the posterior for a batch.", min=1)
    k: int = option(1, "Sweeps of the persistent chains in a step.", min=1)
    chains: int = option(100, "Persistent chains.", min=1)
    momentum: float = option(0.0, "Momentum of SGD.", min=0, max=0.999)
    weight_decay: float = option(0.0, "Weight of half the squared couplings in the loss.", min=0)


@dataclass(frozen=True)
class DBMConfig(Config):
    """Options of `dbm`."""

    training: ClassVar[Training] = Training(
        epochs=20, batch_size=100, lr=0.2, lr_schedule="cosine", ema_decay=0.999,
        binarize="dynamic",
    )  # fmt: skip
    Sampling: ClassVar[type[Options]] = GibbsSampling
    Measuring: ClassVar[type[Options]] = Annealing

    hidden: tuple[int, ...] = option((500, 1000), "Hidden units of the layers, upwards.", min=1)
    pretraining: Literal["greedy", "lowest", "none"] = option(
        "lowest", "What comes before all layers: a pair at a time, the lowest pair, or nothing."
    )
    pretraining_part: float = option(0.5, "Part of the training that it takes.", min=0.01, max=0.99)
    joint_lr: float = option(
        0.25, "Learning rate, relative to --lr, of all but the lowest pair.", min=0
    )
    mean_field: int = option(5, "Passes of mean field in training.", min=0)
    k: int = option(1, "Rounds of Gibbs sampling of the chains in each step.", min=1)
    chains: int = option(100, "Markov chains.", min=1)
    centered: bool = option(True, "Centre the units (without: the textbook's update).")
    momentum: float = option(0.0, "Momentum of SGD.", min=0, max=0.999)
    weight_decay: float = option(0.0, "Weight of |W|^2 / 2 in the loss.", min=0)
