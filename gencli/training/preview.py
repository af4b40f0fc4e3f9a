"""The sample grids drawn while training, from the same random numbers every time."""

from __future__ import annotations

import time
from collections.abc import Callable

from torch import Tensor

from gencli.models.drawing import draw
from gencli.models.interface import Condition, GenerativeModel, Stage
from gencli.random import ImageGenerator
from gencli.runs import Run
from gencli.training.ema import EMA, averaged
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
        condition: What the `N_IMAGES` images are told, of the kinds that the model takes.
        seen: Given every preview's images (N_IMAGES, C, H, W), on the CPU.
    """

    def __init__(
        self,
        model: GenerativeModel,
        run: Run,
        every: int | None,
        condition: Condition,
        seen: Callable[[Tensor], None],
    ) -> None:
        self._model, self._run, self._every, self._seen = model, run, every, seen
        self._condition = condition.to(model.device)
        self._cost, self._last, self._drawn = 0.0, time.monotonic(), -1

    def epoch_ended(self, stage: Stage, step: int, epoch: int, ema: EMA | None) -> None:
        """Draw when it is time to."""
        if self._every is None:
            due = time.monotonic() - self._last > self._cost / SHARE_OF_TIME
        else:
            due = self._every > 0 and epoch % self._every == 0
        if due:
            self.draw(stage, step, ema)

    def draw(self, stage: Stage, step: int, ema: EMA | None) -> None:
        """Draw now, unless this step was drawn or previews are off."""
        if self._every == 0 or step == self._drawn:
            return
        began = time.monotonic()
        with averaged(self._model, ema):
            images = self._images(stage)
        write_png(make_grid(images), self._run.folder("samples") / f"step-{step:08d}.png")
        self._last = time.monotonic()
        self._cost, self._drawn = self._last - began, step
        self._seen(images)

    def _images(self, stage: Stage) -> Tensor:
        model, condition = self._model, self._condition
        if stage.preview is not None:
            generator = ImageGenerator(0, range(N_IMAGES), model.device)
            return stage.preview(N_IMAGES, generator, condition).float().cpu()
        return next(draw(model, N_IMAGES, seed=0, condition=condition, batch_size=N_IMAGES))
