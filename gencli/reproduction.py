"""A run trained again from what its run.json holds, and what is the same in the two.

A training is a function of its settings, its data, the versions, the kind of processor and the
number of threads. Where all of these are as they were, the new weights are the old ones to the last
bit; where one is not, figures are compared within their errors.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Literal

import torch
from torch import Tensor

from gencli import curves, evaluations
from gencli.checkpoint import Checkpoint
from gencli.data.load import load
from gencli.device import choose_device
from gencli.errors import RunError, UsageError
from gencli.evaluation.results import OUTLIERS, SURE
from gencli.kinds import Progress
from gencli.measured import measure
from gencli.runs import Run
from gencli.training import session
from gencli.training.circumstances import differences
from gencli.training.reporter import Reporter
from gencli.training.settings import Settings

Verdict = Literal["equal", "within error", "not equal"]

_FILES = ("model", "trainer")
_ENDING = 10  # lines of metrics.jsonl that tell how much a loss moves of itself


@dataclass(frozen=True)
class Part:
    """The tensors of one file of a checkpoint that both runs have.

    Attributes:
        step: The checkpoint's.
        file: `model`, or `trainer`: optimizers, averages, random states, open losses.
        equal: How many are the same bit for bit.
        others: The largest difference of each that is not; infinite where one run lacks it or it
            has another shape or type.
    """

    step: int
    file: str
    equal: int
    others: Mapping[str, float]


@dataclass(frozen=True)
class Compared:
    """One figure of both runs.

    Attributes:
        name: Such as `loss` or `nll, test, step 7000`.
        before: Of the old run.
        after: Of the new one.
        error: Standard error of the difference; None where it is not known.
    """

    name: str
    before: float
    after: float
    error: float | None

    @property
    def verdict(self) -> Verdict:
        """`within error` is at most two standard errors of the difference."""
        if self.before == self.after:
            return "equal"
        near = self.error is not None and abs(self.before - self.after) <= SURE * self.error
        return "within error" if near else "not equal"


@dataclass(frozen=True)
class Reproduction:
    """A run and the same again.

    Attributes:
        old: The run.
        new: It, trained again.
        notes: What differs around the two trainings.
        parts: Tensors, by checkpoint and file.
        figures: Losses and evaluations.
    """

    old: Run
    new: Run
    notes: list[str]
    parts: list[Part]
    figures: list[Compared] = field(default_factory=list)

    @property
    def equal(self) -> bool:
        """Whether every tensor of the checkpoints that both have is the same, bit for bit."""
        return bool(self.parts) and not any(part.others for part in self.parts)


def reproduce(
    run: Run, *, name: str | None, reporter: Reporter, progress: Progress | None = None
) -> Reproduction:
    """Train a run again, into a new one, as far as the old one came.

    Args:
        run: Left as it is.
        name: Of the new run; None makes one up.
        reporter: Shows the training.
        progress: Told of the loading of the data and of what is measured.

    Raises:
        RunError: If the run is training, or has no checkpoint.
        UsageError: If its model or its options are not there any more, or the clock ended several
            of its stages.
        GencliError: As a training may fail.
    """
    last = run.checkpoint()
    if run.status == "running":
        raise RunError(f"The run {run.name} is training.", "Wait for its end.")
    settings, options = session.recorded(run)
    by_clock = settings.max_time is not None
    if by_clock and last.state["stage"] > 0:
        raise UsageError(
            f"The clock ended the stages of {run.name}, and where is not recorded.",
            "Train with --steps or --epochs in place of --max-time.",
        )
    notes = list(_notes(run))
    if load(options, progress).fingerprint != run.record["data"]["fingerprint"]:
        reporter.message(f"{options.data} is not what {run.name} was trained on any more.")
    for note in notes:
        reporter.message(note)
    whole = run.status == "done" and not by_clock
    begun = run.record.get("init_from")
    new, *_ = session.start(
        run.model,
        run.record["config"],
        options,
        vars(_as_it_was(settings, run.record)),
        name=name,
        reporter=reporter,
        progress=progress,
        origins=run.record.get("origins"),
        init_from=str(begun["run"]) if isinstance(begun, dict) else None,
        stop_after=None if whole else last.step,
    )
    new.update(reproduces=str(run.path))
    for note in differences(run.record, new.record):
        reporter.message(f"{note}; bits may differ")
        notes.append(note)
    found = Reproduction(run, new, notes, list(_parts(run, new)))
    found.figures.extend(_losses(run, new))
    if not found.equal:  # equal weights have equal figures
        found.figures.extend(_measured(run, new, progress))
    return found


def _as_it_was(settings: Settings, record: Mapping[str, Any]) -> Settings:
    """The settings with what was chosen by them in place of what leaves the choice open.

    The clock is left out: it would end this training elsewhere.
    """
    device = str(record.get("device", "auto"))
    try:
        on = choose_device(device)
    except UsageError:  # another machine
        device, on = "auto", choose_device()
    threads = record.get("threads") if on.type == "cpu" else None
    return dataclasses.replace(
        settings,
        max_time=None,
        device=device,
        precision=record["precision"],
        threads=threads if isinstance(threads, int) else settings.threads,
    )


def _notes(run: Run) -> Iterator[str]:
    """What run.json says that the settings alone do not bring back."""
    if run.record.get("lengthened"):
        steps = [str(told.get("step")) for told in run.record["lengthened"]]
        told = f"it was given another length at step {', '.join(steps)}"
        if run.record["settings"].get("lr_schedule") == "constant":
            yield told
        else:
            yield f"{told}, which changed its learning rates"
    begun = run.record.get("init_from")
    if isinstance(begun, dict):
        yield f"it began with step {begun.get('step')} of {begun.get('run')}"


def _parts(old: Run, new: Run) -> Iterator[Part]:
    there = {checkpoint.step: checkpoint for checkpoint in new.checkpoints()}
    for checkpoint in old.checkpoints():
        if checkpoint.step in there:
            for file in _FILES:
                yield compare(checkpoint, there[checkpoint.step], file)


def compare(a: Checkpoint, b: Checkpoint, file: str) -> Part:
    """The tensors of two checkpoints, bit for bit.

    Args:
        a: Of one run.
        b: Of the same step of another.
        file: `model` or `trainer`.
    """
    ours, theirs = (c.tensors(f"{file}.safetensors") for c in (a, b))
    others = {
        name: apart
        for name in sorted(ours.keys() | theirs.keys())
        if (apart := _apart(ours.get(name), theirs.get(name))) is not None
    }
    return Part(a.step, file, len(ours.keys() | theirs.keys()) - len(others), others)


def _apart(a: Tensor | None, b: Tensor | None) -> float | None:
    """The largest difference; None where the bits are the same."""
    if a is None or b is None or a.shape != b.shape or a.dtype != b.dtype:
        return math.inf
    if torch.equal(_bits(a), _bits(b)):
        return None
    return float((a.double() - b.double()).abs().max())


def _bits(tensor: Tensor) -> Tensor:
    return tensor.contiguous().reshape(-1).view(torch.uint8)


def _losses(old: Run, new: Run) -> Iterator[Compared]:
    """The last of each series of losses, and the best on validation."""
    ours, theirs = curves.curves(old), curves.curves(new)
    for name, points in ours.items():
        after = dict(theirs.get(name, ()))
        step, before = points[-1]
        error = _moves([value for _, value in points[-_ENDING:]])
        if step in after:
            yield Compared(f"{name}, step {step}", before, after[step], error)
        if name == "val_loss":
            best = [run.checkpoint().state["best_value"] for run in (old, new)]
            if None not in best:
                yield Compared("best val_loss", float(best[0]), float(best[1]), error)


def _moves(values: list[float]) -> float | None:
    """Standard error of the difference of two such values, from one line to the next.

    Half the mean square of successive differences is their variance, whatever the trend (von
    Neumann 1941).
    """
    steps = [b - a for a, b in pairwise(values)]
    return math.sqrt(sum(d * d for d in steps) / len(steps)) if len(steps) > 1 else None


def _measured(old: Run, new: Run, progress: Progress | None) -> Iterator[Compared]:
    """The old run's evaluations on its own data, made again; of each checkpoint the newest."""
    own = old.record["data"]["name"]
    newest = {
        (evaluation.get("step"), evaluation["data"].get("split"), key): evaluation
        for evaluation in evaluations.of(old)
        if evaluation["data"].get("name") == own
        for key in evaluation["metrics"]
    }
    again = {c.step for c in new.checkpoints()}
    for evaluation in {id(e): e for e in newest.values()}.values():
        step, split = evaluation.get("step"), evaluation["data"].get("split")
        keys = [k for k in evaluation["metrics"] if newest[step, split, k] is evaluation]
        keys = [key for key in keys if key not in OUTLIERS]
        if step not in again or split not in ("test", "val") or not keys:
            continue
        raw = evaluation.get("weights") == "raw"
        settings = {**evaluation["settings"], "metrics": keys}
        found = measure(
            new, settings, checkpoint=str(step), split=split, raw=raw, progress=progress
        )
        for key, metric in found.items():
            before = evaluation["metrics"][key]
            errors = [before.get("standard_error"), metric.standard_error]
            error = math.hypot(*errors) if all(isinstance(e, float) for e in errors) else None
            named = f"{key}, {split}, step {step}"
            yield Compared(named, float(before["value"]), metric.value, error)
