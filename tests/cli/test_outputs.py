"""Where commands write: nothing is overwritten, by no number of processes; nothing is replaced."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch

from gencli.atomic import whole_file
from gencli.cli import outputs
from gencli.cli.outputs import release, target
from gencli.errors import GencliError, UsageError
from gencli.export.weights import export_weights
from gencli.runs import Run
from gencli.viz.grid import write_png, write_pngs
from tests.unit.small_run import trainer_of

pytestmark = pytest.mark.reliability("faults injected")

IMAGES = torch.rand(2, 1, 4, 4)

WRITE = """
import sys
from pathlib import Path
from gencli.atomic import whole_file, whole_folder
from gencli.cli.outputs import release, target
from gencli.errors import UsageError
from gencli.runs import Run
out, suffix = (None if sys.argv[2] == "none" else sys.argv[2]), sys.argv[3]
for i in range(int(sys.argv[4])):
    try:
        where = target(out, False, Run(Path(sys.argv[1])), "sample", suffix)
    except UsageError:
        sys.exit(2)
    if suffix:
        with whole_file(where) as file:
            file.write(b"x")
    else:
        with whole_folder(where) as folder:
            (folder / "x").touch()
    release()
    print(where)
"""


@pytest.fixture
def run(tmp_path: Path) -> Run:
    (tmp_path / "run").mkdir()
    return Run(tmp_path / "run")


@pytest.fixture(autouse=True)
def _released():
    yield
    release()
    assert outputs._claims == []


def at_once(run: Run, out: str, suffix: str, times: int) -> list[tuple[int, list[str]]]:
    """The exit code of each of eight processes, and the paths that it printed."""
    command = [sys.executable, "-c", WRITE, str(run.path), out, suffix, str(times)]
    found = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(8)]
    printed = [process.communicate(timeout=120)[0].split() for process in found]
    return [(process.returncode, lines) for process, lines in zip(found, printed, strict=True)]


@pytest.mark.parametrize("suffix", [".png", ""], ids=["files", "folders"])
def test_eight_processes_at_once_get_names_of_their_own(run: Run, suffix: str):
    done = at_once(run, "none", suffix, 6)
    assert [code for code, _ in done] == [0] * 8
    lines = [line for _, printed in done for line in printed]
    assert len(set(lines)) == len(lines) == 48
    assert sorted(map(str, (run.path / "outputs").iterdir())) == sorted(lines)  # no claim is left


@pytest.mark.parametrize("suffix", [".png", ""], ids=["file", "folder"])
def test_one_of_eight_processes_gets_an_out(run: Run, tmp_path: Path, suffix: str):
    done = at_once(run, str(tmp_path / f"x{suffix}"), suffix, 1)
    assert sorted(code for code, _ in done) == [0, *[2] * 7]


def test_a_claim_that_was_left_is_passed_over(run: Run):
    target(None, False, run, "sample", ".png")
    outputs._claims.clear()  # as a killed process leaves it
    second = target(None, False, run, "sample", ".png")
    assert isinstance(second, Path)
    assert second.name == "sample-002.png"


@pytest.mark.parametrize("out", [None, "x.png"])
def test_a_failure_leaves_nothing_behind(run: Run, out: str | None, tmp_path: Path):
    target(out and str(tmp_path / out), False, run, "sample", ".png")
    release()
    assert list((run.path / "outputs").glob("*")) == []
    assert not (tmp_path / "x.png").exists()


@pytest.mark.parametrize("force", [False, True])
def test_devices_and_pipes_are_written_to(run: Run, tmp_path: Path, force: bool):
    null = target(os.devnull, force, run, "sample", ".png")
    write_png(IMAGES, null)
    assert Path(os.devnull).is_char_device()
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()))
    reader.start()
    with target(str(pipe), force, run, "sample", ".png") as stream:  # type: ignore[union-attr]
        write_png(IMAGES, stream)
    reader.join(timeout=10)
    assert read[0].startswith(b"\x89PNG")
    assert pipe.is_fifo()


def test_a_full_device_is_an_error_that_names_it(run: Run):
    full = target("/dev/full", False, run, "sample", ".png")
    assert not isinstance(full, Path)
    with pytest.raises(GencliError, match="/dev/full cannot be written"):
        write_png(IMAGES, full)
    with pytest.raises(OSError, match="No space"):
        full.close()


def test_a_link_is_followed_to_its_file(run: Run, tmp_path: Path):
    file, link = tmp_path / "x.png", tmp_path / "link.png"
    file.write_bytes(b"old")
    link.symlink_to(file)
    with pytest.raises(UsageError, match="exists"):
        target(str(link), False, run, "sample", ".png")
    write_png(IMAGES, target(str(link), True, run, "sample", ".png"))
    assert link.is_symlink()
    assert file.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize("kind", ["folder", "link to nothing", "link to folder", "file for folder"])
def test_what_cannot_be_written_to_is_refused(run: Run, tmp_path: Path, kind: str, force: bool):
    path, suffix = tmp_path / "x", ".png"
    if kind == "folder":
        path.mkdir()
    elif kind == "file for folder":
        path.touch()
        suffix = ""
    else:
        path.symlink_to(tmp_path if kind == "link to folder" else tmp_path / "nothing")
    before = path.lstat()
    with pytest.raises(UsageError):
        target(str(path), force, run, "sample", suffix)
    assert path.lstat() == before


@pytest.mark.parametrize(
    ("out", "suffix", "better"),
    [
        ("digits.npz", ".png", "digits.png"),
        ("digits.JPG", ".png", "digits.png"),
        ("digits.png", "", "digits,"),
        ("decoder.pt2", ".onnx", "decoder.onnx"),
    ],
)
def test_a_name_that_says_another_type_is_refused(out: str, suffix: str, better: str, run: Run):
    with pytest.raises(UsageError, match="misleading") as refused:
        target(out, True, run, "sample", suffix)
    assert better in refused.value.cure


def test_an_empty_name_is_not_the_folder_one_is_in(run: Run):
    with pytest.raises(UsageError, match="--out is empty"):
        target("", False, run, "sample", ".png")


def test_exports_and_folders_do_not_go_to_devices(run: Run):
    with pytest.raises(UsageError, match="device or pipe"):
        target(os.devnull, True, run, "vae", ".onnx", stream=False)
    with pytest.raises(UsageError, match="device or pipe"):
        target(os.devnull, True, run, "sample", "")


def test_many_pngs_are_all_there_or_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from gencli.viz import grid

    folder = tmp_path / "x"
    folder.mkdir()  # as it is claimed
    made = []

    def failing(array: grid.Bytes) -> object:
        if made:
            raise OSError(28, "No space left on device")
        made.append(array)
        return grid.Image.fromarray(array.squeeze(2))

    monkeypatch.setattr(grid, "to_pillow", failing)
    with pytest.raises(GencliError, match="No space"):
        write_pngs(IMAGES, folder)
    assert list(tmp_path.rglob("*.png")) == []
    monkeypatch.undo()
    write_pngs(IMAGES, folder)
    assert len(list(folder.glob("*.png"))) == 2


def test_exported_weights_touch_no_file_beside_them(home: Path, tmp_path: Path):
    model = trainer_of().model
    for name in ("run.json", "package.json"):
        (tmp_path / name).write_text("kept")
    for name in ("run.safetensors", "package.safetensors"):
        export_weights(model, tmp_path / name, {"model": "vae"})
    assert (tmp_path / "run.json").read_text() == "kept"
    assert (tmp_path / "package.json").read_text() == "kept"


def test_a_whole_file_replaces_its_claim(run: Run):
    where = target(None, False, run, "sample", ".npz")
    assert isinstance(where, Path)
    with whole_file(where) as file:
        file.write(b"x")
    release()
    assert [path.name for path in (run.path / "outputs").iterdir()] == ["sample-001.npz"]
