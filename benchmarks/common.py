"""What the benchmarks share: pairs in alternation, and the machine's matrix-product rate."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import torch


def matmul_rate(
    dtype: torch.dtype = torch.float32,
    n: int = 2048,
    repeats: int = 5,
    device: torch.device | str = "cpu",
) -> float:
    """Multiply-adds per second of a large square matrix product, the best of a few."""
    a, b = torch.randn(2, n, n, device=device).to(dtype)
    last = (0, slice(1))
    (a @ b)[last].cpu()
    best = float("inf")
    for _ in range(repeats):
        began = time.perf_counter()
        (a @ b)[last].cpu()  # which waits for the device
        best = min(best, time.perf_counter() - began)
    return n**3 / best


def alternate(
    ours: Callable[[], float], plain: Callable[[], float], pairs: int
) -> tuple[list[float], list[float]]:
    """Rates of both programs, measured in turn: machines drift."""
    rates: tuple[list[float], list[float]] = ([], [])
    for pair in range(pairs):
        first = (ours, plain) if pair % 2 == 0 else (plain, ours)
        measured = {program: program() for program in first}
        rates[0].append(measured[ours])
        rates[1].append(measured[plain])
        print(f"  pair {pair + 1}: ours {rates[0][-1]:.1f}  plain {rates[1][-1]:.1f}", flush=True)
    return rates


def report(
    name: str,
    ours: list[float],
    plain: list[float],
    *,
    unit: str,
    multiply_adds: float | None = None,
    rate: float | None = None,
) -> float:
    """Print medians, their ratio and the share of the matrix-product rate; returns the ratio."""
    ratio = statistics.median(a / b for a, b in zip(ours, plain, strict=True))
    print(
        f"{name}: ours {statistics.median(ours):.1f}, plain {statistics.median(plain):.1f} {unit}"
    )
    print(f"{name}: ratio {ratio:.2f} (median of {len(ours)} pairs)")
    if multiply_adds is not None and rate is not None:
        share = statistics.median(ours) * multiply_adds / rate
        print(f"{name}: {share:.0%} of the machine's matrix-product rate ({rate / 1e9:.0f} GMAC/s)")
    return ratio


def gencli_train(*arguments: str) -> float:
    """Images per second of one `gencli train ... --json`, over its training steps alone."""
    done = subprocess.run(
        [sys.executable, "-m", "gencli", "train", *arguments, "--json", "-q"],
        check=True,
        capture_output=True,
        text=True,
        env=os.environ,
    )
    return float(json.loads(done.stdout)["images_per_second"])


def child(script: str, *arguments: str) -> float:
    """The last line printed by a benchmark script run in a process of its own, as a number."""
    done = subprocess.run(
        [sys.executable, script, *arguments], check=True, capture_output=True, text=True
    )
    return float(done.stdout.split()[-1])
