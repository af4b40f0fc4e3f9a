"""Two trainings at once on one machine, against one alone.

For each model, in alternation: one `gencli train` alone, then two of it started together, all of
the same number of steps, each a process of its own. Printed are the share of the alone rate that
each of the two reaches, and the two together against the one.

    python benchmarks/neighbours.py [--pairs 3] [--models vae,fvsbn,gan,dcgan,ddpm] [--threads N]

What the environment says of threads and waiting (OMP_WAIT_POLICY, OMP_NUM_THREADS, ...) is
respected, as `gencli` respects it: so other choices are measured with this program too.
"""

from __future__ import annotations

import argparse
import statistics
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from common import gencli_train

STEPS = {"vae": 1200, "fvsbn": 1000, "gan": 400, "dcgan": 60, "ddpm": 24}
"""Steps of a few seconds each."""


@dataclass(frozen=True)
class Shares:
    """Of the rate alone: what each of two reaches, and both together."""

    alone: float
    each: float
    together: float


def rates(model: str, copies: int, more: tuple[str, ...]) -> list[float]:
    """Images per second of so many trainings at once."""
    options = ("--steps", str(STEPS[model]), "--val", "0", "--sample-every", "0", *more)
    with ThreadPoolExecutor(copies) as pool:
        jobs = [pool.submit(gencli_train, model, *options) for _ in range(copies)]
        return [job.result() for job in jobs]


def measure(model: str, pairs: int, more: tuple[str, ...]) -> Shares:
    """Medians over pairs of one alone and two at once."""
    alone, each, together = [], [], []
    for number in range(pairs):
        order = (1, 2) if number % 2 == 0 else (2, 1)
        found = {copies: rates(model, copies, more) for copies in order}
        alone.append(found[1][0])
        each.append(min(found[2]) / found[1][0])
        together.append(sum(found[2]) / found[1][0])
        print(
            f"  {model} {number + 1}: alone {found[1][0]:,.0f}, "
            f"two {found[2][0]:,.0f} and {found[2][1]:,.0f} images/s",
            flush=True,
        )
    return Shares(*map(statistics.median, (alone, each, together)))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--models", default=",".join(STEPS))
    parser.add_argument("--threads")
    arguments = parser.parse_args()
    more = ("--threads", arguments.threads) if arguments.threads else ()
    print("model   alone images/s   each of two   two together")
    for model in arguments.models.split(","):
        shares = measure(model, arguments.pairs, more)
        print(
            f"{model:7} {shares.alone:14,.0f} {shares.each:13.0%} {shares.together:14.0%}",
            flush=True,
        )


if __name__ == "__main__":
    main()
