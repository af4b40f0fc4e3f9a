"""Two processes of one thread each against one process of one thread, at equal global batch.

The same `gencli train` is run by itself and by `torchrun --nproc-per-node 2`, in alternation.
Images per second are those of the training steps alone. The share of a step that goes into
all-reduce is the first process's time within torch.distributed, waiting for the other included.

    OMP_NUM_THREADS=1 python benchmarks/processes.py [--pairs 3] [--models dcgan ddpm pixelcnn]
        [--batch-size 128]

It needs two cores that nobody else uses.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from gencli.__main__ import leave

STEPS = {"dcgan": 60, "ddpm": 30, "pixelcnn": 30}
COMMON = ("--sample-every", "0", "--val", "0", "--json", "-q")
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node")


def worker(arguments: list[str]) -> int:
    """Run the command with torch's collectives timed; the first process adds a line of its own."""
    import torch.distributed as dist

    from gencli.cli.app import run

    spent = [0.0]

    def timed(call: Callable[..., Any]) -> Callable[..., Any]:
        def clocked(*args: Any, **kwargs: Any) -> Any:
            began = time.perf_counter()
            try:
                return call(*args, **kwargs)
            finally:
                spent[0] += time.perf_counter() - began

        return clocked

    dist.all_reduce = timed(dist.all_reduce)
    code = run(arguments)
    if os.environ.get("RANK", "0") == "0":
        print(json.dumps({"all_reduce": spent[0]}), flush=True)
    return code


def measured(model: str, processes: int, batch: int) -> tuple[float, float]:
    """Images per second, and the share of the steps' time within all-reduce."""
    size = ("--batch-size", str(batch))
    train = ("train", model, "--steps", str(STEPS[model]), *size, *COMMON)
    start = (*TORCHRUN, str(processes)) if processes > 1 else ()
    done = subprocess.run(
        [sys.executable, *start, __file__, "--worker", *train],
        check=True, capture_output=True, text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    document, end = json.JSONDecoder().raw_decode(done.stdout)
    spent = json.loads(done.stdout[end:])["all_reduce"]
    return document["images_per_second"], spent / document["seconds"]


def main() -> None:
    """Print a line for each model."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--models", nargs="+", choices=STEPS, default=list(STEPS))
    parser.add_argument("--batch-size", type=int, default=128, help="of all processes together")
    options = parser.parse_args()
    for model in options.models:
        ratios, shares = [], []
        for pair in range(options.pairs):
            counts = (1, 2) if pair % 2 == 0 else (2, 1)
            found = {n: measured(model, n, options.batch_size) for n in counts}
            ratios.append(found[2][0] / found[1][0])
            shares.append(found[2][1])
            print(f"  pair {pair + 1}: one {found[1][0]:.1f}, two {found[2][0]:.1f}", flush=True)
        print(
            f"{model}: ratio {statistics.median(ratios):.2f} (median of {options.pairs} pairs), "
            f"all-reduce {statistics.median(shares):.0%} of a step"
        )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        leave(worker(sys.argv[2:]))
    main()
