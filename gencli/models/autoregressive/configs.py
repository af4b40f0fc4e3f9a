"""Options of autoregressive models, without torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from gencli.config import ClassConditional, Config, Options, Training, option

_DECAY = "Decoupled weight decay of Adam."


@dataclass(frozen=True)
class PixelSampling(Options):
    """Sampling options of models that draw pixel after pixel."""

    temperature: float = option(
        1.0, "Below 1 prefers likely pixels, above 1 evens them out.", min=1e-3
    )


@dataclass(frozen=True)
class AutoregressiveConfig(Config):
    """What all autoregressive models can be told."""

    Sampling: ClassVar[type[Options]] = PixelSampling


@dataclass(frozen=True)
class FVSBNConfig(AutoregressiveConfig):
    """Options of `fvsbn`."""

    training: ClassVar[Training] = Training(epochs=20, batch_size=100, lr=1e-3, binarize="dynamic")

    likelihood: Literal["auto", "softmax", "logistic"] = option(
        "auto", "Distribution of an 8-bit pixel; auto is logistic. Binary pixels are Bernoulli."
    )
    components: int = option(5, "Components of the logistic mixture.", min=1)
    weight_decay: float = option(0.0, "Weight of |W|^2 / 2 in the loss.", min=0)
    l1: float = option(0.0, "Weight of the sum of |w| in the loss.", min=0)
    smoothness: float = option(
        0.0, "Weight of |difference of adjacent pixels' weights|^2 / 2 in the loss.", min=0
    )


@dataclass(frozen=True)
class NADEConfig(AutoregressiveConfig, ClassConditional):
    """Options of `nade`."""

    training: ClassVar[Training] = Training(
        epochs=10, batch_size=100, lr=1e-3, lr_schedule="cosine", binarize="dynamic"
    )

    hidden: int = option(500, "Hidden units.", min=1)
    activation: Literal["sigmoid", "relu"] = option("sigmoid", "Of the hidden units.")
    likelihood: Literal["auto", "softmax", "logistic", "gaussian"] = option(
        "auto", "Distribution of an 8-bit pixel; auto is gaussian. Binary pixels are Bernoulli."
    )
    components: int = option(10, "Components of the Gaussian or logistic mixture.", min=1)
    weight_decay: float = option(0.0, _DECAY, min=0)


@dataclass(frozen=True)
class MADEConfig(AutoregressiveConfig, ClassConditional):
    """Options of `made`."""

    training: ClassVar[Training] = Training(
        epochs=20, batch_size=100, lr=1e-3, lr_schedule="cosine", binarize="dynamic"
    )

    hidden: tuple[int, ...] = option((1000, 1000), "Widths of the hidden layers.", min=1)
    masks: int = option(1, "Masks, of which the model is the mixture.", min=1)
    direct: bool = option(True, "Connect the outputs to the pixels directly, too.")
    order_agnostic: bool = option(False, "Give each further mask a pixel ordering of its own.")
    dropout: float = option(0.0, "Share of hidden units dropped in training.", min=0, max=0.9)
    likelihood: Literal["auto", "softmax", "logistic"] = option(
        "auto", "Distribution of an 8-bit pixel; auto is logistic. Binary pixels are Bernoulli."
    )
    components: int = option(5, "Components of the logistic mixture.", min=1)
    weight_decay: float = option(0.0, _DECAY, min=0)


@dataclass(frozen=True)
class PixelCNNConfig(AutoregressiveConfig, ClassConditional):
    """Options of `pixelcnn`."""

    training: ClassVar[Training] = Training(
        epochs=10, batch_size=64, lr=2e-3, lr_schedule="cosine", warmup=100, ema_decay=0.999,
        binarize="dynamic",
    )  # fmt: skip

    channels: int = option(
        32, "Features per pixel; the blocks' bottleneck has half of them.", min=6
    )
    blocks: int = option(5, "Residual blocks, or gated layers.", min=1)
    kernel: int = option(7, "Side of the blocks' convolutions, odd.", min=3)
    gated: bool = option(False, "Gated units in a vertical and a horizontal stack.")
    attention: bool = option(False, "Attention to all pixels before, half-way through the layers.")
    dropout: float = option(
        0.0, "Share of features dropped in training, per block.", min=0, max=0.9
    )
    likelihood: Literal["auto", "softmax", "logistic"] = option(
        "auto", "Distribution of an 8-bit pixel; auto is softmax. Binary pixels are Bernoulli."
    )
    components: int = option(10, "Components of the logistic mixture.", min=1)
    weight_decay: float = option(0.0, _DECAY, min=0)


@dataclass(frozen=True)
class TransformerConfig(AutoregressiveConfig, ClassConditional):
    """Options of `transformer`."""

    training: ClassVar[Training] = Training(
        epochs=10, batch_size=32, lr=1e-3, lr_schedule="cosine", warmup=200, ema_decay=0.999,
        binarize="dynamic",
    )  # fmt: skip

    patch: int | None = option(
        None,
        "Side of the square of binary pixels that is one token; 2 unless given, 1 where that does "
        "not fit. 8-bit values are a token each.",
        min=1,
    )
    width: int = option(128, "Features of a token.", min=2)
    depth: int = option(4, "Blocks.", min=1)
    heads: int = option(4, "Attention heads of a block.", min=1)
    reach: int = option(
        1,
        "Rows above and columns aside whose tokens enter beside the one just before; 0 for none.",
        min=0,
    )
    dropout: float = option(
        0.0, "Share of features dropped in training, of the input and after each layer.",
        min=0, max=0.9,
    )  # fmt: skip
    likelihood: Literal["auto", "softmax", "logistic"] = option(
        "auto", "Distribution of an 8-bit value; auto is softmax, as it is of binary tokens."
    )
    components: int = option(10, "Components of the logistic mixture.", min=1)
    weight_decay: float = option(0.01, _DECAY, min=0)


@dataclass(frozen=True)
class PixelRNNConfig(AutoregressiveConfig, ClassConditional):
    """Options of `pixelrnn`."""

    training: ClassVar[Training] = Training(
        epochs=5, batch_size=16, lr=2e-3, lr_schedule="cosine", warmup=100, ema_decay=0.999,
        binarize="dynamic",
    )  # fmt: skip

    kind: Literal["row", "diagonal"] = option("diagonal", "What an LSTM's state moves along.")
    channels: int = option(64, "Features per pixel; an LSTM's state has half of them.", min=2)
    layers: int = option(1, "LSTMs, one on another.", min=1)
    likelihood: Literal["auto", "softmax", "logistic"] = option(
        "auto", "Distribution of an 8-bit pixel; auto is softmax. Binary pixels are Bernoulli."
    )
    components: int = option(10, "Components of the logistic mixture.", min=1)
    weight_decay: float = option(0.0, _DECAY, min=0)
