"""Signs of trouble in a training that goes on, each told once, in one line, with what to try.

Three kinds: what a model says of its own logged figures (`GenerativeModel.signs`), samples of a
preview that are all alike, and a likelihood no better than that of pixels on their own. Nothing
here changes a training; docs/notes/trouble.md has the thresholds and what they were set by.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from gencli.curves import curves
from gencli.data.store import ResidentStore
from gencli.models.abilities import HasValidation
from gencli.models.interface import GenerativeModel, Sign
from gencli.training.summary import few

if TYPE_CHECKING:
    from gencli.training.trainer import Trainer

SETTLED_STEPS = 1_000
"""Steps of a stage before its samples and its likelihood are judged, unless it ends before."""

LEAST_STEPS = 100
"""Steps of a stage that are judged in the end, however few there were."""

LEAST_SPREAD = 0.25
"""Of samples, relative to the data's: below it they are all alike."""

LEAST_DISTANCE = 0.03
"""Of a sample to the nearest other one, relative to the data's: below it they are a few copies."""

OF_CHANCE = 0.97
"""Nats per image, relative to those of independent pixels: above it nothing was learnt."""

_IMAGES = 2_000  # whose pixels' means are taken


class Watch:
    """Looks at what a training logs, draws and validates.

    Args:
        trainer: Whose state tells where the training is.
        shown: Images of the data (n, C, H, W), as many as a preview has.
    """

    def __init__(self, trainer: Trainer, shown: Tensor) -> None:
        self._trainer = trainer
        self._data_spread = spread(shown)
        self._told: set[str] = set()
        self._signs: list[Lasting] | None = None

    def figures(self, means: Mapping[str, float]) -> None:
        """Look at what is about to be a line of metrics.jsonl."""
        trainer, step = self._trainer, self._trainer.state.step
        if self._signs is None:
            past = curves(trainer.run) if step else {}
            begun_anew = not trainer.taken_over  # else the largest value may lie before the run
            signs = [s for s in trainer.model.signs() if begun_anew or not s.of_largest]
            self._signs = [Lasting(sign, past) for sign in signs]
        for lasting in self._signs:
            if lasting.holds(step, means):
                sign = lasting.sign
                seen = ", ".join(f"{name} {means[name]:.3g}" for name in sign.figures)
                told = f"{sign.trouble} ({seen}; for {sign.lasting:,} updates)"
                self._tell(told, sign.cure, key=sign.trouble)

    def validated(self, nats: float) -> None:
        """Look at a validation loss, where it is a likelihood."""
        trainer = self._trainer
        if not self._settled() or not is_nats(trainer.model, trainer.steps.stage.validate):
            return
        base = nats_of_independent_pixels(trainer.model, trainer.train_store)
        if nats >= OF_CHANCE * base:
            self._tell(
                f"the likelihood is that of pixels on their own ({nats:.5g} nats, {base:.5g} for "
                "independent pixels)",
                "another --lr, a --warmup or a larger model",
                key="likelihood",
            )

    def pictures(self, images: Tensor) -> None:
        """Look at the images of a preview."""
        mean, nearest = (
            seen / own if own else math.inf
            for seen, own in zip(spread(images), self._data_spread, strict=True)
        )
        if self._settled() and (mean < LEAST_SPREAD or nearest < LEAST_DISTANCE):
            seen, of = (mean, "spread") if mean < LEAST_SPREAD else (nearest, "distances")
            short = few(self._trainer, self._trainer.state.step)
            self._tell(
                f"the samples are nearly all alike ({seen:.2g} of the data's {of})",
                "a longer training" if short else "a lower --lr or another --seed",
                key="samples",
            )

    def _settled(self) -> bool:
        """Whether a stage has gone on for long, or is over."""
        state, budget = self._trainer.state, self._trainer.budget
        over = budget.spent(state.stage, state.stage_step)
        return state.stage_step >= (LEAST_STEPS if over else SETTLED_STEPS)

    def _tell(self, trouble: str, cure: str, *, key: str) -> None:
        if key not in self._told:
            self._told.add(key)
            step = self._trainer.state.step
            self._trainer.reporter.message(f"trouble at step {step:,}: {trouble}; try {cure}")


class Lasting:
    """A sign, and for how long it has held.

    Args:
        sign: Of the model.
        past: The run's losses so far, where it is resumed.
    """

    def __init__(self, sign: Sign, past: Mapping[str, list[tuple[int, float]]]) -> None:
        self.sign = sign
        self._largest, self._since = -math.inf, -1
        series = [dict(past.get(name, ())) for name in sign.figures]
        for step in sorted(set.intersection(*map(set, series))):
            self.holds(step, {n: s[step] for n, s in zip(sign.figures, series, strict=True)})

    def holds(self, step: int, means: Mapping[str, float]) -> bool:
        """Whether it has held for long, a new line of metrics.jsonl included."""
        sign = self.sign
        if not means.keys() >= set(sign.figures):
            return False
        value = sign.measure(means)
        self._largest = max(self._largest, value)
        if value < sign.least * (self._largest if sign.of_largest else 1.0):
            self._since = -1
        elif self._since < 0:
            self._since = step
        return 0 <= self._since <= step - sign.lasting


def spread(images: Tensor) -> tuple[float, float]:
    """How far images (n, C, H, W) are apart: the mean distance, the median one to the nearest.

    Distances are root mean squares over pixels, so that those of small and large images compare, as
    where a first stage draws small ones.
    """
    points = images.detach().flatten(1).double().cpu()
    points, n = points / math.sqrt(points.shape[1]), len(points)
    if n < 2:
        return 0.0, 0.0
    distances = torch.cdist(points, points)
    mean = float(distances.sum()) / (n * (n - 1))
    return mean, float(distances.fill_diagonal_(math.inf).amin(1).median())


def is_nats(model: GenerativeModel, validate: object) -> bool:
    """Whether a validation loss is the negative log-likelihood of pixels with levels, or a bound.

    Args:
        model: What is trained.
        validate: The stage's own figure, or None.
    """
    own = validate is not None or isinstance(model, HasValidation)
    return not own and model.discrete_levels is not None and not model.log_prob_is_density


def nats_of_independent_pixels(model: GenerativeModel, store: ResidentStore) -> float:
    """What an image costs where pixels are independent, by the means of the training images.

    For binary pixels; for pixels of L levels it is that of uniform ones, log L each.
    """
    if model.discrete_levels != 2:
        return model.data.n_pixels * math.log(model.discrete_levels or 1)
    own = torch.Generator(model.device).manual_seed(0)  # training's own is left as it is
    images = next(store.in_order(_IMAGES, own)).images
    p = images.mean(0).double().clamp(1e-4, 1 - 1e-4)
    return float(-(p * p.log() + (1 - p) * (1 - p).log()).sum())
