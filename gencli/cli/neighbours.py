"""`gencli evaluate RUN --neighbours PATH`: samples beside the training images nearest to them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from gencli.cli.outputs import target
from gencli.errors import DataError, UsageError
from gencli.kinds import Progress

if TYPE_CHECKING:
    from gencli.data.splits import ImageData
    from gencli.loaded import LoadedModel

ROWS, NEAREST = 10, 5
_DRAWN = 200  # samples among which the rows are found


def claimed(out: str | None) -> Any:
    """The path to write to, claimed before anything is measured; None where none is asked for.

    Raises:
        UsageError: If it cannot be written to, or is there already.
    """
    if out == "-":
        raise UsageError("stdout has the figures.", "Give --neighbours a path.")
    return None if out is None else target(out, False, None, "neighbours", ".png")


def see_that_there_is_a_judge(data: ImageData) -> None:
    """Before anything is measured.

    Raises:
        DataError: If no judge can be made for these data.
    """
    from gencli.evaluation.absent import no_judge_for

    if (why := no_judge_for(data, len(data.test))) is not None:
        raise DataError(f"There is no judge of what is alike: {why}.", "Leave out --neighbours.")


def write(
    where: Any,
    model: LoadedModel,
    data: ImageData,
    *,
    samples: int,
    seed: int,
    batch_size: int | None,
    sampling: Mapping[str, Any],
    progress: Progress,
) -> None:
    """Of up to 200 samples, those ten that are most like a training image, a row each.

    The nearest five follow, by the features of the data's judge.
    """
    import dataclasses

    import torch

    from gencli.evaluation.copying import most_alike
    from gencli.evaluation.judge import judge_for
    from gencli.evaluation.measuring import Measuring, ink
    from gencli.models.drawing import evaluating
    from gencli.random import mix_seed
    from gencli.viz.grid import make_grid, write_png

    own = dataclasses.asdict(model.model.config.sampling().parsed(sampling))
    measuring = Measuring(model.model, data, data.test, seed, batch_size, progress, {}, own)
    judge = judge_for(data, progress=lambda done, total: progress("judge", done, total))
    with evaluating(model.model):
        drawn, _ = measuring.draw(min(samples, _DRAWN))
    if data.info.binary:
        drawn = ink(drawn, mix_seed(seed, 4))
    train = measuring.training_features(judge, mix_seed(seed, 3))
    rows, which = most_alike(judge(drawn)[0], train, ROWS, NEAREST)
    found = data.train.rows(which.flatten()).images
    found = found.reshape(*which.shape, *found.shape[1:])
    sheet = torch.cat([drawn[rows][:, None], found], dim=1)
    write_png(make_grid(sheet.flatten(0, 1) / 255, columns=sheet.shape[1]), where)
