"""Images drawn by two processes of one thread each against one process of one thread.

An untrained `ddpm` of the default size (images of 28x28) draws the same images by `gencli sample`
and by `torchrun --nproc-per-node 2 -m gencli sample`, in alternation. Printed are the images per
second of the drawing, and the seconds of the whole command with its start; the images of the two
are compared.

    OMP_NUM_THREADS=1 python benchmarks/drawing.py [--n 512] [--steps 20] [--pairs 3]

It needs two cores that nobody else uses.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from gencli.__main__ import leave

TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")


def worker(arguments: list[str]) -> int:
    """Run the command; the first process adds a line with the seconds of the drawing."""
    from gencli.cli.app import run
    from gencli.loaded import LoadedModel

    whole, spent = LoadedModel.sample, [0.0]

    def timed(*args: Any, **kwargs: Any) -> Any:
        began = time.perf_counter()
        try:
            return whole(*args, **kwargs)
        finally:
            spent[0] = time.perf_counter() - began

    LoadedModel.sample = timed  # type: ignore[method-assign]
    code = run(arguments)
    if os.environ.get("RANK", "0") == "0":
        print(json.dumps({"seconds": spent[0]}), flush=True)
    return code


def drawn(out: Path, several: bool, arguments: list[str]) -> tuple[float, float]:
    """Seconds of the drawing, and of the whole command."""
    start = TORCHRUN if several else ()
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, *start, __file__, "--worker", *arguments, "--out", str(out)],
        check=True, capture_output=True, text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    seconds = time.perf_counter() - began
    return json.loads(done.stdout.splitlines()[-1])["seconds"], seconds


def main() -> None:
    """Print a line for each pair, and the medians."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--n", type=int, default=512)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--pairs", type=int, default=3)
    options = parser.parse_args()
    ratios = []
    with tempfile.TemporaryDirectory() as folder:
        train = ("train", "ddpm", "--steps", "1", "--val", "0", "--name", "drawing", "-q")
        os.environ["GENCLI_HOME"] = folder
        command = [sys.executable, "-m", "gencli"]
        subprocess.run([*command, *train], check=True, capture_output=True)
        sample = ["sample", "drawing", "-n", str(options.n), "--steps", str(options.steps)]
        sample += ["--format", "npz", "--force", "-q"]
        outs = {several: Path(folder) / f"{several}.npz" for several in (False, True)}
        for pair in range(options.pairs):
            order = (False, True) if pair % 2 == 0 else (True, False)
            found = {several: drawn(outs[several], several, sample) for several in order}
            one, two = (np.load(outs[several])["images"] for several in (False, True))
            ratios.append(found[False][0] / found[True][0])
            alone, together = (options.n / found[several][0] for several in (False, True))
            print(
                f"  pair {pair + 1}: one {alone:.1f} images/s, two {together:.1f}, ratio "
                f"{ratios[-1]:.2f}; whole commands {found[False][1]:.1f} s and "
                f"{found[True][1]:.1f} s; {'equal' if (one == two).all() else 'NOT EQUAL'}",
                flush=True,
            )
    print(f"ratio {statistics.median(ratios):.2f} (median of {options.pairs} pairs)")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        leave(worker(sys.argv[2:]))
    main()
