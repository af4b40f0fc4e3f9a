"""`gencli sample RUN`: draw images."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from gencli.cli import conditions, console
from gencli.cli.arguments import (
    BatchSize,
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
from gencli.cli.opening import open_run, together
from gencli.cli.outputs import announce, target
from gencli.cli.own_options import given
from gencli.errors import GencliError, UsageError

N_IMAGES = 64
N_COMPLETIONS = 6
N_TRANSLATIONS = 24

_SUFFIXES = {"grid": ".png", "png": ".png", "npz": ".npz", "gif": ".gif"}


def sample(
    run: RunArgument,
    n: Annotated[
        int | None,
        typer.Option(
            "--n",
            "-n",
            min=1,
            help="How many images: 64; of each, 6 with --complete, 1 with --source test:0..7.",
        ),
    ] = None,
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
    complete: Annotated[
        str | None,
        typer.Option(
            help="Fill in these images, such as test:0..7 or a file, where the model can.",
        ),
    ] = None,
    keep: Annotated[
        Literal["top", "bottom", "left", "right", "border", "random"],
        typer.Option(
            help="With --complete: the half that is given; or all but a hole, or pixels anywhere."
        ),
    ] = "top",
    quiet: Quiet = False,
    **own: Any,
) -> None:
    """Draw samples; prints the path written.

    Image i depends on the seed, its condition and i alone.
    """
    be_quiet(quiet)
    if caption and format in ("png", "npz"):
        raise UsageError(
            f"--format {format} has no room for a caption.", "Use --format grid or gif."
        )
    with together({"--complete": complete, "--format gif": format == "gif"}) as processes:
        model = open_run(run, checkpoint=checkpoint, raw=raw, device=device, processes=processes)
        options = given(own, model.model.config.sampling())
        text = caption_of(model, seed) if caption else ""
        if complete is not None:
            from gencli.cli.completion_sheet import completion_sheet
            from gencli.viz.caption import captioned
            from gencli.viz.grid import write_png

            if format != "grid":
                raise UsageError("--complete makes one sheet.", f"Leave out --format {format}.")
            picture = completion_sheet(
                model, complete, keep, each=n or N_COMPLETIONS, seed=seed, options=options, own=own
            )
            where = target(out, force, model.run, "completion", ".png")
            write_png(captioned(picture, text), where)
            announce(where)
            return
        if "source" in model.model.conditions and own.get("source") is None:
            own["source"] = _some_source(model, n or N_TRANSLATIONS)
            n = n if format != "grid" else None
        if (source := own.get("source")) is not None and _translated(
            model, source, out, force, format, n, seed, batch_size, options, own, text
        ):
            return
        n = n or N_IMAGES
        condition = conditions.read(own, model, n)
        suffix = "" if format == "png" and n > 1 else _SUFFIXES[format]
        if processes.rank:
            model.see_that_they_fit(n)
            told: dict[str, Any] = {"condition": condition, "batch_size": batch_size, **options}
            for _ in model.sample_batches(n, seed=seed, **told):
                pass  # the first process keeps them
            return
        where = target(out, force, model.run, "sample", suffix)
        if format == "gif":
            _trajectory(model, where, n, seed, condition, options, text)
        else:
            _images(model, where, format, n, seed, condition, batch_size, options, preview, text)
        announce(where)


def _some_source(model: Any, n: int) -> str | None:
    """What is translated where the user does not say: the first test images, if there are any."""
    from gencli.cli.images import first_of_test

    try:
        reference = first_of_test(model, n)
    except GencliError as error:
        console.message(f"no --source, and no test images ({error.problem}): grey is translated")
        return None
    console.message(f"no --source: {reference} is translated")
    return reference


def _translated(
    model: Any, source: str, out: str | None, force: bool, format: str, n: int | None, seed: int,
    batch_size: int | None, options: dict[str, Any], own: dict[str, Any], text: str,
) -> bool:  # fmt: skip
    """Translate a folder, or images of the data set to a sheet; false where `source` is neither."""
    from gencli.cli.images import in_split
    from gencli.cli.translation import refuse, translate_folder, translation_sheet
    from gencli.home import user_path
    from gencli.viz.caption import captioned
    from gencli.viz.grid import write_png

    told: dict[str, Any] = {"seed": seed, "batch_size": batch_size, "options": options, "own": own}
    folder_given, sheet = user_path(source).is_dir(), format == "grid" and in_split(source)
    if model.processes.world > 1 and (folder_given or sheet):
        what = "A folder of translations" if folder_given else "A sheet of translations"
        raise UsageError(f"{what} is for one process.", "Leave torchrun out.")
    if folder_given:
        refuse(format, n)
        folder = target(out, force, model.run, "translation", "")
        assert isinstance(folder, Path)
        translate_folder(model, user_path(source), folder, **told)
        announce(folder)
        return True
    if sheet:
        picture = translation_sheet(model, source, each=n or 1, **told)
        where = target(out, force, model.run, "translation", ".png")
        write_png(captioned(picture, text), where)
        announce(where)
        return True
    return False


def _images(
    model: Any, where: Any, format: str, n: int, seed: int, condition: Any,
    batch_size: int | None, options: dict[str, Any], preview: bool, text: str,
) -> None:  # fmt: skip
    from gencli.viz.caption import captioned
    from gencli.viz.grid import make_grid, write_npz, write_png, write_pngs

    with console.counting() as progress:
        images = model.sample(
            n, seed=seed, condition=condition, batch_size=batch_size,
            on_step=lambda step, total, _: progress("Sampling", step, total), **options,
        )  # fmt: skip
    if preview:
        from gencli.viz.terminal import preview as show

        show(images, console.stderr())
    if format == "npz":
        write_npz(images, where, model.told(n, condition).labels)
    elif format == "png" and n > 1:
        assert isinstance(where, Path)
        write_pngs(images, where)
    else:
        plain = {"padding": 0, "scale": 1} if format == "png" else {}
        write_png(captioned(make_grid(images, **plain), text), where)


def _trajectory(
    model: Any, where: Any, n: int, seed: int, condition: Any, options: dict[str, Any],
    text: str,
) -> None:  # fmt: skip
    from gencli.viz.animation import write_gif
    from gencli.viz.caption import captioned
    from gencli.viz.grid import make_grid

    frames: list[Any] = []

    def keep_frame(step: int, total: int, images: Any) -> None:
        if step % max(total // 60, 1) == 0 or step == total:
            frames.append(captioned(make_grid(images.float().cpu().clamp(0, 1)), text))

    if not model.abilities.steps:
        raise UsageError(
            f"{model.run.model} has no trajectory to animate.",
            "Use `gencli interpolate --format gif`, or a diffusion model.",
        )
    model.sample(n, seed=seed, condition=condition, batch_size=n, on_step=keep_frame, **options)
    write_gif([*frames, *frames[-1:] * 12], where)
