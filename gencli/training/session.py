"""A training from its settings: data, model, run directory, trainer. What `gencli train` calls."""

from __future__ import annotations

import dataclasses
import os
import shlex
import sys
from collections.abc import Mapping
from functools import partial
from typing import Any

import torch

from gencli import new_run, registry, runs, threads
from gencli.data import catalogue
from gencli.data.load import asked_for, may_have
from gencli.data.options import DataOptions
from gencli.data.pairs import found_again
from gencli.device import choose_precision, slow_precision
from gencli.errors import RunError, UsageError
from gencli.kinds import CONDITIONS, Progress
from gencli.models.build import build_model, make, see_that_they_have
from gencli.place import launch, place_in
from gencli.processes import Processes
from gencli.random import mix_seed
from gencli.runs import Run
from gencli.several import joined
from gencli.training import tensorboard
from gencli.training.circumstances import lengthened, processor, versions
from gencli.training.fitting import fit
from gencli.training.initial import take_over
from gencli.training.reporter import Reporter
from gencli.training.settings import AUTO, MAY_CHANGE, Settings, resolve
from gencli.training.shared import run_of_the_first, same_data
from gencli.training.state import State
from gencli.training.trainer import Trainer
from gencli.training.trial import with_a_batch
from gencli.training.weights import check_shards


def start(
    model: str,
    config: Mapping[str, Any],
    data_options: DataOptions,
    given: Mapping[str, Any],
    *,
    name: str | None,
    reporter: Reporter,
    progress: Progress | None = None,
    origins: Mapping[str, Any] | None = None,
    init_from: str | None = None,
    stop_after: int | None = None,
) -> tuple[Run, Trainer, State]:
    """Train a new run to the end of its budget, on as many processes as torchrun has started.

    One that torchrun has started anew goes on with the run that it began.

    Args:
        model: Its name in the registry.
        config: Values for the model's config that differ from the defaults.
        data_options: Which data; unless they say, binarised as the model's defaults have it.
        given: Settings that differ from the model's defaults.
        name: Of the run; None makes one up.
        reporter: Shows the training.
        progress: Shows the loading of the data.
        origins: Where the options came from, for run.json; its `sources` has each option's.
        init_from: A run whose weights it begins with, where they fit.
        stop_after: A step after which to stop as if asked to, on the way to that end.

    Raises:
        GencliError: Of every kind; the run's status says which.
    """
    place = place_in(os.environ)
    with joined(place) as processes:
        if place.attempt and (before := processes.told(_begun_before)) is not None:
            return _resume(model, before, {}, processes, reporter, progress)
        return _start(
            model, config, data_options, given, processes,
            name=name, reporter=reporter, progress=progress, origins=origins, init_from=init_from,
            stop_after=stop_after,
        )  # fmt: skip


def _start(
    model: str,
    config: Mapping[str, Any],
    data_options: DataOptions,
    given: Mapping[str, Any],
    processes: Processes,
    *,
    name: str | None,
    reporter: Reporter,
    progress: Progress | None,
    origins: Mapping[str, Any] | None,
    init_from: str | None,
    stop_after: int | None,
) -> tuple[Run, Trainer, State]:
    spec = registry.find(model)
    options = spec.options().parsed(config)
    settings = resolve(given, options.training)
    tensorboard.require(settings.log)
    device = processes.device(settings.device)
    n_threads = threads.use(settings.threads)
    precision = choose_precision(settings.precision, device, model_allows=spec.load().bf16)
    if slow := slow_precision(precision, device):
        reporter.message(slow)
    if data_options.binarize is None:
        how = catalogue.fixed_binarization(data_options.data) or options.training.binarize
        data_options = dataclasses.replace(data_options, binarize=how)
    see_that_they_have(spec, options, partial(may_have, data_options))  # they may take long
    for kind in {*asked_for(data_options)} - {*options.conditions()}:
        reporter.message(f"{spec.name} is not told {CONDITIONS[kind]}: they change nothing")
    data = same_data(data_options, processes, progress, purpose="training")
    for note in data.notes:
        reporter.message(note)
    data_options = found_again(data_options, data.name)
    torch.manual_seed(mix_seed(settings.seed, 0))
    network = make(spec, options, data.info)
    check_shards(network, settings, processes)
    taken = None  # the other processes get the first one's weights
    if init_from is not None and processes.rank == 0:
        taken = take_over(network, init_from)
    if taken is not None:
        reporter.message(str(taken))
    if settings.batch_size == AUTO:
        settings, why = with_a_batch(settings, network, data, device, precision, processes)
        reporter.message(f"batch size: {settings.batch_size} ({why})")
    record = {
        "model": spec.name,
        "config": dataclasses.asdict(options),
        "data": {"name": data.name, "fingerprint": data.fingerprint}
        | {"options": dataclasses.asdict(data_options)}
        | {"info": dataclasses.asdict(data.info), "n_train": len(data.train)},
        "settings": dataclasses.asdict(settings),
        "versions": versions(),
        "parameters": sum(p.numel() for p in network.parameters()),
        "device": str(device),
        "processor": processor(device),
        "precision": precision,
        "threads": n_threads,
        "processes": processes.world,
        "launch": launch(os.environ),
        "command": shlex.join(["gencli", *sys.argv[1:]]),
        "origins": dict(origins or {}),
        "created": runs.now(),
        "status": "running",
    }
    if taken is not None:
        record["init_from"] = taken.to_json()
    run = run_of_the_first(lambda: new_run.create(spec.name, data.name, record, name), processes)
    return fit(
        run, network, data, settings,
        device=device, precision=precision, reporter=reporter, processes=processes, resume=False,
        stop_after=stop_after,
    )  # fmt: skip


def resume(
    model: str,
    reference: str,
    changes: Mapping[str, Any],
    *,
    reporter: Reporter,
    progress: Progress | None = None,
    origins: Mapping[str, Any] | None = None,
) -> tuple[Run, Trainer, State]:
    """Continue a run from its last checkpoint, or from the beginning if it has none.

    Args:
        model: Must be the run's.
        reference: The run.
        changes: Settings given anew.
        reporter: Shows the training.
        progress: Shows the loading of the data.
        origins: As for `start`; what was not changed keeps its own.

    Raises:
        UsageError: If a change would make it another run.
        DataError: If the data are no longer the same.
        RunError: If another process is training the run.
        GencliError: As for `start`.
    """
    with joined(place_in(os.environ)) as processes:
        return _resume(model, reference, changes, processes, reporter, progress, origins)


def _resume(
    model: str,
    reference: str,
    changes: Mapping[str, Any],
    processes: Processes,
    reporter: Reporter,
    progress: Progress | None,
    origins: Mapping[str, Any] | None = None,
) -> tuple[Run, Trainer, State]:
    run = run_of_the_first(lambda: runs.find(reference), processes)
    if run.model != registry.find(model).name:
        raise UsageError(
            f"The run {run.name} is a {run.model}.",
            f"Continue it with: gencli train {run.model} --resume {reference}",
        )
    for name in changes:
        if name not in MAY_CHANGE:
            raise UsageError(
                f"--{name.replace('_', '-')} cannot change when a run is resumed.",
                "Leave it out, or start a new run.",
            )
    settings, data_options = recorded(run)
    if "steps" in changes or "epochs" in changes:
        settings = dataclasses.replace(settings, steps=None, epochs=None)
        if settings.lr_schedule == "cosine":
            reporter.message("The cosine schedule now stretches to the new length.")
    settings = dataclasses.replace(settings, **changes)
    if settings.shard and processes.world == 1 and "shard" not in changes:
        settings = dataclasses.replace(settings, shard=False)
        reporter.message("One process has all weights: no shards.")
    tensorboard.require(settings.log)
    device = processes.device(settings.device)
    precision = run.record["precision"]
    if slow := slow_precision(precision, device):
        reporter.message(slow)
    before = run.record.get("threads")
    n_threads = threads.use(settings.threads, before if isinstance(before, int) else None)
    if device.type == "cpu" and n_threads != before:
        told = f"{before} before and {n_threads} now"
        reporter.message(f"threads: {told}; results may differ in the last bits")
    if processes.rank == 0:
        run = run.locked()
    try:
        (begun,) = processes.largest(len(run.checkpoints()) if processes.rank == 0 else 0)
        if not begun:
            reporter.message(f"{run.name} has no checkpoint: its training begins again.")
        data = same_data(data_options, processes, progress, purpose="training")
        run.see_that_it_saw(data_options.data, data.fingerprint)
        torch.manual_seed(mix_seed(settings.seed, 0))
        network = build_model(run.model, run.record["config"], run.record["data"]["info"])
        check_shards(network, settings, processes)
        other = run.record.get("init_from")
        if not begun and isinstance(other, dict) and processes.rank == 0:
            take_over(network, str(other.get("run")))
        if processes.rank == 0:
            run.update(
                settings=dataclasses.asdict(settings),
                **lengthened(run, changes, bool(begun)),
                origins=_changed(run.record.get("origins"), origins, changes),
                threads=n_threads,
                processes=processes.world,
                launch=launch(os.environ),
                status="running",
            )
        return fit(
            run, network, data, settings,
            device=device, precision=precision, reporter=reporter, processes=processes,
            resume=bool(begun),
        )  # fmt: skip
    except BaseException:
        run.release()
        raise


def _begun_before() -> str | None:
    """The run that an earlier attempt of this `torchrun` has begun, if it came to that."""
    mine = launch(os.environ)
    found = (run for run in runs.all_runs() if mine and run.record.get("launch") == mine)
    return next((str(run.path) for run in found), None)


def _changed(
    before: Any, now: Mapping[str, Any] | None, changes: Mapping[str, Any]
) -> dict[str, Any]:
    """A run's origins with those of what was given anew."""
    kept: dict[str, Any] = before if isinstance(before, dict) else {}
    sources = kept.get("sources")
    told = {k: v for k, v in (now or {}).get("sources", {}).items() if k in changes}
    return kept | {"sources": (sources if isinstance(sources, dict) else {}) | told}


def recorded(run: Run) -> tuple[Settings, DataOptions]:
    """The settings and data options that a run records.

    Raises:
        RunError: If they do not fit this version.
    """
    try:
        settings = Settings.parsed(run.record["settings"])
        return settings, DataOptions.parsed(run.record["data"]["options"])
    except (KeyError, TypeError, AttributeError, UsageError) as error:
        raise RunError(f"{run.path}/run.json does not fit: {error}", "Train again.") from None
