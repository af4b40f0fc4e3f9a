"""How fast the command answers, and how much memory a training takes.

    python benchmarks/start_up.py [--pairs 7]

Prints seconds of `gencli --help`, what `gencli sample vae --n 64` takes beyond
`python -c "import torch"`, and the peak memory of training on MNIST beyond that of `import torch`.
Needs a trained `vae` (`gencli train vae`).
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time

IMPORT = [sys.executable, "-c", "import torch"]
GENCLI = [sys.executable, "-m", "gencli"]


def run(command: list[str]) -> tuple[float, float]:
    """Wall seconds and peak resident megabytes of a process."""
    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, command
    return time.perf_counter() - began, usage.ru_maxrss / 1024


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=7)
    pairs = parser.parse_args().pairs
    help_seconds = [run([*GENCLI, "--help"])[0] for _ in range(pairs)]
    print(f"gencli --help: {statistics.median(help_seconds):.2f} s")
    beyond = []
    for _ in range(pairs):
        base, _ = run(IMPORT)
        ours, _ = run([*GENCLI, "sample", "vae", "--n", "64"])
        beyond.append(ours - base)
    print(f"gencli sample vae --n 64: {statistics.median(beyond):.2f} s beyond import torch")
    train = [*GENCLI, "train", "vae", "--data", "mnist", "--epochs", "1", "-q"]
    run(train)  # fills the cache
    memory = run(train)[1] - run(IMPORT)[1]
    print(f"gencli train vae --data mnist: {memory:.0f} MB beyond import torch")


if __name__ == "__main__":
    main()
