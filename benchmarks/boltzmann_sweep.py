"""A sweep of Gibbs sampling over all units of a Boltzmann machine: by blocks, and unit by unit.

The same chains of the same machine, with random couplings; a test says that both draw the same
units. The plain form is the textbook's: for each unit a product of the states and its couplings.

    python benchmarks/boltzmann_sweep.py [--pairs 5] [--units 396] [--chains 100]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch
from common import alternate, matmul_rate, report

from gencli.models.boltzmann.sweeps import plain_sweep, sweep

SWEEPS = 20


def sweeps_per_second(kind: Callable[..., tuple[torch.Tensor, ...]], n: int, chains: int) -> float:
    """From chains that have moved a little."""
    torch.manual_seed(0)
    below = (0.1 * torch.randn(n, n)).tril(-1)
    couplings, s = below + below.T, torch.rand(chains, n).round()
    bias = -couplings.sum(0) / 2
    for _ in range(3):
        s, _ = sweep(s, couplings, bias, torch.rand(chains, n))
    began = time.perf_counter()
    for _ in range(SWEEPS):
        s, _ = kind(s, couplings, bias, torch.rand(chains, n))
    return SWEEPS / (time.perf_counter() - began)


def main() -> None:
    """Measure, and print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--units", type=int, default=396)
    parser.add_argument("--chains", type=int, default=100)
    arguments = parser.parse_args()
    n, chains = arguments.units, arguments.chains
    ours, plain = alternate(
        lambda: sweeps_per_second(sweep, n, chains),
        lambda: sweeps_per_second(plain_sweep, n, chains),
        arguments.pairs,
    )
    report(
        f"sweep of {n} units in {chains} chains", ours, plain, unit="sweeps/s",
        multiply_adds=n * n * chains, rate=matmul_rate(),
    )  # fmt: skip


if __name__ == "__main__":
    main()
