"""Help and lists never import torch; slips of the keyboard get a suggestion."""

from __future__ import annotations

import subprocess
import sys

import pytest

from gencli import registry
from tests.conftest import Gencli

WITHOUT_TORCH = """
import sys
from gencli.cli.app import run
code = run(sys.argv[1:])
loaded = {"torch", "torchvision", "numpy"} & set(sys.modules)
assert not loaded, loaded
sys.exit(code)
"""

COMMANDS = ["sample", "interpolate", "evaluate", "export", "list", "info", "doctor"]
CASES = [
    ["--help"],
    ["--version"],
    ["train", "--help"],
    *(["train", spec.name, "--help"] for spec in registry.MODELS),
    *([command, "--help"] for command in COMMANDS),
    ["list", "models"],
    ["list", "datasets", "--json"],
    ["list", "runs"],
    ["info", "vae"],
]


@pytest.mark.parametrize("arguments", CASES, ids=" ".join)
def test_answers_without_importing_torch(arguments: list[str], gencli: Gencli):
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, *arguments],
        capture_output=True,
        text=True,
        env=gencli.environment,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    if arguments != ["list", "runs"]:  # of which there are none
        assert done.stdout


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["train", "vea"], "vae"),
        (["train", "vae", "--latnet-dim", "2"], "--latent-dim"),
        (["smaple", "vae"], "sample"),
        (["info", "mnits"], "mnist"),
    ],
)
def test_a_slip_gets_a_suggestion_and_exit_2(arguments: list[str], hint: str, gencli: Gencli):
    done = gencli(*arguments, expect=2)
    assert done.stdout == ""
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 2
    assert "Did you mean" in done.stderr
    assert hint in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["train", "vae", "--epochs", "none"],
        ["train", "vae", "--latent-dim", "0"],
        ["train", "vae", "--epochs", "1", "--steps", "1"],
        ["train", "vae", "--hidden", "wide"],
        ["train", "vae", "--max-time", "soon"],
        ["train", "vae", "--max-time", "1m", "--lr-schedule", "cosine"],
        ["train", "vae", "--device", "abacus"],
        ["train", "vae", "--config", "no-such-recipe"],
        ["train", "vae", "--data", "glypsh"],
        ["sample"],
    ],
    ids=" ".join,
)
def test_usage_errors_are_two_lines_and_exit_2(arguments: list[str], gencli: Gencli):
    done = gencli(*arguments, expect=2)
    assert done.stdout == ""
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("error: ")
    assert lines[1].startswith("  try: ")


def test_python_m_and_the_public_names(gencli: Gencli):
    code = "import gencli, sys; assert 'torch' not in sys.modules; print(gencli.__version__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() in gencli("--version").stdout


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("gencli tr", "train"),
        ("gencli train va", "vae"),
        ("gencli train vae --lat", "--latent-dim"),
        ("gencli train vae --config dcgan-m", "dcgan-mnist"),
    ],
)
def test_completion(words: str, expected: str, gencli: Gencli):
    environment = gencli.environment | {
        "_GENCLI_COMPLETE": "complete_bash",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split()) - 1),
    }
    done = subprocess.run(
        [sys.executable, "-m", "gencli"], capture_output=True, text=True, env=environment
    )
    assert expected in done.stdout.split(), done.stderr
