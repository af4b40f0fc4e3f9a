"""`gencli export RUN`: write a deployable artefact."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from gencli.cli import console
from gencli.cli.arguments import Checkpoint, Force, Out, Quiet, Raw, RunArgument, be_quiet
from gencli.cli.opening import open_run
from gencli.cli.outputs import target
from gencli.errors import UsageError


def export(
    run: RunArgument,
    format: Annotated[
        Literal["onnx", "pt2", "weights"],
        typer.Option(help="onnx and pt2 hold the decoder or generator; weights holds everything."),
    ] = "onnx",
    out: Out = None,
    checkpoint: Checkpoint = "last",
    raw: Raw = False,
    force: Force = False,
    quiet: Quiet = False,
) -> None:
    """Write a deployable artefact; prints its path.

    onnx and pt2 files are run and compared with the original before they count as written.
    """
    be_quiet(quiet)
    if out == "-":
        raise UsageError("An export is a file that is checked after writing.", "Give --out PATH.")
    console.begin("loading PyTorch")
    from gencli.export.onnx import export_onnx
    from gencli.export.pt2 import export_pt2
    from gencli.export.weights import export_weights

    model = open_run(run, checkpoint=checkpoint, raw=raw, device="cpu")
    suffix = {"onnx": ".onnx", "pt2": ".pt2", "weights": ".safetensors"}[format]
    path = target(out, force, model.run, model.run.model, suffix, stream=False)
    if format == "weights":
        metadata = {"weights": model.weights, "step": model.step, **model.run.record}
        export_weights(model.model, path, metadata)
    else:
        metadata = {"run": model.run.name, "step": model.step, "weights": model.weights}
        parity = {"onnx": export_onnx, "pt2": export_pt2}[format](
            model.model, path, metadata=metadata
        )
        console.message(
            f"parity: largest difference {parity.max_abs_difference:.1e} "
            f"over {parity.n} images (tolerance {parity.tolerance:.0e})"
        )
    console.emit(str(path))
