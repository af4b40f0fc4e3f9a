"""Help and lists never import torch; slips of the keyboard get a suggestion."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from gencli import registry
from tests.conftest import Gencli

WITHOUT_TORCH = """
import contextlib, io, json, sys
from gencli.cli.app import run
answers = []
for arguments in json.loads(sys.argv[1]):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run(arguments)
    loaded = [name for name in ("torch", "torchvision", "numpy") if sys.modules.pop(name, None)]
    answers.append([code, out.getvalue(), err.getvalue(), loaded])
print(json.dumps(answers))
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


ALONE = (["--help"], ["train", "vae", "--help"], ["list", "models"])
"""Asked in a process of their own; the others are asked in one, to save time."""


def answers(cases: list[list[str]], gencli: Gencli) -> list[list[Any]]:
    """The code, stdout, stderr and packages loaded of each, from one process without torch."""
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, json.dumps(cases)],
        capture_output=True,
        text=True,
        env=gencli.environment,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def told_at_once(gencli: Gencli) -> dict[str, list[Any]]:
    return dict(zip(map(" ".join, CASES), answers(CASES, gencli), strict=True))


def check(arguments: list[str], answer: list[Any]) -> None:
    code, out, err, loaded = answer
    assert code == 0, err
    assert loaded == []
    if arguments != ["list", "runs"]:  # of which there are none
        assert out


@pytest.mark.parametrize("arguments", CASES, ids=" ".join)
def test_answers_without_importing_torch(
    arguments: list[str], told_at_once: dict[str, list[Any]]
) -> None:
    check(arguments, told_at_once[" ".join(arguments)])


@pytest.mark.parametrize("arguments", ALONE, ids=" ".join)
def test_answers_alone_without_importing_torch(
    arguments: list[str], gencli: Gencli, told_at_once: dict[str, list[Any]]
) -> None:
    (answer,) = answers([arguments], gencli)
    check(arguments, answer)
    assert answer == told_at_once[" ".join(arguments)]


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


def test_defaults_are_as_they_are_typed(told_at_once: dict[str, list[Any]]):
    out = told_at_once["info vae"][1]
    assert "default: false" in out
    assert "False" not in out


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
