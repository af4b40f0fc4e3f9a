"""Options of a run's own model: which `sample` and its like offer for it, and what they refuse."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conftest import Gencli

TINY: dict[str, tuple[str, ...]] = {
    "vae": ("vae", "--hidden", "8", "--latent-dim", "2"),
    "ddpm": ("ddpm", "--width", "8", "--timesteps", "4"),
    "guided": ("ddpm", "--width", "8", "--timesteps", "4", "--conditional"),
    "rbm": ("rbm", "--hidden", "8", "--chains", "8"),
    "made": ("made", "--hidden", "8"),
}
SMALL = ("--batch-size", "20", "--steps", "2", "--sample-every", "0", "--val", "4")


@pytest.fixture(scope="module")
def trained(gencli: Gencli, image_folder: Path) -> Gencli:
    """The command, with a run of each model of `TINY`, named as there."""
    for name, model in TINY.items():
        gencli("train", *model, *SMALL, "--data", str(image_folder), "--name", name, "-q")
    return gencli


@pytest.mark.parametrize(
    ("verb", "run", "has", "lacks"),
    [
        ("sample", "vae", ["--temperature"], ["--steps", "--guidance", "--label", "--prompt"]),
        ("sample", "ddpm", ["--sampler", "--steps"], ["--guidance", "--label", "--temperature"]),
        ("sample", "guided", ["--sampler", "--steps", "--guidance", "--label"], ["--prompt"]),
        ("sample", "rbm", ["--steps"], ["--temperature", "--sampler"]),
        ("sample", "made", ["--temperature"], ["--steps"]),
        (
            "interpolate",
            "guided",
            ["--guidance", "--label", "--from-label", "--points"],
            ["--prompt"],
        ),
        ("interpolate", "vae", ["--points"], ["--guidance", "--label", "--steps"]),
        ("evaluate", "rbm", ["--chains", "--temperatures", "--steps"], ["--terms"]),
        ("evaluate", "ddpm", ["--terms", "--sampler"], ["--chains", "--guidance"]),
    ],
)
def test_help_shows_those_of_the_run(
    trained: Gencli, verb: str, run: str, has: list[str], lacks: list[str]
):
    words = trained(verb, run, "--help").stdout.split()
    assert [option for option in has if option not in words] == []
    assert [option for option in lacks if option in words] == []


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ("sample vae --prompt x", "This run is not told captions: --prompt is not for it."),
        ("sample vae --label 3", "This run is not told classes: --label is not for it."),
        ("interpolate guided --to-prompt x", "This run is not told captions"),
        ("sample guided --from-label 1", "There is no option --from-label."),
        ("reconstruct vae test:7..0", "test:7..0 ends before it begins."),
    ],
)
def test_what_a_run_is_not_told(trained: Gencli, arguments: str, problem: str):
    assert problem in trained(*arguments.split(), expect=2).stderr


def test_help_without_a_run_says_how_to_see_them(gencli: Gencli):
    shown = " ".join(gencli("sample", "--help").stdout.split())
    assert "add RUN before --help" in shown
    assert "--temperature" not in shown


@pytest.mark.parametrize(
    "arguments",
    [
        ["vae", "--n", "4"],
        ["--n", "4", "vae"],
        ["--n", "4", "--temperature", "0.5", "vae"],
        ["vae", "--temperature", "0.5", "--n", "4"],
        ["--temperature=0.5", "vae", "--n=4"],
    ],
)
def test_run_and_options_in_any_order(trained: Gencli, tmp_path: Path, arguments: list[str]):
    out = tmp_path / "x.npz"
    trained("sample", *arguments, "--format", "npz", "--out", str(out))
    assert len(np.load(out)["images"]) == 4


def test_an_own_option_changes_what_is_drawn(trained: Gencli, tmp_path: Path):
    drawn = []
    for temperature in ("0", "0.5", "1"):
        out = tmp_path / f"{temperature}.npz"
        more = ("--temperature", temperature, "--format", "npz", "--out", str(out))
        trained("sample", "vae", "--n", "2", *more)
        drawn.append(np.load(out)["images"].astype(int))
    assert (drawn[0][0] == drawn[0][1]).all()  # one latent: nothing is left of chance
    assert (drawn[1] != drawn[2]).any()


@pytest.mark.parametrize(
    ("run", "options", "named"),
    [
        ("made", ["--temperature", "0"], "--temperature"),
        ("vae", ["--temperature", "-1"], "--temperature"),
        ("vae", ["--steps", "3"], "--steps"),
        ("ddpm", ["--guidance", "2"], "--guidance"),
        ("ddpm", ["--label", "0"], "--label"),
        ("ddpm", ["--sampler", "euler"], "sde-dpm++"),
        ("ddpm", ["--steps", "5"], "4"),
        ("guided", ["--label", "2"], "0 to 1"),
        ("guided", ["--label", "-1"], "--label"),
        ("rbm", ["--steps", "0"], "--steps"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(
    trained: Gencli, run: str, options: list[str], named: str
):
    done = trained("sample", run, "--n", "2", "-q", *options, expect=2)
    assert named in done.stderr
    assert len(done.stderr.splitlines()) == 2


@pytest.mark.parametrize(
    ("verb", "options"),
    [
        ("sample", ["--temperature", "0.5"]),
        pytest.param("sample", ["--top-k", "40", "--prompt", "a two"], marks=pytest.mark.slow),
        pytest.param("interpolate", ["--guidance", "2"], marks=pytest.mark.slow),
        pytest.param("evaluate", ["--chains", "20"], marks=pytest.mark.slow),
    ],
)
def test_a_missing_run_is_what_is_wrong_whatever_the_options(
    gencli: Gencli, verb: str, options: list[str]
):
    for arguments in (["nowhere", *options], [*options, "nowhere"]):
        done = gencli(verb, *arguments, "-q", expect=4)
        assert "nowhere" in done.stderr
        assert len(done.stderr.splitlines()) == 2


@pytest.mark.slow
def test_points_are_the_images_of_a_path(trained: Gencli, tmp_path: Path):
    widths = []
    for points in ("3", "6"):
        out = tmp_path / f"{points}.png"
        told = ("--rows", "2", "--points", points, "--out", str(out))
        trained("interpolate", "guided", *told, "--label", "1", "--steps", "2")
        with Image.open(out) as sheet:
            widths.append(sheet.width)
    assert widths[1] > 1.5 * widths[0]
    trained("interpolate", "vae", "--points", "1", expect=2)


@pytest.mark.slow
def test_completions_are_one_sheet_of_n_each(trained: Gencli, tmp_path: Path):
    sizes = []
    for n in ("1", "4"):
        out = tmp_path / f"{n}.png"
        trained("sample", "made", "--complete", "test:0..1", "--n", n, "--out", str(out))
        with Image.open(out) as sheet:
            sizes.append(sheet.size)
    assert sizes[1][0] > sizes[0][0]
    for format in ("npz", "png", "gif"):
        done = trained("sample", "made", "--complete", "test:0", "--format", format, expect=2)
        assert f"--format {format}" in done.stderr


@pytest.mark.parametrize(("run", "option"), [("made", "--label"), ("vae", "--complete")])
def test_completions_where_there_are_none(trained: Gencli, run: str, option: str):
    value = "0" if option == "--label" else "test:0"
    more = ("--complete", "test:0") if option == "--label" else ()
    done = trained("sample", run, *more, option, value, "-q", expect=2)
    assert len(done.stderr.splitlines()) == 2


def test_a_missing_run_or_data_set_is_told_without_torch(home: Path):
    program = (
        "import sys\n"
        "from gencli.cli.app import run\n"
        "print([run([verb, 'nowhere']) for verb in ('sample', 'evaluate', 'interpolate')])\n"
        "print([run(['train', 'vae', '--data', name]) for name in ('mnits', './mnits')])\n"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == "[4, 4, 4]\n[2, 3]\nFalse\n"
    assert "Did you mean mnist?" in done.stderr
    assert done.stderr.count("There is no run nowhere.") == 3
