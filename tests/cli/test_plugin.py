"""A model of another package (tests/plugin), told captions and source images, through all verbs.

It is installed with pip as anyone's would be, into a folder that only the subprocesses see.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gencli.data.glyphs import render
from tests.conftest import Gencli

PACKAGE = Path(__file__).parent.parent / "plugin"
TINY = ("--source", "half", "--width", "32", "--sample-every", "0")
PROMPTS = ("--prompt", "a thin two", "--prompt", "a bold purple seven")


@pytest.fixture(scope="module")
def glyphs(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """Options for a few glyphs with their captions: all of them take long to draw."""
    folder = tmp_path_factory.mktemp("glyphs")
    few = render(600, seed=3)
    for i, (image, caption) in enumerate(zip(few.images, few.captions, strict=True)):
        Image.fromarray(image[0]).save(folder / f"{i:03d}.png")
        (folder / f"{i:03d}.txt").write_text(caption)
    return "--data", str(folder)


@pytest.fixture(scope="module")
def sketch(tmp_path_factory: pytest.TempPathFactory, glyphs: tuple[str, str]) -> Gencli:
    """The command where the plug-in is installed and a run called `four` was trained 4 steps."""
    site = tmp_path_factory.mktemp("site")
    build = subprocess.run(
        [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation",
         "--no-index", "--no-compile", "--disable-pip-version-check",
         "--target", str(site), str(PACKAGE)],
        capture_output=True, text=True,
    )  # fmt: skip
    if build.returncode != 0 and ("hatchling" in build.stderr or "named pip" in build.stderr):
        pytest.skip("pip and hatchling are needed to install the plug-in")
    assert build.returncode == 0, build.stderr
    path = os.pathsep.join(filter(None, [str(site), os.environ.get("PYTHONPATH", "")]))
    gencli = Gencli(tmp_path_factory.mktemp("home"), PYTHONPATH=path)
    gencli("train", "sketch", *glyphs, *TINY, "--steps", "4", "--name", "four", "-q")
    return gencli


def files(gencli: Gencli, run: str, step: int) -> dict[str, bytes]:
    folder = Path(gencli.environment["GENCLI_HOME"]) / "runs" / run / "checkpoints"
    (checkpoint,) = folder.glob(f"*{step:08d}")
    return {n: (checkpoint / n).read_bytes() for n in ("model.safetensors", "trainer.safetensors")}


def test_the_list_and_the_help_of_train_have_it(sketch: Gencli):
    assert "sketch" in sketch("list", "models").stdout
    assert "--latent-dim" in sketch("train", "sketch", "--help").stdout


@pytest.mark.slow
def test_resumed_to_more_steps_equals_one_run(sketch: Gencli, glyphs: tuple[str, str]):
    sketch("train", "sketch", *glyphs, *TINY, "--steps", "8", "--name", "whole", "-q")
    sketch("train", "sketch", *glyphs, *TINY, "--steps", "3", "--name", "parted", "-q")
    sketch("train", "sketch", "--resume", "parted", "--steps", "8", "-q")
    assert files(sketch, "parted", 8) == files(sketch, "whole", 8)


def test_help_of_its_run_has_its_options_and_conditions(sketch: Gencli):
    shown = sketch("sample", "four", "--help").stdout
    for option in ("--top-k", "--prompt", "--prompts", "--source"):
        assert option in shown
    assert "--label " not in shown


def test_samples_by_prompts_sources_and_its_own_option(sketch: Gencli, tmp_path: Path):
    out = tmp_path / "x.npz"
    told = (*PROMPTS, "--source", "test:0..3", "--top-k", "40")
    done = sketch(
        "sample", "four", *told, "--n", "8", "--format", "npz", "--out", str(out)
    )  # fmt: skip
    assert "never met: purple" in done.stderr
    with np.load(out) as arrays:
        images = arrays[next(iter(arrays))]
    assert len(images) == 8
    assert ((images > 0).reshape(8, -1).sum(1) == 40).all()


def test_what_it_is_told_changes_the_images(sketch: Gencli, tmp_path: Path):
    picture = tmp_path / "source.png"
    Image.fromarray(render(10, seed=5).images[3, 0]).save(picture)
    found = set()
    for i, told in enumerate(
        [[], ["--source", str(picture)], ["--source", "test:0"], ["--prompt", "a bold two"]]
    ):
        out = tmp_path / f"{i}.png"
        sketch("sample", "four", *told, "--n", "4", "--out", str(out), "-q")
        found.add(out.read_bytes())
    assert len(found) == 4


@pytest.mark.slow
def test_a_walk_between_images_is_told_too(sketch: Gencli, tmp_path: Path):
    walks = set()
    for i, told in enumerate([[], ["--prompt", "a bold two", "--source", "test:3"]]):
        out = tmp_path / f"{i}.png"
        ends = ("--from", "test:0", "--to", "test:1", "--points", "3")
        sketch("interpolate", "four", *ends, *told, "--out", str(out), "-q")
        walks.add(out.read_bytes())
    assert len(walks) == 2


def test_evaluate_reports_its_bound(sketch: Gencli):
    done = sketch("evaluate", "four", "--metrics", "nll_bound", "--n", "200", "--json", "-q")
    metric = json.loads(done.stdout)["metrics"]["nll_bound"]
    assert metric["kind"] == "bound"
    assert 0 < metric["value"] < 784


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_exports_with_its_conditions_as_inputs(sketch: Gencli, tmp_path: Path):
    onnxruntime = pytest.importorskip("onnxruntime")
    sketch("export", "four", "--format", "onnx", "--out", str(tmp_path / "m.onnx"), "-q")
    sketch("export", "four", "--format", "pt2", "--out", str(tmp_path / "m.pt2"), "-q")
    session = onnxruntime.InferenceSession(str(tmp_path / "m.onnx"))
    by_name = {i.name: i for i in session.get_inputs()}
    assert list(by_name) == ["latents", "text", "source"]
    length = by_name["text"].shape[1]
    latents, source = torch.randn(5, 4), torch.rand(5, 1, 28, 28)
    text = torch.randint(0, 9, (5, length))
    (ours,) = session.run(
        None, {"latents": latents.numpy(), "text": text.numpy(), "source": source.numpy()}
    )
    theirs = torch.export.load(tmp_path / "m.pt2").module()(latents, text, source)
    assert ours.shape == (5, 1, 28, 28)
    np.testing.assert_allclose(ours, theirs.detach().numpy(), atol=1e-4)


def test_data_without_sources_are_refused_with_a_cure(sketch: Gencli, glyphs: tuple[str, str]):
    done = sketch("train", "sketch", *glyphs, "--steps", "1", expect=2)
    assert "--source" in done.stderr


def test_other_data_that_tell_nothing_are_refused(sketch: Gencli, image_folder: Path):
    done = sketch("evaluate", "four", "--data", str(image_folder), "-q", expect=2)
    assert "other text" in done.stderr
    assert len(done.stderr.splitlines()) == 2


@pytest.mark.slow
def test_captions_of_a_folder_are_learnt_and_prompted(
    sketch: Gencli, image_folder: Path, tmp_path: Path
):
    folder = tmp_path / "captioned"
    shutil.copytree(image_folder, folder)
    for path in folder.glob("*/*.png"):
        shape = "round" if path.parent.name == "class-0" else "straight"
        path.with_suffix(".txt").write_text(f"a {shape} line")
    options = ("--data", str(folder), *TINY, "--steps", "4", "--name", "own", "-q")
    sketch("train", "sketch", *options)
    found = set()
    for word in ("straight", "purple"):
        out = tmp_path / f"{word}.png"
        done = sketch("sample", "own", "--prompt", word, "--n", "4", "--out", str(out))
        assert ("never met: purple" in done.stderr) == (word == "purple")
        found.add(out.read_bytes())
    assert len(found) == 2
    next(folder.glob("*/*.txt")).write_text("a wavy line")
    done = sketch("evaluate", "own", "--metrics", "nll_bound", "-q", expect=3)
    assert "is not what own was trained on any more" in done.stderr
    (folder / "metadata.jsonl").write_text("oops")
    done = sketch("inspect", str(folder), "-q", expect=3)
    assert f"Line 1 of {folder / 'metadata.jsonl'} is no JSON." in done.stderr
    assert len(done.stderr.splitlines()) == 2
