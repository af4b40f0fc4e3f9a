"""`gencli inspect DATASET|PATH`: what data are, before training."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gencli.cli import console, shell_completion
from gencli.cli.arguments import Force, Json, Quiet, be_quiet
from gencli.cli.outputs import announce, target
from gencli.data.options import DataOptions
from gencli.errors import UsageError
from gencli.kinds import Binarization
from gencli.wording import counted, readable_bytes

if TYPE_CHECKING:
    from gencli.data.files import Files
    from gencli.data.inspection import Inspection

_NAMED = 5
"""Names of files in a line; the others are counted."""


def inspect(
    data: Annotated[
        str,
        typer.Argument(
            metavar="DATASET|PATH",
            help="A data set's name, or a folder of images.",
            autocompletion=shell_completion.datasets,
            show_default=False,
        ),
    ],
    image_size: Annotated[
        int | None, typer.Option(help="Resize to this many pixels a side.", min=4, max=1024)
    ] = None,
    binarize: Annotated[
        Binarization | None, typer.Option(help="How grey values become zeros and ones.")
    ] = None,
    sheet: Annotated[
        str | None,
        typer.Option(
            help="Write 64 images as a model will see them, and pairs that are alike below.",
            metavar="PATH|-",
        ),
    ] = None,
    force: Force = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Look at data before training: counts, sizes, what is damaged, twice there, or suits.

    Near duplicates are images of the test split that look like one of the training split (their
    small versions correlate by 0.995 or more); plain shapes may be alike without being copies.
    """
    be_quiet(quiet)
    if sheet == "-" and json:
        raise UsageError("Two things cannot go to stdout.", "Write the sheet to a file.")
    console.begin("loading PyTorch")
    from gencli.data import inspection

    with console.counting() as progress:
        options = DataOptions(data=data, image_size=image_size, binarize=binarize)
        found = inspection.inspect(options, progress)
    if sheet is not None:
        from gencli.viz.grid import write_png

        where = target(sheet, force, None, "", ".png")
        write_png(_sheet(found), where)
        if sheet == "-":
            return
        if json:
            console.message(f"sheet: {where}")
        else:
            announce(where)
    if json:
        console.emit_json(inspection.to_json(found))
    elif sheet is None:
        for line in lines(found):
            console.emit(line)


def lines(found: Inspection) -> Iterator[str]:
    """What was found, in words."""
    for head, text in _rows(found):
        yield f"{head:12} {text}"


def _rows(found: Inspection) -> Iterator[tuple[str, str]]:
    from gencli.data.inspection import class_counts, n_captioned, name_of, suggested

    data, info = found.data, found.data.info
    yield "data", data.name
    yield "images", f"{len(data.train):,} train, {len(data.test):,} test"
    shape = "x".join(map(str, info.shape))
    how = "" if info.binarization == "none" else f", {info.binarization} binarisation"
    yield "as seen", f"{shape}{how}, {readable_bytes(found.bytes)} of memory"
    counts = class_counts(found)
    if counts:
        few, many = min(counts.values()), max(counts.values())
        each = f"{few:,}" if few == many else f"{few:,} to {many:,}"
        yield "classes", f"{len(counts)}, {each} training images each: {_some(list(counts))}"
    else:
        yield "classes", "none"
    if info.vocabulary:
        words = f"up to {info.caption_length} of {len(info.vocabulary):,} words"
        yield "captions", f"{n_captioned(found):,} images have one, {words}"
    yield "mean", f"{_figures(found.mean)}, spread {_figures(found.spread)} (of 0 to 1)"
    if found.files is not None:
        yield from _of_files(found.files)
    if found.grey:
        yield "grey", f"{counted(found.grey, 'image')} of a colour set"
    if found.bad:
        yield "unreadable", f"{counted(len(found.bad), 'file')}: {_some(found.bad)}"
    pairs = [
        f"{name_of(found, 'test', p.second)} ~ {name_of(found, 'train', p.first)}"
        for p in found.pairs
    ]
    yield (
        "alike",
        f"{counted(len(pairs), 'test image')} with a likeness in the training split"
        + (f": {_some(pairs)}" if pairs else ""),
    )
    for note in data.notes:
        yield "note", note
    for number, line in enumerate(suggested(found)):
        yield ("" if number else "try"), line


def _of_files(files: Files) -> Iterator[tuple[str, str]]:
    formats = ", ".join(f"{n:,} {kind}" for kind, n in files.formats.items())
    yield "files", f"{len(files.names):,}, {readable_bytes(files.bytes)}: {formats}"
    if files.other:
        others = ", ".join(f"{n:,} {suffix}" for suffix, n in files.other.items())
        yield "left out", f"files without an image's suffix: {others}"
    sizes = sorted(files.sizes.values(), key=lambda size: size[0] * size[1])
    if sizes:
        low, middle, high = (sizes[i] for i in (0, len(sizes) // 2, -1))
        same = f"all {low[0]}x{low[1]}"
        span = f"{low[0]}x{low[1]} to {high[0]}x{high[1]}, median {middle[0]}x{middle[1]}"
        yield "sizes", same if low == high else span
    if files.huge:
        named = [f"{name} ({files.sizes[name][0]}x{files.sizes[name][1]})" for name in files.huge]
        yield "huge", f"{counted(len(named), 'image')}: {_some(named)}"
    if files.misnamed:
        named = [f"{name} is {kind}" for name, kind in files.misnamed.items()]
        yield "misnamed", f"{counted(len(named), 'file')}: {_some(named)}"
    if files.same:
        groups = [" = ".join(group) for group in files.same]
        yield (
            "twice",
            f"{counted(len(groups), 'group')} of files that are the same: {_some(groups)}",
        )


def _some(names: list[str] | tuple[str, ...]) -> str:
    more = f", and {len(names) - _NAMED:,} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def _figures(values: tuple[float, ...]) -> str:
    return " ".join(f"{value:.3f}" for value in values)


def _sheet(found: Inspection) -> Any:
    """64 training images spread over the set; below them pairs, test above training."""
    import torch

    from gencli.cli.reconstruct import above
    from gencli.viz.grid import SEPARATOR, make_grid

    train, test = found.data.train.images, found.data.test.images
    chosen = torch.linspace(0, len(train) - 1, min(64, len(train))).long()
    images = train[chosen].float() / 255
    pairs = found.pairs[:16]
    if pairs:
        blank = images.new_full((-len(images) % 8 + 8, *images.shape[1:]), SEPARATOR / 255)
        a = test[[pair.second for pair in pairs]].float() / 255
        b = train[[pair.first for pair in pairs]].float() / 255
        images = torch.cat([images, blank, above(a, b, 8)])
    return make_grid(images, columns=8)
