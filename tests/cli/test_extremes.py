"""Numbers and paths that nobody means: two lines and a code, soon, and without the memory."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

from gencli.cli.app import run as command
from tests.unit.small_run import small_run

pytestmark = pytest.mark.reliability("faults injected")

HUGE = "1" + "0" * 30
VAE = "train vae --hidden 8 --latent-dim 2 --steps 2 --sample-every 0 -q --data {images}"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a run called `base`."""
    folder = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GENCLI_HOME", str(folder))
        run = small_run()
        run.path.rename(run.path.with_name("base"))
    return folder


@pytest.mark.parametrize(
    ("line", "code", "told"),
    [
        (f"{VAE} --hidden {HUGE}", 1, "not enough memory"),
        (f"{VAE} --hidden 999999999", 1, "not enough memory"),
        (f"{VAE} --image-size {HUGE}", 2, "at most 1024"),
        ("train vae -x 1 --data {images}", 2, "no option -x"),
        (f"{VAE} --lr nan", 2, "--lr cannot be"),
        (f"{VAE} --name [red]x", 2, "cannot be called '\\[red\\]x'"),
        ("train dbn --hidden '' --data {images}", 2, "needs a hidden layer"),
        ("train sbn --hidden '' --data {images}", 2, "need a hidden layer"),
        ("train dcgan --width 8 --batch-size 1 --data {images}", 2, "too small for batch norm"),
        (f"sample base --n {HUGE}", 2, "of memory"),
        ("sample base --out 'a\0b'", 2, "is no path"),
        ("sample base --temperature nan", 2, "--temperature cannot be"),
        ("interpolate base --grid 99999999", 2, "of memory"),
        ("interpolate base --rows 99999999999", 2, "of memory"),
        ("evaluate base --k 999999999999", 2, "at most 1e\\+06"),
        ("export base --out 'a\0b'", 2, "is no path"),
        ("inspect /dev/zero", 3, "is not a folder"),
    ],
)
def test_what_nobody_means(
    home: Path,
    image_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    line: str,
    code: int,
    told: str,
):
    monkeypatch.setenv("GENCLI_HOME", str(home))
    assert command(shlex.split(line.format(images=image_folder))) == code
    problem, cure = capsys.readouterr().err.splitlines()[-2:]
    assert problem.startswith("error: ")
    assert cure.startswith("  try: ")
    assert re.search(told, problem + cure)


def test_a_moment_of_training_is_a_step(
    home: Path,
    image_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    monkeypatch.setenv("GENCLI_HOME", str(home))
    short = "--max-time 0.001s --json"
    first = f"train vae --hidden 8 --sample-every 0 --data {image_folder} --name moment {short}"
    for steps, line in ((1, first), (2, f"train vae --resume moment {short}")):
        assert command(line.split()) == 0
        assert json.loads(capsys.readouterr().out)["steps"] == steps
