"""Which of how many processes this one is, as torchrun puts it into the environment. No torch here.

A training on several processes is started by torch's own launcher and by nothing of ours:

    torchrun --nproc-per-node 2 -m gencli train MODEL ...
"""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Mapping
from dataclasses import dataclass

from gencli.errors import UsageError

_NUMBERS = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
_NEEDED = (*_NUMBERS, "MASTER_ADDR", "MASTER_PORT")
_CURE = "Start it by: torchrun --nproc-per-node N -m gencli train ..., or unset {}."


@dataclass(frozen=True)
class Place:
    """A process among those of one training.

    Attributes:
        rank: Its number, from 0.
        world: How many there are.
        local_rank: Its number among those of its machine.
        local_world: How many of them this machine has.
        attempt: How often torchrun has started all of them again.
    """

    rank: int = 0
    world: int = 1
    local_rank: int = 0
    local_world: int = 1
    attempt: int = 0


def place_in(environment: Mapping[str, str]) -> Place:
    """The place that an environment tells of; without RANK and WORLD_SIZE there is one process.

    Raises:
        UsageError: If it tells a part of it, or what cannot be.
    """
    told = [name for name in _NUMBERS[:2] if name in environment]
    missing = [name for name in _NEEDED if name not in environment]
    alone = environment.get("WORLD_SIZE") == "1" and environment.get("RANK", "0") == "0"
    if not told or (missing and alone):
        return Place()
    if missing:
        raise UsageError(
            f"The environment has {' and '.join(told)}, but not {', '.join(missing)}.",
            _CURE.format(" and ".join(told)),
        )
    for name in _NUMBERS:
        if not re.fullmatch(r"[0-9]{1,6}", environment[name]):
            raise UsageError(
                f"{name} cannot be {environment[name]!r}.", _CURE.format(" and ".join(told))
            )
    rank, world, local_rank, local_world = (int(environment[name]) for name in _NUMBERS)
    if not (rank < world and local_rank < local_world <= world):
        raise UsageError(
            f"There is no process {rank} of {world}, {local_rank} of {local_world} here.",
            _CURE.format(" and ".join(told)),
        )
    attempt = environment.get("TORCHELASTIC_RESTART_COUNT", "0")
    again = int(attempt) if attempt.isdecimal() else 0
    return Place(rank, world, local_rank, local_world, again)


def launch(environment: Mapping[str, str]) -> str | None:
    """What is the same whenever one `torchrun` starts its processes again, and in no other."""
    number = environment.get("TORCHELASTIC_RUN_ID")
    return None if number is None else f"{number} {platform.node()} {os.getppid()}"
