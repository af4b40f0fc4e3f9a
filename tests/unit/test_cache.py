from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gencli.atomic import whole_file
from gencli.data.cache import Stored, cached, digest
from gencli.errors import DataError


def some() -> Stored:
    images = np.arange(2 * 12, dtype=np.uint8).reshape(2, 3, 2, 2)
    return Stored(
        {"train": images, "test": images[:1] + 1},
        {"train": np.array([1, 0])},
        ("a", "b"),
        {"train": np.array([[2, 3], [2, 0]])},
        ("one", "é"),
        ("note",),
        ("x.png (cut)",),
    )


def fail() -> Stored:
    raise AssertionError("built again")


def test_what_is_stored_comes_back(tmp_path: Path) -> None:
    first = cached(tmp_path, "k", some)
    again = cached(tmp_path, "k", fail)
    for stored in (first, again):
        assert list(stored.images) == ["train", "test"]
        np.testing.assert_array_equal(stored.images["test"], some().images["test"])
        np.testing.assert_array_equal(stored.labels["train"], [1, 0])
        assert list(stored.labels) == ["train"]
        np.testing.assert_array_equal(stored.tokens["train"], [[2, 3], [2, 0]])
        assert replace(stored, images={}, labels={}, tokens={}, fingerprint="") == replace(
            some(), images={}, labels={}, tokens={}
        )
    assert first.fingerprint == again.fingerprint != ""


def test_fingerprint_follows_pixels_and_labels(tmp_path: Path) -> None:
    other = some()
    other.images["test"][0, 0, 0, 0] ^= 1
    fingerprints = {
        cached(tmp_path, key, lambda stored=stored: stored).fingerprint
        for key, stored in {
            "a": some(),
            "b": other,
            "c": replace(some(), labels={"train": np.array([1, 1])}),
            "d": replace(some(), labels={}),
        }.items()
    }
    assert len(fingerprints) == 4
    assert cached(tmp_path, "e", some).fingerprint == cached(tmp_path, "a", fail).fingerprint


def test_arrays_are_mapped_and_never_written_back(tmp_path: Path) -> None:
    stored = cached(tmp_path, "k", some)
    assert isinstance(stored.images["train"], np.memmap)
    stored.images["train"][:] = 0
    assert cached(tmp_path, "k", fail).images["train"].max() > 0


@pytest.mark.parametrize("damage", ["truncate", "text", "remove", "meta"])
def test_damaged_entry_is_built_again(tmp_path: Path, damage: str) -> None:
    cached(tmp_path, "k", some)
    (array,) = tmp_path.glob("arrays-*/train-images.npy")
    if damage == "truncate":
        array.write_bytes(array.read_bytes()[:-3])
    elif damage == "text":
        array.write_text("no array")
    elif damage == "remove":
        array.unlink()
    else:
        array.with_name("meta.json").write_text('{"format": 99}')
    built = []
    stored = cached(tmp_path, "k", lambda: built.append(1) or some())
    assert built == [1]
    np.testing.assert_array_equal(stored.images["train"], some().images["train"])
    cached(tmp_path, "k", fail)


def test_pickled_array_is_not_loaded(tmp_path: Path) -> None:
    cached(tmp_path, "k", some)
    (array,) = tmp_path.glob("arrays-*/train-images.npy")
    np.save(array, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    assert cached(tmp_path, "k", some).images["train"].dtype == np.uint8


def test_failed_build_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="built again"):
        cached(tmp_path / "set", "k", fail)
    assert not any((tmp_path / "set").iterdir())


def test_whole_file_is_the_old_one_until_the_end(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"old")

    def write(content: bytes, error: Exception | None) -> None:
        with whole_file(path) as file:
            file.write(content)
            assert path.read_bytes() == b"old"
            if error:
                raise error

    with pytest.raises(KeyError):
        write(b"new", KeyError("stop"))
    assert [p.name for p in tmp_path.iterdir()] == ["f"]
    write(b"new", None)
    assert path.read_bytes() == b"new"
    assert [p.name for p in tmp_path.iterdir()] == ["f"]


def test_two_builders_at_once_agree(tmp_path: Path) -> None:
    program = (
        "import sys, time, numpy as np, pathlib\n"
        "from gencli.data.cache import Stored, cached\n"
        "def build():\n"
        "    time.sleep(0.3)\n"
        "    return Stored({'train': np.ones((500, 1, 28, 28), np.uint8)})\n"
        "for key in 'abc':\n"
        "    assert cached(pathlib.Path(sys.argv[1]), key, build).images['train'].all()\n"
    )
    processes = [subprocess.Popen([sys.executable, "-c", program, str(tmp_path)]) for _ in range(3)]
    assert [process.wait(timeout=60) for process in processes] == [0, 0, 0]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["arrays-a", "arrays-b", "arrays-c"]


def test_killed_writer_leaves_no_entry(tmp_path: Path) -> None:
    program = (
        "import sys, pathlib, time, numpy as np\n"
        "from gencli.data import cache\n"
        "save = np.save\n"
        "def slow(*args, **kwargs):\n"
        "    save(*args, **kwargs)\n"
        "    print('half', flush=True)\n"
        "    time.sleep(60)\n"
        "np.save = slow\n"
        "images = {s: np.ones((9, 1, 2, 2), np.uint8) for s in ('train', 'test')}\n"
        "cache.cached(pathlib.Path(sys.argv[1]), 'k', lambda: cache.Stored(images))\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE
    )
    assert process.stdout
    with process.stdout as out:
        assert out.readline() == b"half\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    (left,) = tmp_path.iterdir()
    assert left.name.endswith(".part")
    long_ago = time.time() - 2 * 86_400
    os.utime(left, (long_ago, long_ago))
    cached(tmp_path, "k", some)
    assert [path.name for path in tmp_path.iterdir()] == ["arrays-k"]


def test_unwritable_cache_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataError, match="cannot be written") as caught:
        cached(tmp_path / "file" / "set", "k", some)
    assert "GENCLI_HOME" in caught.value.cure


def test_digest_tells_values_apart() -> None:
    assert digest(1, "a") == digest(1, "a")
    assert len({digest(1), digest("1"), digest([1]), digest(1, None), digest()}) == 5


def test_a_flipped_bit_is_noticed_and_mended(tmp_path: Path) -> None:
    whole = cached(tmp_path, "k", some)
    before = {split: images.copy() for split, images in whole.images.items()}
    (entry,) = tmp_path.iterdir()
    rng = random.Random(0)
    for path in sorted(entry.iterdir()):
        for _ in range(20):
            content = bytearray(path.read_bytes())
            content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
            path.write_bytes(content)
            built = []
            again = cached(tmp_path, "k", lambda built=built: built.append(1) or some())
            assert built, path
            assert all((again.images[split] == before[split]).all() for split in before)
            assert again.fingerprint == whole.fingerprint
