"""The sample grids drawn while training, from the same random numbers every time."""

from __future__ import annotations

import time

import torch

from gencli.models.abilities import HasLabels
from gencli.models.interface import GenerativeModel
from gencli.random import ImageGenerator
from gencli.runs import Run
from gencli.training.ema import EMA, evaluating
from gencli.viz.grid import make_grid, write_png

N_IMAGES = 64
SHARE_OF_TIME = 0.05
"""Unless told how often, previews take at most this share of a training's time."""


class Preview:
    """Draws samples/step-NNNNNNNN.png.

    The generator is the preview's own and begins anew each time: training is not disturbed, and the
    same latent points are followed throughout.

    Args:
        model: On its device.
        run: Where to.
        every: Epochs between previews; 0 for none, None for as time allows.
    """

    def __init__(self, model: GenerativeModel, run: Run, every: int | None) -> None:
        self._model, self._run, self._every = model, run, every
        self._cost, self._last, self._drawn = 0.0, time.monotonic(), -1

    def epoch_ended(self, step: int, epoch: int, ema: EMA | None) -> None:
        """Draw when it is time to."""
        if self._every is None:
            due = time.monotonic() - self._last > self._cost / SHARE_OF_TIME
        else:
            due = self._every > 0 and epoch % self._every == 0
        if due:
            self.draw(step, ema)

    @torch.no_grad()
    def draw(self, step: int, ema: EMA | None) -> None:
        """Draw now, unless this step was drawn or previews are off."""
        if self._every == 0 or step == self._drawn:
            return
        began = time.monotonic()
        with evaluating(self._model, ema):
            self._write(step)
        self._last = time.monotonic()
        self._cost, self._drawn = self._last - began, step

    def _write(self, step: int) -> None:
        model = self._model
        labels = None
        if isinstance(model, HasLabels) and model.conditional:
            labels = torch.arange(N_IMAGES, device=model.device) % max(model.data.n_classes, 1)
        generator = ImageGenerator(0, range(N_IMAGES), model.device)
        images = model.sample(N_IMAGES, generator=generator, labels=labels)
        write_png(make_grid(images), self._run.folder("samples") / f"step-{step:08d}.png")
