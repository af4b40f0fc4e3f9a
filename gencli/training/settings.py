"""The common options of `train`. No torch here: they are shown by --help."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from gencli.config import Options, Training, option
from gencli.errors import UsageError

AUTO = 0
"""As a batch's size, until one is found (gencli/training/trial.py)."""


@dataclass(frozen=True)
class Settings(Options):
    """Everything about a training that is neither the model's own nor of the data.

    A model's `Training` replaces some of these defaults.
    """

    epochs: int | None = option(None, "Times through the data, in total.", min=1)
    steps: int | None = option(None, "Optimisation steps, in total, instead of epochs.", min=1)
    max_time: str | None = option(None, "Stop after this long: 90s, 10m, 2h.")
    batch_size: int = option(
        128,
        "Images per update, of all processes together; auto: as many as fit in memory, up to 1024.",
        min=1,
        words={"auto": AUTO},
    )
    grad_accumulation: int = option(
        1, "Pieces that a batch goes through the networks in; less memory, same result.", min=1
    )
    lr: float = option(1e-3, "Learning rate.", min=0)
    lr_schedule: Literal["constant", "cosine"] = option(
        "constant", "What the learning rate does over the training."
    )
    warmup: int = option(0, "Steps over which the learning rate rises from 0.", min=0)
    ema_decay: float = option(
        0.0, "Decay of the moving average of weights; 0 keeps none.", min=0, max=0.999999
    )
    clip_norm: float | None = option(None, "Largest norm of a gradient; 0 is no limit.", min=0)
    seed: int = option(0, "Seed of everything random in training.", min=0)
    device: str = option("auto", "auto, cpu, cuda, cuda:N or mps.")
    precision: Literal["auto", "fp32", "bf16"] = option(
        "auto", "auto is bf16 where the hardware has it and the model allows it."
    )
    threads: int | None = option(
        None,
        "Threads on the CPU: half of the cores unless given, so that two trainings fit.",
        min=1,
        max=1024,
    )
    compile: bool = option(False, "Compile the networks with torch.compile.")
    shard: bool = option(
        False, "Spread weights, gradients, averages and optimizers over several processes."
    )
    sample_every: int | None = option(
        None, "Epochs between previews: as time allows unless given; 0 draws none.", min=0
    )
    checkpoint_every: int | None = option(
        None, "Steps between checkpoints: by the epoch and the clock unless given.", min=1
    )
    log: Literal["none", "tensorboard"] = option(
        "none", "Also write losses and rates for TensorBoard, into the run's tensorboard/."
    )
    log_every: int = option(50, "Steps averaged in one line of metrics.jsonl.", min=1)
    keep: int = option(3, "Checkpoints kept, beside the best.", min=1)


LENGTHS = frozenset({"epochs", "steps", "max_time"})
"""Settings that say when a training ends."""

MAY_CHANGE = {
    *LENGTHS,
    *("device", "threads", "compile", "shard"),
    *("sample_every", "checkpoint_every", "log", "log_every", "keep"),
}
"""Settings that may be given anew when a run is resumed."""


GROUPS = {
    **dict.fromkeys(LENGTHS, "Length"),
    **dict.fromkeys(("device", "precision", "compile", "threads", "shard"), "Machine"),
    **dict.fromkeys(("sample_every", "checkpoint_every", "log", "log_every", "keep"), "Records"),
}
"""Settings that the help shows in a group of their own; the others are about the optimisation."""


def parse_duration(text: str) -> float:
    """Seconds in a duration such as 90s, 10m, 1.5h; a bare number is seconds.

    Raises:
        UsageError: If the text is no duration.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smh]?)", text.strip())
    if match is None or float(match[1]) == 0:
        raise UsageError(f"--max-time cannot be {text!r}.", "Write it as 90s, 10m or 2h.")
    return float(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[match[2]]


def resolve(given: Mapping[str, Any], training: Training) -> Settings:
    """The settings of a training: what was given, else the model's defaults, else common ones.

    Training by the clock alone has no known end, so there the schedule is constant unless asked
    for.

    Raises:
        UsageError: If a cosine schedule is asked for without epochs or steps.
    """
    timed = "max_time" in given and not {"epochs", "steps"} & set(given)
    if timed and given.get("lr_schedule") == "cosine":
        raise UsageError(
            "A cosine schedule needs a known length.", "Give --epochs or --steps with it."
        )
    if given.get("max_time") is not None:
        parse_duration(given["max_time"])
    defaults = dict(vars(training))
    if timed:
        defaults["lr_schedule"] = "constant"
    if timed or "steps" in given:
        del defaults["epochs"]
    del defaults["binarize"]  # of the data
    return Settings(**(defaults | dict(given)))
