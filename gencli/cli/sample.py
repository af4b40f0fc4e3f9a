"""`gencli sample RUN`: draw images."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from gencli.cli import console
from gencli.cli.arguments import (
    SOME_MODELS,
    BatchSize,
    Caption,
    Checkpoint,
    Device,
    Force,
    Guidance,
    Out,
    Quiet,
    Raw,
    RunArgument,
    Sampler,
    Seed,
    Steps,
    Temperature,
    be_quiet,
)
from gencli.cli.opening import caption as caption_of
from gencli.cli.opening import open_run
from gencli.cli.outputs import announce, target
from gencli.errors import UsageError


def sample(
    run: RunArgument,
    n: Annotated[int, typer.Option("--n", "-n", help="How many images.", min=1)] = 64,
    out: Out = None,
    format: Annotated[
        Literal["grid", "png", "npz", "gif"],
        typer.Option(help="One grid, one PNG each, arrays, or the animated way there (diffusion)."),
    ] = "grid",
    seed: Seed = 0,
    checkpoint: Checkpoint = "last",
    raw: Raw = False,
    batch_size: BatchSize = None,
    device: Device = "auto",
    force: Force = False,
    caption: Caption = False,
    preview: Annotated[bool, typer.Option("--preview", help="Show a few in the terminal.")] = False,
    label: Annotated[
        int | None,
        typer.Option(
            help="Class to draw; every class in turn by default.", rich_help_panel=SOME_MODELS
        ),
    ] = None,
    temperature: Temperature = None,
    steps: Steps = None,
    sampler: Sampler = None,
    guidance: Guidance = None,
    complete: Annotated[
        str | None,
        typer.Option(
            help="Autoregressive: fill in these images, such as test:0..7 or a file.",
            rich_help_panel=SOME_MODELS,
        ),
    ] = None,
    keep: Annotated[
        Literal["top", "bottom", "left", "right"],
        typer.Option(help="With --complete: the half that is given.", rich_help_panel=SOME_MODELS),
    ] = "top",
    quiet: Quiet = False,
) -> None:
    """Draw samples; prints the path written.

    Image i depends on the seed and i alone.
    """
    be_quiet(quiet)
    if caption and format in ("png", "npz"):
        raise UsageError(
            f"--format {format} has no room for a caption.", "Use --format grid or gif."
        )
    model = open_run(run, checkpoint=checkpoint, raw=raw, device=device)
    options = model.given_options(
        temperature=temperature, steps=steps, sampler=sampler, guidance=guidance
    )
    text = caption_of(model, seed) if caption else ""
    if complete is not None:
        from gencli.cli.completion_sheet import completion_sheet

        picture = completion_sheet(model, complete, keep, seed=seed, options=options)
        where = target(out, force, model.run, "completion", ".png")
        from gencli.viz.caption import captioned
        from gencli.viz.grid import write_png

        write_png(captioned(picture, text), where)
        announce(where)
        return
    suffix = {"grid": ".png", "png": "" if n > 1 else ".png", "npz": ".npz", "gif": ".gif"}[format]
    where = target(out, force, model.run, "sample", suffix)
    if format == "gif":
        _trajectory(model, where, n, seed, label, options, text)
    else:
        _images(model, where, format, n, seed, label, batch_size, options, preview, text)
    announce(where)


def _images(
    model: Any, where: Any, format: str, n: int, seed: int, label: int | None,
    batch_size: int | None, options: dict[str, Any], preview: bool, text: str,
) -> None:  # fmt: skip
    from gencli.loaded import SAMPLE_BATCH
    from gencli.viz.caption import captioned
    from gencli.viz.grid import make_grid, write_npz, write_png, write_pngs

    with console.counting() as progress:
        images = model.sample(
            n, seed=seed, labels=label, batch_size=batch_size or SAMPLE_BATCH,
            on_step=lambda step, total, _: progress("Sampling", step, total), **options,
        )  # fmt: skip
    if preview:
        from gencli.viz.terminal import preview as show

        show(images, console.stderr())
    if format == "npz":
        write_npz(images, where, model.labels_drawn(n, label))
    elif format == "png" and n > 1:
        assert isinstance(where, Path)
        write_pngs(images, where)
    else:
        plain = {"padding": 0, "scale": 1} if format == "png" else {}
        write_png(captioned(make_grid(images, **plain), text), where)


def _trajectory(
    model: Any, where: Any, n: int, seed: int, label: int | None, options: dict[str, Any],
    text: str,
) -> None:  # fmt: skip
    from gencli.viz.animation import write_gif
    from gencli.viz.caption import captioned
    from gencli.viz.grid import make_grid

    frames: list[Any] = []

    def keep_frame(step: int, total: int, images: Any) -> None:
        if step % max(total // 60, 1) == 0 or step == total:
            frames.append(captioned(make_grid(images.float().cpu().clamp(0, 1)), text))

    if not model.shows_steps():
        raise UsageError(
            f"{model.run.model} has no trajectory to animate.",
            "Use `gencli interpolate --format gif`, or a diffusion model.",
        )
    model.sample(n, seed=seed, labels=label, batch_size=n, on_step=keep_frame, **options)
    write_gif([*frames, *frames[-1:] * 12], where)
