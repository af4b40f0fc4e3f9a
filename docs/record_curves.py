"""Record the first losses of recipes, for `gencli reproduce RECIPE --quick`.

python docs/record_curves.py               all recipes that have no curve yet
python docs/record_curves.py NAME...       these, anew

A recipe is trained for as many steps as take about three seconds in one thread on the CPU, twice:
as it is, which gives the values, and with the next seed, which gives the tolerance. Let d be the
root mean square of the differences between the two: what other random numbers come to. A training
on another machine, with another version of torch or more threads rounds otherwise, and so comes to
have other random numbers, at most. So the tolerance is four times d, or a thousandth of the values
where that is more. A fault that matters moves the first losses by more: they fall fast.
"""

from __future__ import annotations

import argparse
import math
import re
import sys
import time

from gencli import curves, housekeeping, recipe
from gencli.recipe_runs import first_losses
from gencli.training.reporter import Silent, Standing
from gencli.training.settings import Settings

SECONDS = 3.0
POINTS = 5
TRIAL = 12  # steps that tell how long one takes
MOST = 1_000  # steps


class Watch(Silent):
    """Notes the processor's time, which neighbours don't share, at steps that it is shown."""

    def __init__(self) -> None:
        self.seen: list[tuple[int, float]] = []

    def show(self, standing: Standing) -> None:
        """Note it."""
        self.seen.append((standing.step, time.process_time()))

    @property
    def seconds(self) -> float:
        """Of a step; many steps a second are shown once, or never."""
        if len(self.seen) < 2 or self.seen[0][0] == self.seen[-1][0]:
            return SECONDS / MOST
        (first, began), (last, ended) = self.seen[0], self.seen[-1]
        return (ended - began) / (last - first)


def losses(of: recipe.Recipe, steps: int, every: int, seed: int) -> tuple[str, list[float], int]:
    """Name and values of the losses, and how many steps there are in SECONDS, or in all."""
    watch = Watch()
    trainer, found = first_losses(
        of, steps, every, reporter=watch, seed=seed, threads=1, device="cpu"
    )
    housekeeping.remove(trainer.run)
    total = trainer.budget.total_steps or MOST
    name, values = curves.main_loss(found) or ("", [])
    return name, values, min(int(SECONDS / watch.seconds), MOST, total)


def recorded(name: str) -> str:
    """The recipe's table `curve`."""
    of = recipe.find(name)
    seed = int(of.options.get("seed", Settings().seed))
    _, _, steps = losses(of, TRIAL, TRIAL, seed)
    every = max(steps // POINTS, 1)
    loss, values, _ = losses(of, every * POINTS, every, seed)
    _, others, _ = losses(of, every * POINTS, every, seed + 1)
    pairs = list(zip(values, others, strict=True))
    apart = math.sqrt(sum((a - b) ** 2 for a, b in pairs) / len(pairs))
    tolerance = max(4 * apart, 1e-3 * max(map(abs, values)))
    return "\n".join(
        [
            "[curve]",
            f'loss = "{loss}"',
            f"steps = {[every * (i + 1) for i in range(len(values))]}",
            f"values = [{', '.join(f'{value:.6g}' for value in values)}]",
            f"tolerance = {tolerance:.2g}",
        ]
    )


def main(arguments: list[str] | None = None) -> int:
    """Write the curves into the recipes' files."""
    parser = argparse.ArgumentParser(description="Record the first losses of recipes.")
    parser.add_argument("names", nargs="*")
    wanted = parser.parse_args(arguments).names
    for name in wanted or [n for n in recipe.names() if recipe.find(n).curve is None]:
        table = recorded(name)
        path = recipe.path_of(name)
        text = re.sub(r"\n*\[curve\]\n(?:(?!\[).*\n)*", "\n", path.read_text(encoding="utf-8"))
        path.write_text(f"{text.rstrip()}\n\n{table}\n", encoding="utf-8")
        print(f"{name}: {table.replace(chr(10), ', ')}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
