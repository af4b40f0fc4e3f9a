"""A training that begins with another run's weights (`--init-from RUN`)."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from gencli import runs
from gencli.errors import UsageError
from gencli.models.build import build_model
from gencli.models.interface import GenerativeModel
from gencli.processes import saved
from gencli.training.checkpoint import load_model
from gencli.wording import counted

_NAMED = 6


@dataclass(frozen=True)
class TakenOver:
    """What a model has from another run.

    Attributes:
        run: That run's directory.
        step: Its checkpoint's.
        weights: "ema" for its averaged weights, "raw" for the last.
        tensors: Names of the tensors taken over.
        others: Names of the model's tensors that begin as they would without it, each with why.
    """

    run: str
    step: int
    weights: str
    tensors: tuple[str, ...]
    others: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """As run.json has it."""
        kept = {"run": self.run, "step": self.step, "weights": self.weights}
        return {**kept, "tensors": list(self.tensors)}

    def __str__(self) -> str:
        whole = len(self.tensors) + len(self.others)
        text = f"begun with {len(self.tensors)} of {counted(whole, 'tensor')} of {self.run}"
        if not self.others:
            return text
        more = f", and {len(self.others) - _NAMED} more" if len(self.others) > _NAMED else ""
        return f"{text}; not taken over: {', '.join(self.others[:_NAMED])}{more}"


@torch.no_grad()
def take_over(model: GenerativeModel, reference: str) -> TakenOver:
    """Give a model, by name, the weights and buffers of a run whose shapes and types fit.

    Args:
        model: Newly made, on the CPU.
        reference: A run's directory or name, or a model's name; the last checkpoint is used, its
            averaged weights where there are any.

    Raises:
        RunError: If there is no such run or checkpoint, or it is damaged.
        UsageError: If nothing fits.
    """
    run = runs.find(reference)
    saved = run.checkpoint()
    other = build_model(run.model, run.record["config"], run.record["data"]["info"])
    weights = load_model(other, saved)
    theirs, taken, others = other.state_dict(), list[str](), list[str]()
    for name, ours in model.state_dict().items():
        found = theirs.get(name)
        if found is None:
            others.append(f"{name} (not there)")
        elif found.shape != ours.shape or found.dtype != ours.dtype:
            shapes = ("x".join(map(str, t.shape)) or "1" for t in (found, ours))
            others.append(f"{name} ({' there, '.join(shapes)} here)")
        else:
            ours.copy_(found)
            taken.append(name)
    if not taken:
        raise UsageError(
            f"None of the weights of {run.name} fits.",
            f"Begin with a run of the same model and sizes: gencli info {run.name}",
        )
    return TakenOver(str(run.path), saved.step, weights, tuple(taken), tuple(others))


@contextmanager
def kept(model: GenerativeModel, names: Collection[str]) -> Iterator[None]:
    """Leave some tensors of a model as they are, whatever the block does to them.

    A stage may begin by fitting some to the data, which is not to undo what was taken over.
    """
    tensors = saved(model)
    before = {name: tensors[name].clone() for name in names if name in tensors}
    yield
    for name, tensor in saved(model).items():
        if name in before:
            tensor.copy_(before[name])
