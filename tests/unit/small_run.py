"""A finished run of a small VAE on a few glyphs, made in a moment through the Python API."""

from __future__ import annotations

import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from gencli import guarded, new_run, registry, runs
from gencli.atomic import write_json
from gencli.checkpoint import sealed
from gencli.models.build import build_model
from gencli.random import mix_seed
from gencli.runs import Run
from gencli.training.reporter import Silent
from gencli.training.settings import resolve
from gencli.training.signals import StopRequest
from gencli.training.trainer import Trainer
from tests.contract.conftest import small_data

CONFIG = {"hidden": [8], "latent_dim": 2}


def trainer_of(run: Run | None = None, **given: Any) -> Trainer:
    """A trainer of a new run, or of the one that is given."""
    spec = registry.find("vae")
    data = small_data("none")
    common = {"batch_size": 32, "sample_every": 0, "ema_decay": 0.9, "log_every": 4}
    settings = resolve(common | given, spec.options().training)
    torch.manual_seed(mix_seed(0, 0))
    model = build_model("vae", CONFIG, asdict(data.info))
    if run is None:
        record = {
            "model": "vae",
            "config": CONFIG,
            "data": {"name": "glyphs", "fingerprint": "small", "info": asdict(data.info)},
            "settings": asdict(settings),
            "precision": "fp32",
            "created": runs.now(),
            "status": "done",
        }
        run = new_run.create("vae", "glyphs", record)
    return Trainer(
        model, data, settings, run,
        device=torch.device("cpu"), precision="fp32", reporter=Silent(), stop=StopRequest(),
    )  # fmt: skip


def small_run(**given: Any) -> Run:
    """A run of five steps."""
    trainer = trainer_of(**{"steps": 5, **given})
    trainer.fit()
    trainer.run.release()
    return Run(trainer.run.path)


def rewrite(run: Run, **changes: Any) -> None:
    """Replace tensors of trainer.safetensors or model.safetensors, with checksums that fit.

    Args:
        run: Its last checkpoint is changed.
        **changes: `model` or `trainer` -> a function of the tensors that gives the new ones.
    """
    last = run.checkpoint()
    state = dict(last.state)
    for part, change in changes.items():
        name = f"{part}.safetensors"
        save_file(change(last.tensors(name)), last.path / name)
        state["files"] = {**state["files"], name: guarded.fingerprint(last.path / name)}
    del state["checksum"]
    write_json(last.path / "state.json", sealed(state))


def copy_of(run: Run, to: Path) -> Run:
    """A copy of a run that may be damaged."""
    shutil.copytree(run.path, to)
    return Run(to)
