"""`gencli report RUN...`: one self-contained HTML page."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Annotated

import typer

from gencli import runs
from gencli.cli import console
from gencli.cli.arguments import RUNS, Force, Out, Quiet, be_quiet
from gencli.cli.outputs import announce, target
from gencli.errors import UsageError


def report(
    references: Annotated[list[str], RUNS],
    out: Out = None,
    show: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
    force: Force = False,
    quiet: Quiet = False,
) -> None:
    """Write a page about runs that opens without a network; prints its path.

    Losses, samples, how they came about, walks, nearest training images, figures, commands. Several
    runs stand side by side.
    """
    be_quiet(quiet)
    chosen = list(dict.fromkeys(runs.find(reference) for reference in references))
    console.begin("loading PyTorch")
    from gencli.reporting.page import report as page
    from gencli.viz.grid import write_bytes

    if show and out == "-":
        raise UsageError("stdout cannot be opened in a browser.", "Leave out --open.")
    for run in chosen:
        _ = run.record  # what cannot be read is said before anything is made
    where = target(out, force, chosen[0], "report", ".html")
    with console.counting() as progress:
        html = page(chosen, progress)
    write_bytes(io.BytesIO(html.encode("utf-8", "replace")), where)
    announce(where)
    if show and isinstance(where, Path):
        import webbrowser

        if not webbrowser.open(where.resolve().as_uri()):
            console.warning("no browser could be opened")
