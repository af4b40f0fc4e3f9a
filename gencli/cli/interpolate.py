"""`gencli interpolate RUN`: walk the latent space."""

from __future__ import annotations

from typing import Annotated, Any, Literal

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
    Seed,
    be_quiet,
)
from gencli.cli.opening import caption as caption_of
from gencli.cli.opening import open_run
from gencli.cli.outputs import announce, target
from gencli.cli.own_options import given
from gencli.errors import UsageError


def interpolate(
    run: RunArgument,
    rows: Annotated[int, typer.Option(help="Paths between random latents.", min=1)] = 8,
    points: Annotated[int, typer.Option(help="Images along each path.", min=2)] = 10,
    kind: Annotated[
        Literal["spherical", "linear"], typer.Option(help="The path between two latents.")
    ] = "spherical",
    start: Annotated[
        str | None,
        typer.Option("--from", help="An image file or test:12, where the path begins."),
    ] = None,
    end: Annotated[
        str | None, typer.Option("--to", help="An image file or test:12, where it ends.")
    ] = None,
    grid: Annotated[
        int | None, typer.Option(help="A sheet of N x N over a 2-D latent space.", min=2)
    ] = None,
    arithmetic: Annotated[
        str | None,
        typer.Option(
            help='Sums of mean latents by class and words of captions: "7:thin - 7 + 0".',
            metavar="TERMS",
        ),
    ] = None,
    format: Annotated[Literal["png", "gif"], typer.Option(help="A sheet or an animation.")] = "png",
    out: Out = None,
    seed: Seed = 0,
    checkpoint: Checkpoint = "last",
    raw: Raw = False,
    device: Device = "auto",
    force: Force = False,
    caption: Caption = False,
    quiet: Quiet = False,
    **own: Any,
) -> None:
    """Walk the latent space; prints the path written."""
    be_quiet(quiet)
    if (start is None) != (end is None):
        raise UsageError("A path needs both ends.", "Give --from and --to.")
    if grid is not None and (start is not None or format == "gif"):
        raise UsageError("--grid is a sheet of its own.", "Leave out --from, --to and gif.")
    if arithmetic is not None and (start is not None or grid is not None or format == "gif"):
        raise UsageError("--arithmetic is a sheet of its own.", "Leave out --from, --grid and gif.")
    console.begin("loading PyTorch")
    import torch

    from gencli.models.latent.paths import manifold_grid, path
    from gencli.viz.animation import write_gif
    from gencli.viz.caption import captioned
    from gencli.viz.grid import make_grid, write_png

    model = open_run(run, checkpoint=checkpoint, raw=raw, device=device)
    drawn = start is None and grid is None  # otherwise nothing is random
    text = caption_of(model, seed if drawn else None) if caption else ""
    model.latent()
    model.see_that_they_fit(grid * grid if grid is not None else rows * points)
    options = given(own, type(model.model.config).Decoding)
    if grid is not None:
        if (dims := model.sample_latent(1).flatten(1).shape[1]) != 2:
            raise UsageError(
                f"The latent space has {dims} dimensions; a sheet needs 2.",
                f"Train one: gencli train {model.run.model} --latent-dim 2",
            )
        where = target(out, force, model.run, "manifold", ".png")
        condition = conditions.read(own, model, grid * grid)
        images = model.decode(manifold_grid(grid), condition, **options)
        write_png(captioned(make_grid(images, columns=grid, padding=0), text), where)
        announce(where)
        return
    if arithmetic is not None:
        from gencli.cli.arithmetic import arithmetic_sheet

        where = target(out, force, model.run, "arithmetic", ".png")
        images = arithmetic_sheet(model, arithmetic, rows, seed, options)
        picture = make_grid(images.flatten(0, 1), columns=images.shape[1])
        write_png(captioned(picture, f"{arithmetic}; {text}" if text else ""), where)
        announce(where)
        return
    where = target(out, force, model.run, "interpolate", f".{format}")
    if format == "gif":
        points = max(points, 24)
    between = conditions.ends(own, model, rows)
    if between is not None and start is not None:
        raise UsageError("A way has two ends.", "Give images or conditions, not both.")
    if between is not None:
        z = model.sample_latent(rows, seed=seed)
        images = model.decode_between(z, *between, points, **options)
    else:
        if start is not None and end is not None:
            from gencli.cli.images import read_images

            told = conditions.read(own, model, 1)
            ends = [model.encode(read_images(image, model)[:1], told) for image in (start, end)]
        else:
            z = model.sample_latent(2 * rows, seed=seed)
            ends = [z[:rows], z[rows:]]
        # What an image is told stays the same along its path.
        told = model.told(len(ends[0]), conditions.read(own, model, len(ends[0])))
        z = path(ends[0], ends[1], points, kind)
        images = torch.stack([model.decode(z[:, i], told, **options) for i in range(points)], dim=1)
    if format == "gif":
        frames = [captioned(make_grid(frame), text) for frame in images.unbind(1)]
        write_gif([*frames, *frames[-2:0:-1]], where)  # there and back again
    else:
        write_png(captioned(make_grid(images.flatten(0, 1), columns=points), text), where)
    announce(where)
