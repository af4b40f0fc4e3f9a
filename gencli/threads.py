"""How the threads of a process share the machine with others. No torch at import.

torch's threads meet at a barrier after each operation and spin there, so as not to be late. When
another process has the core of one of them the rest spin until it comes back: two trainings at once
on two cores then run at a tenth of their speed. Threads that sleep instead give the core away
(benchmarks/neighbours.py measures it).
"""

from __future__ import annotations

import os
from collections.abc import MutableMapping
from functools import cache

WAITING = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME", "KMP_LIBRARY")
"""What the environment may say of how threads wait."""

COUNTS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OMP_THREAD_LIMIT")
"""What it may say of how many there are."""


def wait_asleep(environment: MutableMapping[str, str]) -> None:
    """Let waiting threads sleep, unless the user has said how they wait.

    To be called before torch is imported: OpenMP reads the environment once.

    Args:
        environment: Of the process, which those that it starts inherit.
    """
    if not any(name in environment for name in WAITING):
        environment["OMP_WAIT_POLICY"] = "passive"


def use(asked: int | None = None, before: int | None = None) -> int:
    """Set torch's number of threads: half of the machine's cores unless somebody says otherwise.

    Two commands at once then have a core for each thread. Where they do not, each waits at every
    barrier for a thread that has lost its core: two trainings of `dcgan` with two threads each came
    to 6% of one alone on two cores, and with one thread each to 199% (benchmarks/neighbours.py).

    Args:
        asked: As by --threads.
        before: What a run that goes on was begun with; it does not outdo the environment.

    Returns:
        The number in use.
    """
    import torch

    wanted = asked
    if wanted is None and not any(name in os.environ for name in COUNTS):
        wanted = min(before, cores()) if before is not None else max(cores() // 2, 1)
    if wanted is not None:
        torch.set_num_threads(wanted)
    return torch.get_num_threads()


@cache
def cores() -> int:
    """The cores that torch would use by itself."""
    import torch

    return torch.get_num_threads()
