"""Trainings on several processes, which fork from one that has imported torch: `together.py JOBS`.

JOBS is a JSON list of `[run, model, world, settings]`, done in turn. A run that is there is
resumed. Each process leaves RUN-RANK.json in GENCLI_HOME: what it was told, a hash of the
weights, and how many of them it keeps.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
import torch._dynamo  # the first optimizer would import it, in each process

from gencli import new_run, registry, runs
from gencli.data.splits import ImageData
from gencli.home import runs_dir
from gencli.models.interface import GenerativeModel
from gencli.place import Place
from gencli.processes import Processes, common
from gencli.several import joined
from gencli.training.reporter import Silent
from gencli.training.settings import resolve
from gencli.training.shared import run_of_the_first
from gencli.training.signals import StopRequest
from gencli.training.tensors import own_shard
from gencli.training.trainer import Trainer
from tests.contract.conftest import TINY, tiny_data

Job = tuple[str, str, int, dict[str, Any]]


class Kept(Silent):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.messages: list[str] = []

    def message(self, text: str) -> None:
        self.messages.append(text)


def train_all(jobs: list[Job], home: Path) -> None:
    """Do jobs in a process of its own, which forks."""
    run_apart("together", jobs, home)


def run_apart(module: str, jobs: object, home: Path) -> None:
    """Run a module of these tests on jobs, with a home of its own and one thread."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("GENCLI_")}
    environment |= {"GENCLI_HOME": str(home), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", f"tests.unit.{module}", json.dumps(jobs)],
        cwd=Path(__file__).parents[2], env=environment, capture_output=True, text=True, timeout=250,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


@functools.cache
def data_of(model: str) -> ImageData:
    """Small data that no batch draws anew."""
    data = tiny_data(registry.find(model))
    if registry.find(model).family == "boltzmann":  # each normaliser takes longer than the rest
        data = replace(data, val=data.val.rows(slice(0, 0)))
    if not data.info.binary:
        return data
    splits = {
        name: replace(split, stored=(split.images > 127).byte() * 255)
        for name, split in (("train", data.train), ("val", data.val), ("test", data.test))
    }
    return replace(data, info=replace(data.info, binarization="threshold"), **splits)


def model_of(name: str, data: ImageData) -> GenerativeModel:
    """A small model; each training has one mask alone, so that nothing is drawn."""
    torch.manual_seed(0)
    spec = registry.find(name)
    one_mask = {"masks": 1, "order_agnostic": False} if name == "made" else {}
    return spec.load()(replace(spec.options()(), **TINY.get(name, {}) | one_mask), data.info)


def train(job: Job, processes: Processes) -> None:
    """One process's part of a job."""
    name, model, _, given = job
    spec, data = registry.find(model), data_of(model)
    common_ = {"batch_size": 32, "log_every": 1, "sample_every": 0, "steps": 5, "keep": 99}
    common_ |= {"lr_schedule": "constant"}
    settings = resolve(common_ | given, spec.options().training)
    resume = (runs_dir() / name).is_dir()
    processes.largest(0)  # all have looked
    record = {
        "model": model, "config": {}, "settings": {}, "precision": "fp32",
        "created": runs.now(), "status": "done",
        "data": {"name": "glyphs", "fingerprint": "small", "info": asdict(data.info)},
    }  # fmt: skip
    run = run_of_the_first(
        lambda: runs.find(name) if resume else new_run.create(model, "glyphs", record, name),
        processes,
    )
    reporter = Kept()
    trainer = Trainer(
        model_of(model, data), data, settings, run, device=torch.device("cpu"), precision="fp32",
        reporter=reporter, stop=StopRequest(), processes=processes,
    )  # fmt: skip
    trainer.fit(resume=resume)
    weights = hashlib.sha256()
    with trainer.weights.whole(changed=False):
        for tensor in common(trainer.model):
            weights.update(tensor.clone(memory_format=torch.contiguous_format).numpy().tobytes())
    kept = sum(own_shard(p).numel() for p in trainer.model.parameters())
    told = {"weights": weights.hexdigest(), "messages": reporter.messages, "kept": kept}
    (runs_dir().parent / f"{name}-{processes.rank}.json").write_text(json.dumps(told))


def fork(world: int, work: Callable[[Place], None], what: object) -> None:
    """Do work in processes of its own, which find their places in the environment.

    Raises:
        SystemExit: If one fails.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    os.environ |= {"WORLD_SIZE": str(world), "LOCAL_WORLD_SIZE": str(world)}
    children = []
    for rank in range(world):
        child = os.fork()
        if child == 0:
            os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank)}
            try:
                work(Place(rank, world, rank, world))
            except BaseException:
                sys.excepthook(*sys.exc_info())  # type: ignore[arg-type]
                os._exit(1)
            os._exit(0)
        children.append(child)
    statuses = [os.waitpid(child, 0)[1] for child in children]
    if any(statuses):
        raise SystemExit(f"{what} failed")


def train_in(place: Place, job: Job) -> None:
    """One process's part of a job, from its place on."""
    with joined(place) as processes:
        train(job, processes)


if __name__ == "__main__":
    for _, model, _, _ in json.loads(sys.argv[1]):
        data_of(model)  # drawn once, before the processes part
    for job in json.loads(sys.argv[1]):
        fork(job[2], functools.partial(train_in, job=tuple(job)), job)
