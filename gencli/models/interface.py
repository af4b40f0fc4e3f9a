"""The interface of every model: a loss or several updates, stages in time, and `sample`.

There are three axes along which training procedures differ: stages in time, updates within a step,
and one loss per update. Whatever else a procedure keeps (a Markov chain, sufficient statistics) is
a buffer of the model, saved and resumed like any other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from gencli.config import Config
from gencli.data.conditions import NOTHING, Batch, Condition
from gencli.data.spec import DataInfo
from gencli.kinds import ConditionKind
from gencli.models.signs import Sign
from gencli.random import ImageGenerator

__all__ = [
    "NOTHING", "Batch", "Condition", "GenerativeModel", "Loss", "Optimizer", "Sign",
    "Stage", "StageSettings", "Step", "Update",
]  # fmt: skip


class Loss:
    """A loss to minimise and named figures to log beside it, all 0-d tensors.

    Nothing here is read on the host within a step: the trainer adds the tensors up where they are.
    """

    __slots__ = ("metrics", "total")

    def __init__(self, total: Tensor, **metrics: Tensor) -> None:
        self.total = total
        self.metrics = metrics


@dataclass
class Step:
    """A step of training, as its losses see it.

    Attributes:
        number: Steps of the stage that were taken before, from 0.
        total: Steps of the stage; None where only the clock decides.
        shared: What an update hands to those after it in the same step, by name: a discriminator
            the images that it was shown to the generator. Empty when the step begins.
    """

    number: int = 0
    total: int | None = None
    shared: dict[str, Tensor] = field(default_factory=dict)

    @property
    def done(self) -> float | None:
        """The part of the stage that is over, in [0, 1); None where only the clock decides."""
        return self.number / self.total if self.total else None


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
        loss: (batch, step) -> Loss.
        parameters: What the gradient flows into; everything else is left alone.
        optimizer: None runs `loss` without gradients (EM gathers statistics this way).
        repeat: Times per step, each on a fresh batch. The last batch of a step is the same for all
            of its updates.
        clip_norm: Largest norm of the gradient over all parameters of this update, unless the run's
            `--clip-norm` says another; None leaves it.
        after: Called after each optimizer step, without gradients (weight clipping).
        epoch_end: Called when the data have been gone through once, without gradients (an M-step).
        ema: Whether an exponential moving average of these parameters is kept and used for
            sampling and evaluation.
    """

    name: str
    loss: Callable[[Batch, Step], Loss]
    parameters: tuple[nn.Parameter, ...]
    optimizer: Optimizer | None = field(default_factory=Optimizer)
    repeat: int = 1
    clip_norm: float | None = None
    after: Callable[[], None] | None = None
    epoch_end: Callable[[], None] | None = None
    ema: bool = False


@dataclass(frozen=True)
class StageSettings:
    """What is different in a stage from the run's settings.

    Attributes:
        lr_scale: Its learning rate relative to the run's.
        batch_size: Images per update; None is the run's.
        ema_decay: Of the moving average of weights; None is the run's.
        epochs: Its length; None is its share of what is left of the run's.
        share: Its part of the run, relative to the other stages without `epochs`.
    """

    lr_scale: float = 1.0
    batch_size: int | None = None
    ema_decay: float | None = None
    epochs: int | None = None
    share: float = 1.0


def _identity(batch: Batch) -> Batch:
    return batch


@dataclass(frozen=True)
class Stage:
    """A stretch of training with its own updates: a layer of a deep belief network, say.

    Attributes:
        name: Shown in progress and logs.
        updates: What a step does, in order.
        prepare: A batch of the data -> what the updates see, without gradients.
        start: Called once when the stage begins, with a way to the training images: `start(data)`
            where iterating `data` yields batches in storage order (k-means++, pixel means).
        finish: Called once when the stage is over.
        frozen: Modules put in evaluation mode and left alone during the stage.
        settings: What is different from the run's settings.
        validate: A batch -> (B,), smaller is better: what checkpoints of this stage are selected
            on; None takes what the model offers for all stages.
        preview: (n, generator, condition) -> images (n, C, H, W), for a stage in which `sample`
            would show nothing yet; None takes `sample`.
    """

    name: str
    updates: tuple[Update, ...]
    prepare: Callable[[Batch], Batch] = _identity
    start: Callable[[Iterable[Batch]], None] | None = None
    finish: Callable[[], None] | None = None
    frozen: tuple[nn.Module, ...] = ()
    settings: StageSettings = field(default_factory=StageSettings)
    validate: Callable[[Batch], Tensor] | None = None
    preview: Callable[[int, ImageGenerator, Condition], Tensor] | None = None


class GenerativeModel(nn.Module):
    """A deep generative model of images.

    A model with one loss writes `loss` and `sample` and nothing else. `__init__` takes the model's
    config and a `DataInfo`. Randomness during training comes from torch's global generators (saved
    with checkpoints); randomness while sampling comes from the `generator` argument alone.

    Attributes:
        config: The model's options.
        data: What it is trained on.
        conditions: What it is told beside the images.
        discrete_levels: Values of a pixel under the likelihood: 2, 256 (which gives bits per
            dimension), or None for a density.
        compiled: Whether its networks are, by `compile_networks`.
    """

    bf16: ClassVar[bool] = True
    """Whether `loss` may run under bf16 autocast."""

    bf16_sampling: ClassVar[bool] = False
    """Whether `sample` may: its images must be as good, and not depend on the batch."""

    cpu_sample_batch: ClassVar[int] = 250
    """Images per forward pass of `sample` that are fastest on a CPU."""

    log_prob_is_density: ClassVar[bool] = False
    """Whether `log_prob` is a density even where `discrete_levels` says what a bound counts."""

    codes_are_images: ClassVar[bool] = False
    """Whether `encode` is the image in other coordinates, as large: no features to be measured."""

    channels_last: ClassVar[bool] = False
    """Whether convolutions are faster here with the channels innermost in memory."""

    summed: ClassVar[tuple[str, ...]] = ()
    """Buffers that losses without an optimizer add sums over images to, and do nothing else with.
    Several processes add theirs up. Any module of a model may have this and the next two."""

    per_process: ClassVar[tuple[str, ...]] = ()
    """Buffers of which several processes each have their own: Markov chains, say."""

    blocks_in: ClassVar[tuple[str, ...]] = ()
    """Lists of modules that `--shard` splits one by one; a loss uses them by calling them alone."""

    config: Config
    data: DataInfo
    conditions: tuple[ConditionKind, ...]
    discrete_levels: int | None
    compiled: bool = False

    def __init__(self, config: Config, data: DataInfo) -> None:
        super().__init__()
        self.config, self.data = config, data
        self.conditions = config.conditions()
        self.discrete_levels = 2 if data.binary else None

    @property
    def device(self) -> torch.device:
        """Where the model lives."""
        tensors: Iterator[Tensor] = iter((*self.parameters(), *self.buffers()))
        return next(tensors).device

    def loss(self, batch: Batch, step: Step) -> Loss:
        """The objective of a single-loss model. Models with several updates leave it alone."""
        raise TypeError(f"{type(self).__name__} defines neither loss() nor updates()")

    def updates(self) -> tuple[Update, ...]:
        """The updates of one step; one over `loss` unless overridden."""
        return (Update("model", self.loss, tuple(self.parameters()), ema=True),)

    def stages(self) -> tuple[Stage, ...]:
        """The stages of training; one of `updates()` unless overridden."""
        return (Stage("train", self.updates()),)

    def signs(self) -> tuple[Sign, ...]:
        """What is to be looked for in the logged figures while training; nothing by default."""
        return ()

    def compilable(self) -> tuple[nn.Module, ...]:
        """Sub-networks that `--compile` compiles in place."""
        return tuple(self.children())

    def compile_networks(self) -> None:
        """Compile them; from then on they are to be called, not computed around."""
        for network in self.compilable():
            network.compile()
        self.compiled = True

    def sample(
        self, n: int, *, generator: ImageGenerator, condition: Condition = NOTHING
    ) -> Tensor:
        """Draw `n` images (n, C, H, W) in [0, 1].

        A model's own sampling options (`temperature`, `steps`) are further keyword arguments, by
        the names that they have in its config's `Sampling`. A sampler that goes in steps and can be
        watched takes `on_step`, called as `on_step(step, steps, images)`.

        Args:
            n: How many; `generator` holds one stream for each.
            generator: Where every random number comes from.
            condition: What to draw, of the kinds in `conditions`.
        """
        raise TypeError(f"{type(self).__name__} does not define sample()")
