"""Training a run that is there, to whatever end; its status then says which."""

from __future__ import annotations

import time
from typing import Literal

import torch

from gencli import runs
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
        GencliError: Of every kind.
    """
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
            if resume and (over := summary.over(trainer)):
                reporter.message(over)
            state = trainer.fit(resume=resume)
        status = "done"
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
    except torch.OutOfMemoryError as error:
        raise GencliError(
            f"The device ran out of memory: {str(error).splitlines()[0]}",
            "Use a smaller --batch-size, or --grad-accumulation 2.",
        ) from None
    finally:
        try:
            if processes.rank == 0:
                run.update(status=status, updated=runs.now())
        except GencliError:
            if status == "done":  # otherwise what ended the training is of more use
                raise
        finally:
            run.release()


def _taken_over(run: Run) -> list[str]:
    """Names of the tensors with which another run began this one."""
    given = run.record.get("init_from")
    names = given.get("tensors") if isinstance(given, dict) else None
    return [str(name) for name in names] if isinstance(names, list) else []
