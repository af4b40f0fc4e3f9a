"""The interface of every model: a loss or several updates, stages in time, and `sample`.

There are three axes along which training procedures differ: stages in time, updates within a step,
and one loss per update. Whatever else a procedure keeps (a Markov chain, sufficient statistics) is
a buffer of the model, saved and resumed like any other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import ClassVar, Literal, NamedTuple

import torch
from torch import Tensor, nn

from gencli.data.spec import DataInfo
from gencli.random import ImageGenerator


class Batch(NamedTuple):
    """Images (B, C, H, W), float in [0, 1] (0 or 1 when binarised), and labels (B,) or None."""

    images: Tensor
    labels: Tensor | None


class Loss:
    """A loss to minimise and named figures to log beside it, all 0-d tensors.

    Nothing here is read on the host within a step: the trainer adds the tensors up where they are.
    """

    __slots__ = ("metrics", "total")

    def __init__(self, total: Tensor, **metrics: Tensor) -> None:
        self.total = total
        self.metrics = metrics


@dataclass(frozen=True)
class Optimizer:
    """Which optimizer an update uses. Its learning rate is the run's `--lr` times `lr_scale`."""

    kind: Literal["adam", "adamw", "sgd", "rmsprop"] = "adam"
    lr_scale: float = 1.0
    betas: tuple[float, float] = (0.9, 0.999)
    momentum: float = 0.0
    weight_decay: float = 0.0
    eps: float = 1e-8


@dataclass(frozen=True)
class Update:
    """One optimisation within a step.

    Attributes:
        name: Shown in progress, logs and errors.
        loss: Batch -> Loss.
        parameters: What the gradient flows into; everything else is left alone.
        optimizer: None runs `loss` without gradients (EM gathers statistics this way).
        repeat: Times per step, each on a fresh batch.
        every: Run in every `every`-th step only.
        clip_norm: Largest norm of the gradient over all parameters of this update; None leaves it.
        after: Called after each optimizer step, without gradients (weight clipping).
        epoch_end: Called when the data have been gone through once, without gradients (an M-step).
        ema: Whether an exponential moving average of these parameters is kept and used for
            sampling and evaluation.
    """

    name: str
    loss: Callable[[Batch], Loss]
    parameters: tuple[nn.Parameter, ...]
    optimizer: Optimizer | None = field(default_factory=Optimizer)
    repeat: int = 1
    every: int = 1
    clip_norm: float | None = None
    after: Callable[[], None] | None = None
    epoch_end: Callable[[], None] | None = None
    ema: bool = False


def _identity(images: Tensor) -> Tensor:
    return images


@dataclass(frozen=True)
class Stage:
    """A stretch of training with its own updates: a layer of a deep belief network, say.

    Attributes:
        name: Shown in progress and logs.
        updates: What a step does, in order.
        prepare: (B, C, H, W) images of a batch -> what the updates see, without gradients.
        start: Called once when the stage begins, with a way to the training images: `start(data)`
            where iterating `data` yields batches in storage order (k-means++, pixel means).
        finish: Called once when the stage is over.
        frozen: Modules put in evaluation mode and left alone during the stage.
        share: This stage's part of the run's epochs, relative to the other stages.
    """

    name: str
    updates: tuple[Update, ...]
    prepare: Callable[[Tensor], Tensor] = _identity
    start: Callable[[Iterable[Batch]], None] | None = None
    finish: Callable[[], None] | None = None
    frozen: tuple[nn.Module, ...] = ()
    share: float = 1.0


class GenerativeModel(nn.Module):
    """A deep generative model of images.

    A model with one loss writes `loss` and `sample` and nothing else. `__init__` takes the model's
    config and a `DataInfo`. Randomness during training comes from torch's global generators (saved
    with checkpoints); randomness while sampling comes from the `generator` argument alone.
    """

    bf16: ClassVar[bool] = True
    """Whether `loss` may run under bf16 autocast."""

    channels_last: ClassVar[bool] = False
    """Whether convolutions are faster here with the channels innermost in memory."""

    importance_weighted: ClassVar[bool] = False
    """Whether `log_prob_bound(x, k)` tends to log p(x) as k grows."""

    data: DataInfo

    discrete_levels: int | None
    """Values of a pixel under the likelihood: 2, 256 (which gives bits per dimension), or None
    for a density."""

    def __init__(self, data: DataInfo) -> None:
        super().__init__()
        self.data = data
        self.discrete_levels = 2 if data.binary else None

    @property
    def device(self) -> torch.device:
        """Where the model lives."""
        tensors: Iterator[Tensor] = iter((*self.parameters(), *self.buffers()))
        return next(tensors).device

    def loss(self, batch: Batch) -> Loss:
        """The objective of a single-loss model. Models with several updates leave it alone."""
        raise TypeError(f"{type(self).__name__} defines neither loss() nor updates()")

    def updates(self) -> tuple[Update, ...]:
        """The updates of one step; one over `loss` unless overridden."""
        return (Update("model", self.loss, tuple(self.parameters()), ema=True),)

    def stages(self) -> tuple[Stage, ...]:
        """The stages of training; one of `updates()` unless overridden."""
        return (Stage("train", self.updates()),)

    def compilable(self) -> tuple[nn.Module, ...]:
        """Sub-networks that `--compile` compiles in place."""
        return tuple(self.children())

    def sample(self, n: int, *, generator: ImageGenerator, labels: Tensor | None = None) -> Tensor:
        """Draw `n` images (n, C, H, W) in [0, 1].

        A model with further sampling options (`temperature`, `steps`) names them as keyword
        arguments; the command line offers exactly those that the signature has.

        Args:
            n: How many; `generator` holds one stream for each.
            generator: Where every random number comes from.
            labels: Classes (n,) to draw, for conditional models.
        """
        raise TypeError(f"{type(self).__name__} does not define sample()")
