"""`sample` and `evaluate` by one process and by several that fork: `main(JOBS)`.

JOBS is a list of `[name, world, arguments]`: so many processes run the real command on a small
run, of data that need no loading. What a process has printed goes to NAME-RANK.out in GENCLI_HOME.
"""

from __future__ import annotations

import contextlib
import functools
import gc
from dataclasses import asdict

from gencli.cli import app
from gencli.data.options import DataOptions
from gencli.evaluation import evaluate  # noqa: F401 - once for all that fork
from gencli.evaluation.judge import judge_for
from gencli.home import runs_dir
from gencli.place import Place
from gencli.training import shared
from tests.contract.conftest import small_data
from tests.unit.small_run import small_run
from tests.unit.together import fork

Job = tuple[str, int, list[str]]


def run_in(place: Place, job: Job) -> None:
    """One process's part of a job."""
    name, _, arguments = job
    where = runs_dir().parent / f"{name}-{place.rank}.out"
    with where.open("w") as out, contextlib.redirect_stdout(out):
        code = app.run(arguments)
    assert code == 0, code


def main(jobs: list[Job]) -> None:
    """Make the small run, and do all jobs."""
    data = small_data("none")
    shared.load = lambda *_: data
    judge_for.__kwdefaults__ |= {"images_seen": 1000}
    run = small_run()
    given = {"options": asdict(DataOptions())}
    run.update(data=run.record["data"] | given, device="cpu")
    gc.freeze()  # a child then looks through nothing but its own
    for job in jobs:
        fork(job[1], functools.partial(run_in, job=job), job)
