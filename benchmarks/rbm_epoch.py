"""An epoch of CD-1 on MNIST (500 hidden units, batch 100) against its matrix products alone.

A step needs v+ W, h W^T and v- W for the chain, and v^T p for the gradient of each phase: five
products. Images per second of both, in alternation; the inverse ratio says how many times longer
the whole step takes (binarisation, random numbers, sigmoids, Adam, the moving average of weights).

    python benchmarks/rbm_epoch.py [--pairs 5] [--precision fp32]

MNIST comes from gencli's cache or mirrors.
"""

from __future__ import annotations

import argparse
import time

import torch
from common import alternate, gencli_train, matmul_rate, report

N_VISIBLE, N_HIDDEN, BATCH, N_IMAGES = 784, 500, 100, 60_000
PRODUCTS = 5


def ours(precision: str) -> float:
    """Images per second of the trainer."""
    return gencli_train(
        "rbm", "--data", "mnist", "--hidden", str(N_HIDDEN), "--batch-size", str(BATCH),
        "--k", "1", "--objective", "cd", "--epochs", "1", "--val", "0", "--sample-every", "0",
        "--precision", precision,
    )  # fmt: skip


def products(kind: torch.dtype) -> float:
    """Images per second of an epoch's matrix products and nothing else."""
    w = torch.randn(N_VISIBLE, N_HIDDEN).to(kind)
    v = (torch.rand(BATCH, N_VISIBLE) < 0.2).to(kind)
    h = (torch.rand(BATCH, N_HIDDEN) < 0.2).to(kind)
    for _ in range(10):
        v @ w
    began = time.perf_counter()
    for _ in range(N_IMAGES // BATCH):
        _ = v @ w, h @ w.T, v @ w, v.T @ h, v.T @ h
    return N_IMAGES / (time.perf_counter() - began)


def main() -> None:
    """Measure, and print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32")
    arguments = parser.parse_args()
    kind = torch.float32 if arguments.precision == "fp32" else torch.bfloat16
    a, b = alternate(lambda: ours(arguments.precision), lambda: products(kind), arguments.pairs)
    ratio = report(
        "rbm CD-1", a, b, unit="images/s",
        multiply_adds=PRODUCTS * N_VISIBLE * N_HIDDEN, rate=matmul_rate(kind),
    )  # fmt: skip
    print(f"rbm CD-1: an epoch takes {1 / ratio:.2f} times its matrix products alone")


if __name__ == "__main__":
    main()
