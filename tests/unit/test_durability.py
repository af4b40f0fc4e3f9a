"""Nothing whole is lost while it is written; nothing damaged is taken for whole."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from gencli import loading, new_run, runs
from gencli.atomic import replacing, sweep, whole_file, whole_folder, write_json
from gencli.checkpoint import sealed
from gencli.errors import DivergedError, GencliError, RunError, UsageError
from gencli.runs import Run
from gencli.training.checkpoint import is_sound
from gencli.training.metrics import MetricsLog
from gencli.training.signals import sparing_imports
from tests.conftest import Gencli

from .small_run import copy_of, rewrite, small_run, trainer_of

pytestmark = pytest.mark.reliability("faults injected")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run that no test changes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GENCLI_HOME", str(tmp_path_factory.mktemp("home")))
        return small_run()


@pytest.fixture
def run(finished: Run, home: Path) -> Run:
    """A run to be damaged."""
    (home / "runs").mkdir(parents=True)
    return copy_of(finished, home / "runs" / "small")


def resume(run: Run) -> None:
    trainer_of(run, steps=7).fit(resume=True)


def test_a_whole_run_loads_and_resumes(run: Run):
    assert loading.load(str(run.path)).weights == "ema"
    assert loading.load(str(run.path), ema=False).step == 5
    resume(run)
    assert run.checkpoint().step == 7


# -- damage ------------------------------------------------------------------------------------


@pytest.mark.reliability
@pytest.mark.parametrize("n", [50, pytest.param(1_000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", ["model.safetensors", "trainer.safetensors", "state.json"])
def test_a_flipped_bit_or_a_cut_is_noticed(
    run: Run, name: str, n: int, record_property: Callable[[str, int], None]
):
    record_property("flips caught", n)
    path = run.checkpoint().path / name
    whole = path.read_bytes()
    rng = random.Random(name)
    for _ in range(n):
        damaged = bytearray(whole)
        damaged[rng.randrange(len(whole))] ^= 1 << rng.randrange(8)
        path.write_bytes(damaged)
        for use in (lambda: loading.load(str(run.path)), lambda: resume(run)):
            with pytest.raises(RunError):
                use()
    for length in (0, 1, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(RunError):
            loading.load(str(run.path))
    path.unlink()
    with pytest.raises(RunError):
        loading.load(str(run.path))


@pytest.mark.filterwarnings("ignore::gencli.errors.GencliWarning")
def test_a_damaged_record_is_a_run_error_or_harmless(run: Run):
    path = run.path / "run.json"
    whole = path.read_bytes()
    rng = random.Random(0)
    refused = 0
    for _ in range(60):
        damaged = bytearray(whole)
        damaged[rng.randrange(len(whole))] ^= 1 << rng.randrange(8)
        path.write_bytes(damaged)
        try:
            loading.load(str(run.path))
        except RunError:
            refused += 1
        runs.all_runs()
    assert refused > 20
    for length in (0, 1, len(whole) // 2, len(whole) - 3):
        path.write_bytes(whole[:length])
        with pytest.raises(RunError):
            loading.load(str(run.path))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("model", 3), ("model", None), ("config", []), ("data", "glyphs"), ("created", "today"),
        ("created", True), ("created", 1e300), ("settings", 1), ("status", {}), ("precision", 0),
        ("format", "2"), ("format", None),
    ],
)  # fmt: skip
def test_a_field_of_another_type_is_named(run: Run, field: str, value: object):
    path = run.path / "run.json"
    record = json.loads(path.read_text())
    path.write_text(json.dumps({**record, field: value}))
    with pytest.raises(RunError, match=field):
        loading.load(str(run.path))
    del record[field]
    path.write_text(json.dumps(record))
    with pytest.raises(RunError, match=field):
        loading.load(str(run.path))


@pytest.mark.parametrize("half", [("best_step", None), ("best_value", None), ("best_step", 99)])
def test_a_best_loss_has_its_step(run: Run, half: tuple[str, object]):
    last = run.checkpoint()
    state = {name: value for name, value in last.state.items() if name != "checksum"}
    assert state["best_step"] is not None
    write_json(last.path / "state.json", sealed({**state, half[0]: half[1]}))
    with pytest.raises(RunError, match="best loss"):
        loading.load(str(run.path))


@pytest.mark.filterwarnings("ignore::gencli.errors.GencliWarning")
@pytest.mark.parametrize("text", ["[]", "3", "null", "[" * 100_000, '{"a":' * 100_000, "\xff"])
def test_a_record_that_is_no_record(run: Run, text: str):
    (run.path / "run.json").write_text(text, encoding="latin-1")
    with pytest.raises(RunError):
        loading.load(str(run.path))
    assert runs.all_runs() == []


def test_other_formats_are_refused(run: Run):
    path = run.path / "run.json"
    record = json.loads(path.read_text())
    path.write_text(json.dumps({**record, "format": 1}))
    with pytest.raises(RunError, match="older gencli"):
        loading.load(str(run.path))
    path.write_text(json.dumps({**record, "format": 3}))
    with pytest.raises(RunError, match="format 3") as caught:
        loading.load(str(run.path))
    assert "Upgrade" in caught.value.cure


# -- tensors -----------------------------------------------------------------------------------

Tensors = dict[str, torch.Tensor]


def only(prefix: str, change: Callable[[torch.Tensor], torch.Tensor | None]) -> Callable:
    def apply(tensors: Tensors) -> Tensors:
        changed = {k: change(t) if k.startswith(prefix) else t for k, t in tensors.items()}
        assert any(k.startswith(prefix) for k in tensors)
        return {k: t.contiguous() for k, t in changed.items() if t is not None}

    return apply


@pytest.mark.parametrize(
    "change",
    [
        only("optimizer/", lambda t: t[:1] if t.dim() else t),
        only("optimizer/", lambda t: torch.cat([t, t]) if t.dim() else t),
        only("optimizer/", lambda t: t.double()),
        only("optimizer/", lambda t: t if t.dim() else t.reshape(1)),
        only("optimizer/", lambda t: None),
        only("optimizer/model/0.", lambda t: None),
        only("ema/", lambda t: None),
        only("ema/posteriors", lambda t: None),
        only("ema/", lambda t: t.half()),
        only("ema/", lambda t: torch.cat([t, t])),
        only("random/cpu", lambda t: None),
        only("random/cpu", lambda t: t[:-8]),
        only("random/cpu", lambda t: torch.full_like(t, 255)),
        only("window/", lambda t: t[:, None]),
        only("window/", lambda t: t * float("nan")),
        lambda tensors: {**tensors, "optimizer/model/99.exp_avg": torch.zeros(1)},
        lambda tensors: {**tensors, "optimizer/model/zero.exp_avg": torch.zeros(1)},
        lambda tensors: {**tensors, "optimizer/model/0.max_exp_avg_sq": torch.zeros(1)},
        lambda tensors: {**tensors, "optimizer/other/0.exp_avg": torch.zeros(1)},
        lambda tensors: {**tensors, "what/is/this": torch.zeros(1)},
        lambda tensors: {**tensors, "ema/other": torch.zeros(1)},
    ],
)
def test_a_tensor_of_the_trainer_that_does_not_fit(run: Run, change: Callable):
    rewrite(run, trainer=change)
    with pytest.raises(RunError):
        resume(run)


@pytest.mark.parametrize(
    "change",
    [
        only("", lambda t: t.to(torch.int8)),
        only("", lambda t: t.bool()),
        only("", lambda t: t.double()),
        only("", lambda t: t.T if t.dim() == 2 and t.shape[0] != t.shape[1] else t),
        only("posteriors", lambda t: None),
        lambda tensors: {**tensors, "another": torch.zeros(1)},
    ],
)
def test_weights_that_do_not_fit(run: Run, change: Callable):
    rewrite(run, model=change)
    for use in (lambda: loading.load(str(run.path), ema=False), lambda: resume(run)):
        with pytest.raises(RunError):
            use()


def test_a_lost_average_is_no_fallback(run: Run):
    rewrite(run, trainer=only("ema/", lambda t: None))
    with pytest.raises(RunError, match="ema"):
        loading.load(str(run.path))


# -- links, pipes ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["run.json", "metrics.jsonl", "checkpoints", "lock"])
def test_links_in_a_run_are_not_followed(run: Run, tmp_path: Path, name: str):
    outside = tmp_path / "outside"
    if (run.path / name).exists():
        (run.path / name).rename(outside)
    else:
        outside.write_text("precious")
    before = outside.read_bytes() if outside.is_file() else sorted(outside.iterdir())
    (run.path / name).symlink_to(outside)
    with pytest.raises(RunError, match="link"):
        resume(run.locked()) if name != "run.json" else loading.load(str(run.path))
    assert before == (outside.read_bytes() if outside.is_file() else sorted(outside.iterdir()))


@pytest.mark.parametrize("name", ["model.safetensors", "trainer.safetensors", "state.json"])
def test_links_in_a_checkpoint_are_not_followed(run: Run, tmp_path: Path, name: str):
    path = run.checkpoint().path / name
    path.rename(tmp_path / name)
    path.symlink_to(tmp_path / name)
    with pytest.raises(RunError):
        loading.load(str(run.path))


@pytest.mark.parametrize("name", ["outputs", "samples", "evaluations"])
def test_folders_that_are_links_are_not_written(run: Run, tmp_path: Path, name: str):
    folder = run.path / name
    if folder.exists():
        folder.rmdir()
    (tmp_path / "outside").mkdir()
    folder.symlink_to(tmp_path / "outside")
    with pytest.raises(RunError, match="link"):
        run.folder(name)


@pytest.mark.filterwarnings("ignore::gencli.errors.GencliWarning")  # all_runs names them
def test_pipes_do_not_hang(run: Run):
    last = run.checkpoint()
    for path in (run.path / "run.json", run.path / "metrics.jsonl", last.path / "state.json",
                 last.path / "model.safetensors", last.path / "trainer.safetensors"):  # fmt: skip
        kept = path.read_bytes()
        path.unlink()
        os.mkfifo(path)
        with pytest.raises(RunError):
            resume(run) if path.name == "metrics.jsonl" else loading.load(str(run.path))
        path.unlink()
        path.write_bytes(kept)


# -- writers -----------------------------------------------------------------------------------


def test_a_link_or_device_is_never_replaced(tmp_path: Path):
    (tmp_path / "real").write_text("precious")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for name in ("link", "pipe", "folder"):
        with pytest.raises(GencliError, match="no regular file"):
            write_json(tmp_path / name, {})
        with pytest.raises(GencliError), replacing(tmp_path / name) as temporary:
            temporary.write_text("new")
    assert (tmp_path / "real").read_text() == "precious"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["folder", "link", "pipe", "real"]


def test_what_cannot_be_written_is_our_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "file").write_text("")
    for target in (tmp_path / "file" / "x", tmp_path / ("n" * 400)):
        with pytest.raises(GencliError, match="cannot be written"), whole_file(target) as file:
            file.write(b"1")
        with pytest.raises(GencliError, match="cannot be written"), whole_folder(target):
            pass

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(GencliError, match="No space left"):
        write_json(tmp_path / "new.json", {})
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_only_old_leftovers_of_ours_are_swept(tmp_path: Path):
    names = [".a.0123456789ab.part", ".b.0123456789ab.part.png", ".c.part", ".d.tmp", "e.part"]
    for name in names:
        (tmp_path / name).write_text("")
        os.utime(tmp_path / name, (1, 1))
    (tmp_path / ".new.0123456789ab.part").mkdir()
    sweep(tmp_path)
    left = {p.name for p in tmp_path.iterdir()}
    assert left == {".c.part", ".d.tmp", "e.part", ".new.0123456789ab.part"}


@pytest.mark.reliability
def test_killed_at_any_moment_of_a_save(
    finished: Run, tmp_path: Path, gencli: Gencli, record_property: Callable[[str, int], None]
):
    # Each child dies at another call of the operating system while a checkpoint is written and an
    # old one is removed; what is there afterwards is whole.
    program = """
import os, shutil, sys
from pathlib import Path
import torch
from gencli.runs import Run
from gencli.training import checkpoint
torch.set_num_threads(1)
source, target = map(Path, sys.argv[1:])
calls = ["fsync", "rename", "replace", "mkdir", "unlink", "rmdir", "open", "write"]
model = Run(source).checkpoint().tensors("model.safetensors")
state = {k: v for k, v in Run(source).checkpoint().state.items() if k not in ("files", "checksum")}
for moment in range(1000):
    copy = target / str(moment)
    shutil.copytree(source, copy)
    pid = os.fork()
    if pid == 0:
        left = moment
        def dying(real):
            def call(*args, **kwargs):
                global left
                if left == 0:
                    os._exit(9)
                left -= 1
                return real(*args, **kwargs)
            return call
        for name in calls:
            setattr(os, name, dying(getattr(os, name)))
        run = Run(copy)
        checkpoint.save(run.path / "checkpoints", 6, model, model, {**state, "step": 6})
        checkpoint.prune(run.checkpoints(), 1, None)
        os._exit(0)
    if os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0:
        print(moment)
        break
"""
    done = gencli.python(program, str(finished.path), str(tmp_path))
    assert int(done.stdout) > 15
    record_property("kills survived", int(done.stdout))
    seen = set()
    for folder in tmp_path.iterdir():
        there = Run(folder).checkpoints()
        seen.add(tuple(c.step for c in there))
        for checkpoint in there:
            checkpoint.tensors("model.safetensors")
            checkpoint.tensors("trainer.safetensors")
        sweep(folder / "checkpoints", older_than=0.0)
        assert all(not p.name.startswith(".") for p in (folder / "checkpoints").iterdir())
    assert seen == {(3, 5), (3, 5, 6), (5, 6), (6,)}  # 3 is the best


class KilledError(BaseException):
    """Like a kill: nothing of ours catches it."""


@pytest.mark.parametrize("moment", range(4))
def test_metrics_survive_a_kill_while_they_are_cut(
    run: Run, moment: int, monkeypatch: pytest.MonkeyPatch
):
    path = run.path / "metrics.jsonl"
    path.write_text("".join(json.dumps({"step": n}) + "\n" for n in range(1, 9)))
    left = moment

    def dying(real: Callable) -> Callable:
        def call(*args: object, **kwargs: object) -> object:
            nonlocal left
            left -= 1
            if left < 0:
                raise KilledError
            return real(*args, **kwargs)

        return call

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", dying(os.fsync))
        patch.setattr(Path, "replace", dying(Path.replace))
        if moment < 3:
            with pytest.raises(KilledError):
                MetricsLog(path, 5)
        else:
            MetricsLog(path, 5)
    steps = [json.loads(line)["step"] for line in path.read_text().splitlines()]
    assert steps in ([*range(1, 9)], [*range(1, 6)])
    assert (len(steps) == 5) == (moment >= 2)
    MetricsLog(path, 5).write({"step": 6})
    steps = [json.loads(line)["step"] for line in path.read_text().splitlines()]
    assert steps == [*range(1, 7)]


def test_rows_that_are_no_rows_are_dropped(run: Run):
    path = run.path / "metrics.jsonl"
    rows = ['{"step": 4, "loss": 1.0}', "3", "[1, 2]", '{"loss": 2}', '{"step": "x"}', "null",
            '{"step": true}', "[" * 100_000, '{"step": 99}', '{"step": 5, "lo']  # fmt: skip
    path.write_text("\n".join(rows))
    resume(run)
    kept = [json.loads(line) for line in path.read_text().splitlines()]
    assert kept[0] == {"step": 4, "loss": 1.0}
    assert [row["step"] for row in kept[1:]] == [6, 7] or kept[1]["step"] > 5


# -- locks -------------------------------------------------------------------------------------


def test_a_lock_ends_with_its_process(run: Run):
    program = (
        "import sys, time\nfrom pathlib import Path\nfrom gencli.runs import Run\n"
        "run = Run(Path(sys.argv[1])).locked()\nprint('mine', flush=True)\ntime.sleep(60)\n"
    )
    run.update(status="running")
    assert run.status == "killed"
    other = subprocess.Popen(
        [sys.executable, "-c", program, str(run.path)], stdout=subprocess.PIPE, text=True
    )
    assert other.stdout
    with other.stdout:
        assert other.stdout.readline() == "mine\n"
    assert run.status == "running"
    with pytest.raises(RunError, match=f"is training .process {other.pid}") as caught:
        run.locked()
    assert caught.value.exit_code == 4
    other.kill()
    other.wait()
    assert run.status == "killed"
    mine = run.locked()
    assert run.status == "running"
    mine.release()
    run.update(status="done")
    assert run.status == "done"


def test_looking_does_not_keep_a_training_out(run: Run):
    stop = threading.Event()

    def look() -> None:
        while not stop.is_set():
            run.status  # noqa: B018
            time.sleep(0.001)

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        for _ in range(50):
            run.locked().release()
    finally:
        stop.set()
        watcher.join()


def test_a_name_without_a_checkpoint_can_be_taken_over(home: Path):
    def new() -> Run:
        record = trainer_of().run.record
        return new_run.create("vae", "glyphs", {k: record[k] for k in record}, "mine")

    first = new()
    (first.path / "metrics.jsonl").write_text("{}")
    with pytest.raises(UsageError, match="already"):
        new()  # it is training
    first.release()
    second = new()
    assert second.path == first.path
    assert not (second.path / "metrics.jsonl").exists()
    trainer_of(second, steps=1).fit()
    second.release()
    with pytest.raises(UsageError, match="already"):
        new()


# -- divergence --------------------------------------------------------------------------------


def test_weights_that_are_not_finite_replace_no_others(home: Path):
    trainer = trainer_of(steps=50, lr=1e6, keep=1, checkpoint_every=1, log_every=50)
    with pytest.raises(DivergedError):
        trainer.fit()
    for checkpoint in trainer.run.checkpoints():
        for tensor in checkpoint.tensors("model.safetensors").values():
            assert tensor.isfinite().all()


@pytest.mark.parametrize("at", [1, 7, 12])
def test_the_step_that_diverged_is_named(home: Path, at: int, monkeypatch: pytest.MonkeyPatch):
    trainer = trainer_of(steps=12, log_every=100)
    trainer.val_store = None
    add = trainer.window.add

    def spoiled(name: str, value: torch.Tensor) -> None:
        for _ in range(3):  # as where an update is repeated and gives metrics of its own
            add(name, value * (float("inf") if trainer.window.step >= at else 1))

    monkeypatch.setattr(trainer.window, "add", spoiled)
    monkeypatch.setattr(trainer.window, "clear", lambda: None)
    with pytest.raises(DivergedError, match=f"at step {at}[.;]"):
        trainer.fit()


def test_a_preview_that_fails_costs_nothing(home: Path, monkeypatch: pytest.MonkeyPatch):
    trainer = trainer_of(steps=6, sample_every=1)
    said: list[str] = []
    monkeypatch.setattr(trainer.reporter, "message", said.append)

    def fail(*_: object, **__: object) -> None:
        raise ValueError("no ink")

    monkeypatch.setattr(trainer.model, "sample", fail)
    trainer.fit()
    assert trainer.run.checkpoint().step == 6
    assert said == ["no preview: no ink"]


def test_a_missing_samples_folder_is_made(home: Path):
    trainer = trainer_of(steps=3, sample_every=1)
    (trainer.run.path / "samples").rmdir()
    trainer.fit()
    assert list((trainer.run.path / "samples").glob("*.png"))


def test_a_nan_in_a_buffer_is_not_saved_and_an_infinity_is(home: Path):
    trainer = trainer_of(steps=1)
    trainer.model.register_buffer("mask", torch.tensor([float("-inf"), 0.0]))
    trainer.fit()
    assert trainer.run.checkpoint().step == 1
    trainer.model.mask[1] = float("nan")
    assert not is_sound(trainer.model, [])


def test_a_full_disk_is_our_error_and_the_last_checkpoint_stays(
    home: Path, monkeypatch: pytest.MonkeyPatch
):
    trainer = trainer_of(steps=4, checkpoint_every=2)
    write = Path.write_bytes

    def full(path: Path, data: bytes) -> int:
        if "step-00000004" in str(path):
            raise OSError(28, "No space left on device")
        return write(path, data)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(GencliError, match="No space left"):
        trainer.fit()
    assert trainer.run.checkpoint().step == 3  # the best, of the first epoch
    assert {p.name for p in (trainer.run.path / "checkpoints").iterdir()} == {
        "step-00000002", "step-00000003",
    }  # fmt: skip


def test_an_interrupt_waits_for_the_end_of_an_import(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "slow_to_import.py").write_text(
        "import signal, time\nsignal.raise_signal(signal.SIGINT)\ntime.sleep(0.3)\nwhole = True\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    found = []
    kept = signal.signal(signal.SIGINT, signal.default_int_handler)  # in the background: ignored

    def work() -> None:
        import slow_to_import

        found.append(slow_to_import.whole)
        time.sleep(5)

    try:
        with sparing_imports(), pytest.raises(KeyboardInterrupt):
            work()
    finally:
        signal.signal(signal.SIGINT, kept)
    assert found == [True]
