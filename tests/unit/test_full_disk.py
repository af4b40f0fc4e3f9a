"""A disk that is really full: a small file system is filled, or the size of files is limited."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from gencli import loading
from gencli.atomic import whole_folder, write_json
from gencli.cli.app import run as command
from gencli.errors import GencliError
from gencli.runs import Run
from tests.conftest import Gencli

from .small_run import copy_of, small_run, trainer_of

pytestmark = pytest.mark.reliability("faults injected")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of one megabyte; only the superuser of Linux can have one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no disk can be mounted here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.fixture
def run(home: Path) -> Run:
    return small_run()


def fill(disk: Path, but: int) -> None:
    """Fill a disk but for so many bytes."""
    with (disk / "other").open("wb", buffering=0) as file:
        file.write(bytes((1 << 20) - used(disk) - but))


def used(disk: Path) -> int:
    return sum(4096 * -(-path.stat().st_size // 4096) for path in disk.rglob("*") if path.is_file())


def test_a_checkpoint_that_has_no_room(run: Run, disk: Path) -> None:
    moved = copy_of(run, disk / "run")
    fill(disk, but=60_000)
    with pytest.raises(GencliError) as caught:
        trainer_of(moved, steps=7).fit(resume=True)
    assert "step-00000006 cannot be written: No space left on device (" in caught.value.problem
    assert "kB are needed and" in caught.value.problem
    assert caught.value.problem.endswith("kB are free).")
    assert caught.value.cure == "Make room or permission there."
    assert caught.value.exit_code == 1
    assert {p.name for p in (moved.path / "checkpoints").iterdir()} == {
        f"step-{checkpoint.step:08d}" for checkpoint in run.checkpoints()
    }
    loading.load(str(moved.path))
    (disk / "other").unlink()
    trainer_of(moved, steps=7).fit(resume=True)
    assert moved.checkpoint().step == 7


@pytest.mark.parametrize("format", ["pt2", "weights"])
def test_an_export_that_has_no_room(
    run: Run, disk: Path, format: str, capfd: pytest.CaptureFixture[str]
) -> None:
    fill(disk, but=8_192)
    out = disk / f"model.{format}"
    assert command(["export", str(run.path), "--format", format, "--out", str(out), "-q"]) == 1
    problem, cure = capfd.readouterr().err.splitlines()
    assert f"{out} cannot be written: No space left on device (" in problem
    assert "kB are needed and" in problem
    assert cure == "  try: Give another place: --out."
    assert [path.name for path in disk.iterdir()] == ["other"]


def test_small_files_that_have_no_room(disk: Path) -> None:
    fill(disk, but=0)
    with pytest.raises(GencliError, match=r"No space left on device \(0 B are free\)"):
        write_json(disk / "x.json", {"some": "thing" * 5000})
    with (
        pytest.raises(GencliError, match=r"\(7 B are needed and 0 B are free\)"),
        whole_folder(disk / "folder", needs=7) as folder,
    ):
        (folder / "file").write_bytes(b"1234567")
    assert [path.name for path in disk.iterdir()] == ["other"]


def test_torch_s_own_writer_does_not_end_the_process(
    run: Run, tmp_path: Path, gencli: Gencli
) -> None:
    """Where files cannot grow its writer of archives aborts; so it is given none."""
    pytest.importorskip("resource")
    program = """
import resource, sys
from gencli.cli.app import run
sys.dont_write_bytecode = True  # Python leaves halves of such files
resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192))
sys.exit(run(["export", sys.argv[1], "--format", "pt2", "--out", sys.argv[2], "-q"]))
"""
    out = tmp_path / "model.pt2"
    done = gencli.python(program, str(run.path), str(out), expect=1)
    problem, _ = done.stderr.splitlines()
    assert problem == f"error: {out} cannot be written: File too large."
    assert not out.exists()
