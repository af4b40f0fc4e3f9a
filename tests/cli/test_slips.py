"""Slips of the keyboard: what there is near by is named; completion offers it before."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from gencli import new_run, registry, runs
from gencli.cli.environment import without_meaning
from gencli.data import catalogue
from gencli.errors import RunError, UsageError
from gencli.kin import KIN, squeezed
from tests.conftest import Gencli


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("VAE", "Did you mean vae?"),
        ("WGAN_GP", "Did you mean wgan-gp?"),
        ("vea", "Did you mean vae?"),
        ("diffusion", "The nearest kind is ddpm"),
        ("Pix2Pix", "Did you mean pix2pix?"),
        ("CycleGAN", "The nearest kind is pix2pix"),
        ("stylegan", "The nearest kind is dcgan"),
        ("VQ_VAE", "The nearest kind is vae"),
        ("zzz", "gencli list models"),
    ],
)
def test_names_of_models(name: str, hint: str):
    with pytest.raises(UsageError) as failure:
        registry.find(name)
    assert hint in failure.value.cure


def test_kin_are_models_and_their_names_are_not():
    assert set(KIN.values()) <= {spec.name for spec in registry.MODELS}
    taken = {squeezed(n) for spec in registry.MODELS for n in (spec.name, *spec.aliases)}
    assert not taken & {squeezed(name) for name in KIN}


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["train", "diffusion"], "ddpm"),
        (["list", "data"], "datasets"),
        (["list", "model"], "models"),
        (["train", "vae", "--data", "MNIST"], "mnist"),
        (["evaluate", "vae", "--metrics", "fd_juge"], "fd_judge"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else value,
)
def test_slips_in_a_shell(arguments: list[str], hint: str, gencli: Gencli):
    problem, cure = gencli(*arguments, expect=2).stderr.splitlines()
    assert problem.startswith("error: ")
    assert hint in cure


@pytest.mark.parametrize("name", ["", "a/b", ".", "x" * 101])
def test_names_of_runs(name: str):
    with pytest.raises(UsageError, match="cannot be called") as refused:
        new_run.check_name(name)
    assert len(refused.value.problem) < 100


def test_empty_names():
    with pytest.raises(UsageError, match="--data is empty"):
        catalogue.folder_of("")
    with pytest.raises(RunError, match="name is empty"):
        runs.find("")


WITHOUT_TORCH = """
import sys
from gencli.__main__ import main
try:
    main()
finally:
    loaded = {"torch", "torchvision", "numpy"} & set(sys.modules)
    assert not loaded, loaded
"""


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("gencli train vae --data ", ["glyphs", "mnist", "pictures/"]),
        ("gencli train vae --data fa", ["fashion-mnist"]),
        ("gencli train vae --data pictures/", ["pictures/inner/"]),
        ("gencli train vae --device c", ["cpu", "cuda", "cuda:0"]),
        ("gencli train vae --lr-schedule ", ["constant", "cosine"]),
        ("gencli evaluate vae --metrics ", ["nll", "fd_judge"]),
        ("gencli evaluate vae --metrics nll,fd", ["nll,fd_judge"]),
        ("gencli evaluate vae --data m", ["mnist"]),
        ("gencli sample vae --checkpoint ", ["last", "best"]),
        ("gencli list d", ["datasets"]),
    ],
)
def test_completion(words: str, expected: list[str], gencli: Gencli, tmp_path: Path):
    (tmp_path / "pictures" / "inner").mkdir(parents=True)
    typed = words.split()
    environment = gencli.environment | {
        "_GENCLI_COMPLETE": "complete_bash",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(typed) - (not words.endswith(" "))),
        "GENCLI_FOO": "1",  # nothing is said of it now
    }
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH],
        capture_output=True, text=True, env=environment, cwd=tmp_path, timeout=60,
    )  # fmt: skip
    assert set(expected) <= set(done.stdout.split()), done.stderr
    assert done.stderr == ""


def test_variables_that_no_command_reads():
    known = {"GENCLI_HOME": "x", "GENCLI_EPOCHS": "1", "GENCLI_LATENT_DIM": "2", "HOME": "x"}
    assert without_meaning(known) is None
    told = without_meaning(known | {"GENCLI_EPOCH": "1", "GENCLI_QQQQQ": "1"})
    assert told is not None
    assert "GENCLI_EPOCH (did you mean GENCLI_EPOCHS?), GENCLI_QQQQQ;" in told
    assert "LATENT" not in told


def test_variables_are_named_in_one_line(gencli: Gencli, tmp_path: Path):
    other = Gencli(tmp_path, GENCLI_FOO="1", GENCLI_BAR="2")
    lines = other("list", "datasets", "--json").stderr.splitlines()
    assert len(lines) == 1
    assert "GENCLI_BAR" in lines[0]
    assert "GENCLI_FOO" in lines[0]
    assert other("-q", "list", "datasets").stderr == ""


@pytest.mark.slow
def test_resume_of_a_finished_run_says_how_to_go_on(gencli: Gencli, image_folder: Path):
    small = ("--hidden", "8", "--latent-dim", "2", "--batch-size", "20", "--name", "over")
    gencli("train", "vae", "--data", str(image_folder), "--epochs", "1", *small, "-q")
    done = gencli("train", "vae", "--resume", "over")
    assert "over is finished" in done.stderr
    assert "gencli train vae --resume over --epochs 2" in done.stderr
    assert "next:" not in done.stderr  # nothing was trained of which there is to tell
    assert "is finished" not in gencli("train", "vae", "--resume", "over", "--epochs", "2").stderr
