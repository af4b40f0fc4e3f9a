"""`gencli reconstruct RUN IMAGES`: originals above what the model makes of their codes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from gencli.cli import conditions, console
from gencli.cli.arguments import (
    Caption,
    Checkpoint,
    Device,
    Force,
    Out,
    Quiet,
    Raw,
    RunArgument,
    be_quiet,
)
from gencli.cli.opening import caption as caption_of
from gencli.cli.opening import open_run
from gencli.cli.outputs import announce, target
from gencli.cli.own_options import given

if TYPE_CHECKING:
    from torch import Tensor

COLUMNS = 8


def reconstruct(
    run: RunArgument,
    images: Annotated[
        list[str],
        typer.Argument(
            metavar="IMAGES...",
            help="Image files, or test:0..7 of the data set.",
            show_default=False,
        ),
    ],
    out: Out = None,
    checkpoint: Checkpoint = "last",
    raw: Raw = False,
    device: Device = "auto",
    force: Force = False,
    caption: Caption = False,
    quiet: Quiet = False,
    **own: Any,
) -> None:
    """Encode images and decode them again; prints the path of a sheet, originals above.

    Images of the data set are decoded with their own classes, where the model takes classes.
    """
    be_quiet(quiet)
    console.begin("loading PyTorch")
    import torch

    from gencli.cli.images import read_batch
    from gencli.data.conditions import NOTHING
    from gencli.viz.caption import captioned
    from gencli.viz.grid import make_grid, write_png

    model = open_run(run, checkpoint=checkpoint, raw=raw, device=device)
    options = given(own, type(model.model.config).Decoding)
    originals, made = [], []
    for reference in images:
        x, known = read_batch(reference, model)
        told = conditions.read(own, model, len(x))
        if told is None and known is not NOTHING:
            told = known
        z = model.encode(x, told)
        originals.append(x)
        made.append(model.decode(z, told, **options))
    x, y = torch.cat(originals), torch.cat(made)
    console.message(f"mean squared error {float((x - y).square().mean()):.4g} of {len(x)} images")
    where = target(out, force, model.run, "reconstruction", ".png")
    columns = min(len(x), COLUMNS)
    text = caption_of(model, None) if caption else ""
    write_png(captioned(make_grid(above(x, y, columns), columns=columns), text), where)
    announce(where)


def above(x: Tensor, y: Tensor, columns: int) -> Tensor:
    """Rows of originals, each above the row of what was made of them.

    Args:
        x: Originals (N, C, H, W).
        y: What was made of them, alike.
        columns: Images in a row; a last row that is not full is filled up with grey.
    """
    import torch

    from gencli.viz.grid import SEPARATOR

    missing = -len(x) % columns
    blank = x.new_full((missing, *x.shape[1:]), SEPARATOR / 255)
    rows = [torch.cat([images, blank]).view(-1, columns, *x.shape[1:]) for images in (x, y)]
    return torch.stack(rows, dim=1).flatten(0, 2)
