"""Options, TOML, run.json, state.json, images and data files that hold anything: never a traceback.

Each case is a command in this process. It ends soon with a code of ours, says what is wrong in two
lines if anything is, and writes nowhere but in its home and where it was told. A few hundred cases
stand here; ten thousand run with `pytest -m slow`.
"""

from __future__ import annotations

import contextlib
import copy
import gzip
import io
import json
import signal
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from gencli import registry, runs
from gencli.atomic import write_json
from gencli.checkpoint import sealed
from gencli.cli.app import run as command
from gencli.config import fields_of
from gencli.data import catalogue, sources
from gencli.data.options import DataOptions
from gencli.runs import Run
from gencli.training.settings import Settings
from tests.unit.small_run import copy_of, small_run

pytestmark = pytest.mark.reliability

SECONDS = 30
"""That a case may take, on a machine that has other work."""

Count = Callable[[str, int], None]
FUZZED = "cases fuzzed"

FEW, MANY = 25, 1_700

N_CASES = pytest.mark.parametrize("n", [FEW, pytest.param(MANY, marks=pytest.mark.slow)])


class Place:
    """A home with a run, a folder for outputs and one that must stay empty.

    Attributes:
        base: A run of a small VAE.
        out: Where outputs go.
        elsewhere: The working directory.
    """

    def __init__(self, root: Path) -> None:
        self.home, self.out, self.elsewhere = (root / name for name in ("home", "out", "elsewhere"))
        for folder in (self.out, self.elsewhere):
            folder.mkdir()
        made = small_run().path
        self.base = Run(made.rename(made.with_name("base")))

    def check(self, *arguments: str) -> int:
        """Run a command, look at how it ended, and give its code."""

        def too_long(*_: Any) -> None:
            raise AssertionError(f"{arguments} takes too long")

        out, err = io.TextIOWrapper(io.BytesIO(), "utf-8", "replace"), io.StringIO()
        before = signal.signal(signal.SIGALRM, too_long)
        signal.alarm(SECONDS)
        try:
            with (
                warnings.catch_warnings(),
                contextlib.redirect_stdout(out),
                contextlib.redirect_stderr(err),
            ):
                warnings.simplefilter("default")
                code = command(list(arguments))
        finally:
            signal.alarm(0)
            signal.signal(signal.SIGALRM, before)
        said = err.getvalue()
        assert code in range(6), said
        assert "Traceback" not in said
        assert "not foreseen" not in said, said
        lines = said.splitlines()
        if code:
            assert [line[:7] for line in lines[-2:]] == ["error: ", "  try: "], said
        assert sum(line.startswith("error: ") for line in lines) == (code != 0), said
        assert not list(self.elsewhere.iterdir())
        return code


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    root = tmp_path_factory.mktemp("fuzz")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GENCLI_HOME", str(root / "home"))
        place = Place(root)
        patch.chdir(place.elsewhere)
        yield place


def cases(n: int) -> settings:
    slow_or_shared = (HealthCheck.too_slow, HealthCheck.function_scoped_fixture)
    return settings(
        max_examples=n, deadline=None, derandomize=n < MANY, database=None,
        suppress_health_check=slow_or_shared,
    )  # fmt: skip


# Whole numbers of a size that fits nowhere, or that costs nothing.
integers = st.integers(-3, 40) | st.integers(10**14, 10**40) | st.integers(-(10**40), -(10**14))
ODD = ["", "-", "/", "..", "~nobody-here", "a\0b", "\udcff", "[red]", "1e999", "nan"]
scalars = (
    st.none() | st.booleans() | integers | st.floats() | st.text(max_size=12) | st.sampled_from(ODD)
)  # fmt: skip


def _inside(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    names = st.text(max_size=6)
    return st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3)


documents = st.recursive(scalars, _inside, max_leaves=6)


def words(value: Any) -> str:
    """A value as the argument that somebody may have typed."""
    return value if isinstance(value, str) else json.dumps(value)


OF_TRAIN = [
    *(field.flag for group in (registry.find("vae").options(), DataOptions, Settings)
      for field in fields_of(group)),
    "--name", "--config", "--resume", "--init-from", "--nothing", "-x", "extra",
]  # fmt: skip
OF_SAMPLE = [
    *("--n", "--seed", "--batch-size", "--temperature", "--checkpoint", "--format", "--label"),
    *("--raw", "--prompt", "--caption", "--device", "--nothing"),
]


@N_CASES
def test_options(place: Place, n: int, record_property: Count):
    record_property(FUZZED, n)
    lines = st.tuples(st.just("train"), st.sampled_from(OF_TRAIN), scalars) | st.tuples(
        st.just("sample"), st.sampled_from(OF_SAMPLE), scalars
    )

    @given(lines)
    @cases(n)
    def every(case: tuple[str, str, Any]) -> None:
        verb, flag, value = case
        if verb == "train":  # of data that are not there: nothing is trained
            place.check("train", "vae", flag, words(value), "--data", str(place.out / "nowhere"))
        else:
            out = ("--out", str(place.out / "drawn"), "--force", "-q")
            place.check("sample", "base", "--n", "1", flag, words(value), *out)

    every()


@N_CASES
def test_toml(place: Place, n: int, record_property: Count):
    record_property(FUZZED, n)
    keys = st.sampled_from([flag.lstrip("-").replace("-", "_") for flag in OF_TRAIN]) | st.text()
    rows = st.tuples(keys, documents.map(json.dumps)).map(lambda row: f"{row[0]} = {row[1]}\n")
    files = st.lists(rows, max_size=3).map(lambda r: "".join(r).encode("utf-8", "surrogatepass"))

    @given(files | st.binary(max_size=200))
    @cases(n)
    def every(content: bytes) -> None:
        path = place.out / "options.toml"
        path.write_bytes(content)
        nowhere = str(place.out / "nowhere")
        place.check("train", "vae", "--config", str(path), "--data", nowhere)

    every()


@st.composite
def changed(draw: st.DrawFn, document: dict[str, Any]) -> dict[str, Any]:
    """A document of which up to three parts are lost or something else."""
    new = copy.deepcopy(document)
    for _ in range(draw(st.integers(1, 3))):
        inner: Any = new
        while True:
            keys = sorted(inner) if isinstance(inner, dict) else range(len(inner))
            if not keys:
                break
            key = draw(st.sampled_from(keys))
            if isinstance(inner[key], dict | list) and inner[key] and draw(st.booleans()):
                inner = inner[key]
                continue
            if draw(st.booleans()):
                inner[key] = draw(documents)
            else:
                del inner[key]
            break
    return new


COMMANDS = st.sampled_from([
    ("info", "changed", "--json"),
    ("runs", "show", "changed"),
    ("compare", "changed"),
    ("sample", "changed", "--n", "1", "-q", "--force"),
    ("export", "changed", "--format", "weights", "-q", "--force"),
])  # fmt: skip


def command_on(place: Place, run: Run, arguments: tuple[str, ...]) -> None:
    out = ("--out", str(place.out / "drawn")) if arguments[0] in ("sample", "export") else ()
    place.check(*arguments, *out)


@pytest.fixture(scope="module")
def other(place: Place) -> Run:
    return copy_of(place.base, place.base.path.with_name("changed"))


@N_CASES
def test_run_json(place: Place, other: Run, n: int, record_property: Count):
    record_property(FUZZED, n)

    @given(changed(dict(place.base.record)), COMMANDS)
    @cases(n)
    def every(record: dict[str, Any], arguments: tuple[str, ...]) -> None:
        (other.path / "run.json").write_text(json.dumps(record))
        command_on(place, other, arguments)

    every()
    write_json(other.path / "run.json", place.base.record)


@N_CASES
def test_state_json(place: Place, other: Run, n: int, record_property: Count):
    record_property(FUZZED, n)
    whole = place.base.checkpoint()
    path = other.checkpoint().path / "state.json"
    state = {name: value for name, value in whole.state.items() if name != "checksum"}

    @given(changed(state), COMMANDS)
    @cases(n)
    def every(changed_state: dict[str, Any], arguments: tuple[str, ...]) -> None:
        write_json(path, sealed(changed_state))  # the checksum is that of a writer who means it
        command_on(place, other, arguments)

    every()
    write_json(path, sealed(state))


def picture(kind: str) -> bytes:
    pixels = np.random.default_rng(0).integers(0, 256, (9, 12, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


@st.composite
def damaged(draw: st.DrawFn, wholes: list[bytes]) -> bytes:
    """A file of which some bytes are others, or that is cut short, or no such file at all."""
    content = bytearray(draw(st.sampled_from(wholes)))
    for _ in range(draw(st.integers(0, 4))):
        content[draw(st.integers(0, len(content) - 1))] = draw(st.integers(0, 255))
    end = draw(st.integers(0, len(content)) | st.just(len(content)))
    return bytes(content[:end]) + draw(st.binary(max_size=8))


@N_CASES
def test_image_files(place: Place, n: int, record_property: Count):
    record_property(FUZZED, n)
    wholes = [picture(kind) for kind in ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM")]

    @given(damaged(wholes) | st.binary(max_size=100))
    @cases(n)
    def every(content: bytes) -> None:
        path = place.out / "image.png"
        path.write_bytes(content)
        drawn = ("--out", str(place.out / "drawn.png"), "--force", "-q")
        assert place.check("reconstruct", "base", str(path), *drawn) in (0, 2, 3)

    every()


@N_CASES
def test_data_files(place: Place, n: int, record_property: Count):
    """AMAT by its reader; IDX, whose reader takes long to import, where there is time."""
    few = n == FEW
    n = max(n, 100)  # they cost next to nothing
    record_property(FUZZED, n)
    rows = b" ".join([b"0", b"1"] * 392) + b"\n"
    amat = damaged([rows * 2]) | st.binary(max_size=1600)
    spec = catalogue.find("kmnist")
    images = bytes([0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 28, 0, 0, 0, 28]) + bytes(2 * 784)
    labels = bytes([0, 0, 8, 1, 0, 0, 0, 2, 3, 4])

    @given(amat, damaged([images]), damaged([labels]))
    @cases(n)
    def every(text: bytes, pixels: bytes, classes: bytes) -> None:
        path = place.out / "binarized_mnist_train.amat"
        path.write_bytes(text)
        checksum = sources.amat_checksum(path)
        with contextlib.suppress(ValueError):
            assert sources._read_amat(path).shape[1] == 784
            assert checksum
        if few:
            return
        paths = [place.out / f"{i}.gz" for i in range(4)]
        for path, content in zip(paths, (pixels, classes) * 2, strict=True):
            path.write_bytes(gzip.compress(content))
        with contextlib.suppress(*sources._UNPARSABLE):
            stored = sources._consistent(spec, sources._parse_idx(spec, paths))
            assert stored.images["train"].shape == (2, 1, 28, 28)

    every()


def test_the_run_is_as_it_was(place: Place):
    assert runs.find("base").checkpoint().tensors("model.safetensors")
