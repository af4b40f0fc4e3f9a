"""Training on more images than a share of the memory: what it takes, and what it costs.

    python benchmarks/mapped_data.py --images 1000000 --size 64 --folder /tmp/million

A folder of that many JPEG files is made first, of 1,000 different ones and links to them. Then
`gencli train` reads and decodes it, and trains for a few steps; printed are the seconds of both
and the largest anonymous memory of the process (what the system cannot take back; pages of the
mapped file it can). With `--limit-gb`, where control groups can be made (Linux, root), the process
runs in one of that much memory, files in memory included. At last the rate of batches of a mapped
and of a resident store, in alternation, on 20,000 images.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import torch
from common import alternate, report
from PIL import Image

from gencli.data.order import Order
from gencli.data.spec import DataInfo
from gencli.data.splits import Split
from gencli.data.store import MappedStore, ResidentStore

DIFFERENT = 1_000
GROUPS = Path("/sys/fs/cgroup/memory")


def make_folder(folder: Path, n: int, size: int) -> None:
    """`n` names of JPEG files: photographs of nothing, smooth in all colours."""
    numbers = np.random.default_rng(0)
    for i in range(n):
        path = folder / f"{i // 10_000:04d}" / f"{i:07d}.jpg"
        if path.exists():
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        if i >= DIFFERENT:
            first = i % DIFFERENT
            os.link(folder / f"{first // 10_000:04d}" / f"{first:07d}.jpg", path)
            continue
        small = Image.fromarray(numbers.integers(0, 256, (6, 6, 3), np.uint8))
        small.resize((size, size), Image.Resampling.BICUBIC).save(path)


def anonymous(pid: int) -> int:
    """Bytes of anonymous memory of a process; 0 where it is over or the system does not say."""
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0


def limited(gigabytes: float) -> Path | None:
    """A control group of so much memory; None where there can be none."""
    group = GROUPS / f"gencli-benchmark-{os.getpid()}"
    try:
        group.mkdir()
        (group / "memory.limit_in_bytes").write_text(str(int(gigabytes * 1e9)))
    except OSError as error:
        print(f"no limit on the memory: {error}")
        return None
    return group


def train(folder: Path, size: int, steps: int, group: Path | None) -> None:
    """Run the command, and print what it took."""
    command = [
        sys.executable, "-m", "gencli", "train", "vae", "--data", str(folder),
        "--image-size", str(size), "--steps", str(steps), "--batch-size", "64",
        "--sample-every", "0",
    ]  # fmt: skip

    def enter() -> None:
        if group is not None:
            (group / "cgroup.procs").write_text(str(os.getpid()))

    began = time.monotonic()
    process = subprocess.Popen(command, preexec_fn=enter)
    most = [0]

    def watch() -> None:
        while process.poll() is None:
            most[0] = max(most[0], anonymous(process.pid))
            time.sleep(0.2)

    thread = threading.Thread(target=watch)
    thread.start()
    code = process.wait()
    thread.join()
    print(
        f"exit {code} after {time.monotonic() - began:.0f} s; "
        f"at most {most[0] / 1e9:.2f} GB of anonymous memory"
    )
    if group is not None:
        peak = int((group / "memory.max_usage_in_bytes").read_text())
        print(f"with the files in memory {peak / 1e9:.2f} GB, the limit being that of the group")


def rates(pairs: int) -> None:
    """Images per second of both stores."""
    images = torch.randint(256, (20_000, 3, 64, 64), dtype=torch.uint8)
    info, split = DataInfo(3, 64, 64, (), "none"), Split(images, None)
    order = Order(len(images), 64, 0)

    def rate(store: ResidentStore) -> float:
        began = time.perf_counter()
        for number in range(order.n_batches):
            store.batch(order.indices(number))
            store.expect(order.indices(number + 1))
        return len(images) / (time.perf_counter() - began)

    mapped, resident = (kind(split, info, "cpu") for kind in (MappedStore, ResidentStore))
    measured = alternate(lambda: rate(mapped), lambda: rate(resident), pairs)
    report("mapped against resident", *measured, unit="images/s")


def main() -> None:
    """Make the folder, train twice, and compare the stores."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=1_000_000)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--limit-gb", type=float)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--folder", type=Path, required=True)
    args = parser.parse_args()
    make_folder(args.folder, args.images, args.size)
    for what in ("first use", "again"):
        group = limited(args.limit_gb) if args.limit_gb else None
        print(f"{what}:")
        train(args.folder, args.size, args.steps, group)
        if group is not None:
            group.rmdir()
    rates(args.pairs)


if __name__ == "__main__":
    main()
