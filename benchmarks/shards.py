"""Memory and speed of two processes that keep shards of the weights, beside two that have all.

A `transformer` of 85 million weights takes steps of 16 binary images of 8 x 8 pixels, by Adam
and with a moving average. Each process says what memory it had at most in those steps: everything
that it held beforehand is in it, PyTorch included, and nothing that came and went before. Memory
that is freed goes back to the system at once (glibc would keep what is smaller than 32 MiB).

    OMP_NUM_THREADS=1 python benchmarks/shards.py [--width 768] [--depth 12]

It needs two cores that nobody else uses, and Linux.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from typing import Any

from gencli.__main__ import leave

STEPS = 4
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")


def worker(width: int, depth: int, shard: bool) -> dict[str, Any]:
    """One process's memory and seconds."""
    import torch

    from gencli import memory, registry
    from gencli.data.order import Order
    from gencli.data.spec import DataInfo
    from gencli.data.splits import Split
    from gencli.data.store import store_of
    from gencli.place import place_in
    from gencli.several import joined
    from gencli.training.metrics import Window
    from gencli.training.settings import Settings
    from gencli.training.steps import Steps
    from gencli.training.weights import weights_of

    torch.manual_seed(0)
    info = DataInfo(1, 8, 8, (), "threshold")
    images = torch.randint(0, 2, (64, 1, 8, 8), dtype=torch.uint8) * 255
    spec, settings = registry.find("transformer"), Settings(shard=shard, ema_decay=0.999)
    options = spec.options().parsed({"width": width, "depth": depth, "heads": 8})
    device = torch.device("cpu")
    with joined(place_in(os.environ)) as processes:
        model = spec.load()(options, info)
        n = sum(p.numel() for p in model.parameters())
        weights = weights_of(model, settings, processes)
        split = Split(images, torch.zeros(64, dtype=torch.int64))
        store, order = store_of(split, info, device, ()), Order(64, 16, 0)
        steps = Steps(
            model, model.stages()[0], store, order, settings,
            precision="fp32", total=None, processes=processes, weights=weights,
        )  # fmt: skip
        memory.peak(anew=True)
        steps.take(0, Window())  # allocates the optimizer's moments
        began = time.perf_counter()
        for number in range(1, STEPS + 1):
            steps.take(number, Window())
        seconds = time.perf_counter() - began
        return {"weights": n, "peak": memory.peak(), "images_per_second": 16 * STEPS / seconds}


def main() -> None:
    """Print a line for weights in both ways."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--width", type=int, default=768)
    parser.add_argument("--depth", type=int, default=12)
    parser.add_argument("--worker", choices=["whole", "shards"], help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.worker:
        found = worker(given.width, given.depth, given.worker == "shards")
        sys.stdout.write(json.dumps(found) + "\n")  # at once: the other process writes, too
        leave(0)
    for how in ("whole", "shards"):
        done = subprocess.run(
            [sys.executable, *TORCHRUN, __file__, "--worker", how,
             "--width", str(given.width), "--depth", str(given.depth)],
            check=True, stdout=subprocess.PIPE, text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1", "MALLOC_MMAP_THRESHOLD_": str(1 << 20)},
        )  # fmt: skip
        both = [json.loads(line) for line in done.stdout.splitlines()]
        peaks = " and ".join(f"{one['peak'] / 2**20:,.0f} MiB" for one in both)
        print(
            f"{how}: {both[0]['weights']:,} weights, at most {peaks}, "
            f"{both[0]['images_per_second']:.2f} images/s",
            flush=True,
        )


if __name__ == "__main__":
    main()
