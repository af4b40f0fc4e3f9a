"""What a person is told of a training before it begins and after it has ended."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from gencli.data.splits import ImageData
from gencli.wording import counted, readable, spoken

if TYPE_CHECKING:
    from gencli.training.trainer import Trainer


def before(trainer: Trainer, data: ImageData, precision: str, threads: int) -> list[str]:
    """The data, the model and the plan, a line each, and whether that is few updates."""
    lines = [data_line(data), model_line(trainer), plan_line(trainer, precision, threads)]
    return lines if _by_a_file(trainer) else lines + few(trainer, trainer.budget.total_steps)


def _by_a_file(trainer: Trainer) -> bool:
    """Whether a recipe or a file of the user's says how long the run is, and knows why."""
    origins = trainer.run.record.get("origins")
    sources = origins.get("sources") if isinstance(origins, dict) else None
    told = sources if isinstance(sources, dict) else {}
    length = "steps" if trainer.settings.steps is not None else "epochs"
    return told.get(length) == "file"


def few(trainer: Trainer, steps: int | None) -> list[str]:
    """That a training of so many steps will not do, and what would, in a line; else nothing."""
    model = trainer.model
    enough = model.config.enough
    if enough is None or steps is None:
        return []
    needed = enough.digits if model.data.channels == 1 else enough.photographs
    if steps >= needed:
        return []
    return [
        f"few: {counted(steps, 'update')}; {trainer.run.model} needs about {enough.digits:,} for "
        f"digits, {enough.photographs:,} for photographs: --steps {needed}, "
        "or a recipe (--config NAME)"
    ]


def expected(trainer: Trainer, left: float) -> list[str]:
    """How long it will take, foretold from the first seconds; or what fits into the time given.

    Args:
        trainer: Some seconds after it began.
        left: Seconds to come.
    """
    pace, planned = trainer.pace, trainer.budget.total_steps
    fits = pace.steps_in(left)
    if trainer.settings.max_time is None or fits is None:
        return [f"expected: about {spoken(pace.seconds + left)} in all"]
    steps = trainer.state.step + fits
    if planned is not None and steps >= planned:
        return [f"expected: about {spoken(pace.seconds + left)} in all"]
    return [f"expected: about {counted(steps, 'step')} in that time", *few(trainer, steps)]


def data_line(data: ImageData) -> str:
    """Such as `ships: 2,432 train, 268 validation, 300 test, 3x32x32, no classes`."""
    info = data.info
    parts = [
        f"{len(data.train):,} train",
        f"{len(data.val):,} validation",
        f"{len(data.test):,} test",
        "x".join(map(str, info.shape)),
        f"{info.n_classes} classes" if info.n_classes else "no classes",
    ]
    if info.vocabulary:
        parts.append(f"captions of {counted(len(info.vocabulary), 'word')}")
    if info.binarization != "none":
        parts.append(f"binarised ({info.binarization})")
    return f"{Path(data.name).name}: {', '.join(parts)}"


def model_line(trainer: Trainer) -> str:
    """Such as `vae: 1.1M parameters`; one that does not learn by gradients has numbers too."""
    n = sum(p.numel() for p in trainer.model.parameters())
    return f"{trainer.run.model}: {readable(n)} parameters"


def plan_line(trainer: Trainer, precision: str, threads: int) -> str:
    """Such as `plan: 20 epochs, 8,600 steps of 128 images, on cpu in fp32 with 2 threads`."""
    settings, total, stages = trainer.settings, trainer.budget.total_steps, trainer.stages
    length = []
    if len(stages) > 1:
        length.append(f"{len(stages)} stages")
    if settings.epochs is not None:
        length.append(counted(settings.epochs, "epoch"))
    if total is not None:
        length.append(counted(total, "step"))
    if settings.max_time is not None:
        length.append(f"at most {settings.max_time}" if total is not None else settings.max_time)
    where = str(trainer.device)
    by = f" with {counted(threads, 'thread')}" if where == "cpu" else ""
    there = trainer.run.checkpoints()  # of a run that is resumed
    went = f" from step {there[-1].step:,}" if there else ""
    return (
        f"plan: {', '.join(length)}{went}, {counted(trainer.batch_size, 'image')} a batch, "
        f"on {where} in {precision}{by}"
    )


def over(trainer: Trainer) -> str | None:
    """That a run which is to be continued is finished, and how to go on; None if it is not."""
    run, settings, total = trainer.run, trainer.settings, trainer.budget.total_steps
    step = run.checkpoint().step
    if total is None or step < total:
        return None
    length = f"--epochs {2 * settings.epochs}" if settings.epochs else f"--steps {2 * step}"
    return (
        f"{run.name} is finished: it has taken {step:,} of {total:,} steps. To go on, give a "
        f"longer total: gencli train {run.model} --resume {run.name} {length}"
    )


def after(trainer: Trainer, seconds: float) -> list[str]:
    """What it took and came to, where to look, and what to type next.

    Args:
        trainer: At its end.
        seconds: Of this session.
    """
    state, run = trainer.state, trainer.run
    lines = [
        f"{run.name}: {counted(state.step, 'step')}, {round(state.epoch, 2):g} epochs, "
        f"in {spoken(seconds)}"
    ]
    if trainer.last_metrics:
        lines.append(f"last: {figures(trainer.last_metrics)}")
    if state.best_value is not None:
        lines.append(f"best: val_loss {state.best_value:.5g} at step {state.best_step:,}")
    preview = run.path / "samples" / f"step-{state.step:08d}.png"
    if preview.is_file():
        lines.append(f"preview: {preview}")
    return [*lines, f"next: gencli sample {run.name}"]


def figures(metrics: Mapping[str, float]) -> str:
    """Losses as `name value` pairs."""
    return ", ".join(f"{name} {value:.5g}" for name, value in metrics.items())
