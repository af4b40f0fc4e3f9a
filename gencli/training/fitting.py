"""Training a run that is there, to whatever end; its status then says which."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Literal

import torch

from gencli import memory, runs
from gencli.data.splits import ImageData
from gencli.errors import DivergedError, GencliError, InterruptedRun
from gencli.models.interface import GenerativeModel
from gencli.processes import Processes
from gencli.runs import Run
from gencli.training import summary
from gencli.training.reporter import Lasting, Reporter
from gencli.training.settings import Settings
from gencli.training.signals import StopRequest
from gencli.training.state import State
from gencli.training.trainer import Trainer
from gencli.training.trial import largest_batch


def fit(
    run: Run,
    network: GenerativeModel,
    data: ImageData,
    settings: Settings,
    *,
    device: torch.device,
    precision: Literal["fp32", "bf16"],
    reporter: Reporter,
    processes: Processes,
    resume: bool,
    stop_after: int | None = None,
) -> tuple[Run, Trainer, State]:
    """Train a locked run; in the end its status says how that went, and it is unlocked.

    Args:
        run: Which; only the first process writes there.
        network: Its model, on the CPU.
        data: Its data.
        settings: With every default filled in.
        device: Where to train.
        precision: Of the losses' forward pass.
        reporter: Shows the training.
        processes: That train it together.
        resume: Whether to go on from its last checkpoint.
        stop_after: A step after which to stop as if asked to.

    Raises:
        GencliError: Of every kind; too little memory names a batch that fits.
    """
    try:
        return _fit(
            run, network, data, settings, device, precision, reporter, processes, resume, stop_after
        )
    except (MemoryError, RuntimeError) as failure:
        if not memory.ran_out(failure):
            raise
        wanted = memory.wanted(failure)
    # What the failed step held is free now.
    raise _too_large(network, data, settings, device, precision, processes.world, wanted)


def _fit(
    run: Run,
    network: GenerativeModel,
    data: ImageData,
    settings: Settings,
    device: torch.device,
    precision: Literal["fp32", "bf16"],
    reporter: Reporter,
    processes: Processes,
    resume: bool,
    stop_after: int | None,
) -> tuple[Run, Trainer, State]:
    status, began = "failed", time.monotonic()
    reporter, stop = Lasting(reporter), StopRequest(stop_after)
    try:
        with stop.listening():
            trainer = Trainer(
                network, data, settings, run,
                device=device, precision=precision, reporter=reporter, stop=stop,
                processes=processes, taken_over=_taken_over(run),
            )  # fmt: skip
            for line in summary.before(trainer, data, precision, torch.get_num_threads()):
                reporter.message(line)
            over = summary.over(trainer) if resume else None
            if over is not None:
                reporter.message(over)
            state = trainer.fit(resume=resume)
        status = "done"
        if over is None:
            for line in summary.after(trainer, time.monotonic() - began):
                reporter.message(line)
        return run, trainer, state
    except InterruptedRun:
        status = "interrupted"
        if not stop.planned:
            raise
        return run, trainer, trainer.state
    except KeyboardInterrupt:  # the second Ctrl-C
        status = "interrupted"
        there = run.checkpoints()
        kept = f"the checkpoint of step {there[-1].step}" if there else "no checkpoint"
        raise InterruptedRun(
            f"Stopped at once; {run.name} has {kept}.",
            f"Continue with: gencli train {run.model} --resume {run.name}",
            130,
        ) from None
    except DivergedError:
        status = "diverged"
        raise
    finally:
        try:
            if processes.rank == 0:
                run.update(status=status, updated=runs.now())
        except GencliError:
            if status == "done":  # otherwise what ended the training is of more use
                raise
        finally:
            run.release()


def _too_large(
    network: GenerativeModel,
    data: ImageData,
    settings: Settings,
    device: torch.device,
    precision: Literal["fp32", "bf16"],
    world: int,
    wanted: str,
) -> GencliError:
    """What is said of too little memory: which batch fits, by trying."""
    network.zero_grad(set_to_none=True)
    n = min(settings.batch_size, len(data.train))
    problem = f"There is not enough memory{wanted}, with {n} images a batch."
    smaller = GencliError(problem, "Use a smaller --batch-size, a smaller model, or free memory.")
    if settings.shard:  # what tries batches copies the model, whole
        return smaller
    piece = -(-n // (world * settings.grad_accumulation))
    try:
        fits, _ = largest_batch(
            network, data, replace(settings, grad_accumulation=1),
            device=device, precision=precision, most=piece - 1,
        )  # fmt: skip
    except (GencliError, MemoryError, RuntimeError):
        return smaller
    pieces = -(-n // (world * fits))
    return GencliError(
        problem, f"This fits: --batch-size {world * fits}, or --grad-accumulation {pieces}."
    )


def _taken_over(run: Run) -> list[str]:
    """Names of the tensors with which another run began this one."""
    given = run.record.get("init_from")
    names = given.get("tensors") if isinstance(given, dict) else None
    return [str(name) for name in names] if isinstance(names, list) else []
