"""Parsing of the published file formats, on small files of our own in a mirror folder."""

from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import Callable
from dataclasses import replace
from hashlib import md5, sha256
from pathlib import Path

import numpy as np
import pytest

from gencli.data import catalogue, sources
from gencli.data.glyphs import Glyphs
from gencli.data.sources import FILES, amat_checksum, named
from gencli.errors import DataError

RANDOM = np.random.default_rng(0)


@pytest.fixture
def mirror(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GENCLI_MIRROR", str(tmp_path / "mirror"))
    return tmp_path / "mirror"


def publish(
    mirror: Path, monkeypatch: pytest.MonkeyPatch, name: str, contents: list[bytes]
) -> None:
    """Put files into the mirror and let their checksums be the published ones."""
    files = []
    for file, content in zip(FILES[name], contents, strict=True):
        path = mirror / name / file.name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        files.append(replace(file, sources=(), checksum=file.checksum_of(path)))
    monkeypatch.setitem(FILES, name, tuple(files))


def idx(array: np.ndarray) -> bytes:
    header = bytes([0, 0, 8, array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape)
    return gzip.compress(header + array.tobytes())


def test_idx_files(mirror: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train, test = (RANDOM.integers(0, 256, (n, 28, 28), np.uint8) for n in (7, 3))
    labels = [np.arange(n, dtype=np.uint8) for n in (7, 3)]
    contents = [idx(array) for array in (train, labels[0], test, labels[1])]
    publish(mirror, monkeypatch, "fashion-mnist", contents)
    spec = catalogue.find("fashion-mnist")
    for _ in range(2):
        stored = named(spec)
        np.testing.assert_array_equal(stored.images["train"], train[:, None])
        np.testing.assert_array_equal(stored.images["test"], test[:, None])
        assert stored.labels["train"].tolist() == list(range(7))
        assert stored.labels["test"].dtype == np.int64
        assert stored.classes == spec.classes
        monkeypatch.setattr(sources, "fetch", None)  # the second time comes from the cache


def test_idx_files_that_hold_something_else_are_refused(
    mirror: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(mirror, monkeypatch, "kmnist", [gzip.compress(b"hello"), b"no gzip", b"", b""])
    with pytest.raises(DataError, match=r"kmnist .* cannot be parsed") as caught:
        named(catalogue.find("kmnist"))
    assert "Delete" in caught.value.cure


@pytest.mark.reliability("faults injected")
@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda files: files | {1: idx(np.zeros(3, np.uint8))}, "labels do not fit 4 images"),
        (lambda files: files | {1: idx(np.full(4, 10, np.uint8))}, "labels do not fit 4"),
        (lambda files: files | {2: idx(np.zeros((0, 28, 28), np.uint8))}, "cannot be parsed"),
        (lambda files: files | {0: idx(np.zeros((4, 9, 9), np.uint8))}, "are 4x1x9x9"),
        (lambda files: files | {0: files[0][:60] + bytes(40) + files[0][100:]}, "cannot be parsed"),
        (lambda files: files | {0: gzip.compress(bytes([0, 0, 8, 3, *[255] * 12]))}, "parsed"),
    ],
    ids=["few labels", "no such class", "empty", "small", "damaged", "a lying header"],
)
def test_idx_files_that_lie_are_refused(
    mirror: Path, monkeypatch: pytest.MonkeyPatch, change: Callable, problem: str
) -> None:
    images, labels = RANDOM.integers(0, 256, (4, 28, 28), np.uint8), np.arange(4, dtype=np.uint8)
    files = dict(enumerate([idx(images), idx(labels)] * 2))
    publish(mirror, monkeypatch, "kmnist", list(change(files).values()))
    with pytest.raises(DataError, match=problem):
        named(catalogue.find("kmnist"))


def cifar_archive(records: dict[str, np.ndarray]) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        for name, rows in records.items():
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            member.size = rows.nbytes
            archive.addfile(member, io.BytesIO(rows.tobytes()))
    return file.getvalue()


def test_cifar10_binary_version(mirror: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = RANDOM.integers(0, 256, (12, 3073), np.uint8)
    rows[:, 0] = np.arange(12) % 10
    # In the archive the batches are in no particular order, and other files lie among them.
    records = {"batches.meta.txt": rows[0, :9], "test_batch.bin": rows[10:]}
    records |= {f"data_batch_{i}.bin": rows[2 * i - 2 : 2 * i] for i in (4, 1, 5, 3, 2)}
    publish(mirror, monkeypatch, "cifar10", [cifar_archive(records)])
    stored = named(catalogue.find("cifar10"))
    np.testing.assert_array_equal(stored.images["train"], rows[:10, 1:].reshape(-1, 3, 32, 32))
    np.testing.assert_array_equal(stored.images["test"], rows[10:, 1:].reshape(-1, 3, 32, 32))
    assert stored.labels["train"].tolist() == list(range(10))
    assert stored.labels["test"].tolist() == [0, 1]


def test_cifar10_without_a_batch_is_refused(mirror: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(mirror, monkeypatch, "cifar10", [cifar_archive({"test_batch.bin": np.zeros(3073)})])
    with pytest.raises(DataError, match="cannot be parsed"):
        named(catalogue.find("cifar10"))


def amat(pixels: np.ndarray, end: str = "\n") -> bytes:
    return "".join(" ".join(map(str, row)) + end for row in pixels).encode()


def test_binarized_mnist_text(mirror: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    splits = [RANDOM.integers(0, 2, (n, 784), np.uint8) for n in (5, 3, 2)]
    publish(mirror, monkeypatch, "binarized-mnist", [amat(rows) for rows in splits])
    stored = named(catalogue.find("binarized-mnist"))
    for split, rows in zip(("train", "val", "test"), splits, strict=True):
        np.testing.assert_array_equal(stored.images[split].reshape(-1, 784), rows * 255)
    assert stored.labels == {}


def test_amat_checksum_is_of_the_pixels(tmp_path: Path) -> None:
    pixels = RANDOM.integers(0, 2, (4, 784), np.uint8)
    path = tmp_path / "a.amat"
    for content in (amat(pixels), amat(pixels, " \r\n"), amat(pixels).rstrip()):
        path.write_bytes(content)
        assert amat_checksum(path) == sha256(pixels.tobytes()).hexdigest()
    for content in (amat(pixels)[:-10], amat(pixels).replace(b"1", b"2", 1), b"<html>"):
        path.write_bytes(content)
        assert amat_checksum(path) == ""


def test_glyphs_are_drawn_once(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def draw(split: str, told: Callable[[int], None]) -> Glyphs:
        n = {"train": 4, "test": 2}[split]
        images = np.full((n, 1, 28, 28), n, np.uint8)
        return Glyphs(images, np.arange(n), tuple(f"{split} {i}" for i in range(n)))

    monkeypatch.setattr("gencli.data.glyphs.glyphs_split", draw)
    first = named(catalogue.find("glyphs"))
    monkeypatch.setattr("gencli.data.glyphs.glyphs_split", None)
    again = named(catalogue.find("glyphs"))
    assert first.fingerprint == again.fingerprint
    assert again.vocabulary == ("train", "0", "1", "2", "3")
    assert again.tokens["train"].tolist() == [[2, 3], [2, 4], [2, 5], [2, 6]]
    assert again.tokens["test"].tolist() == [[1, 3], [1, 4]]  # "test" is no word of the captions
    assert again.images["train"].shape == (4, 1, 28, 28)
    assert again.labels["test"].tolist() == [0, 1]


def test_checksums_are_those_that_torchvision_lists() -> None:
    from torchvision.datasets import KMNIST, MNIST, FashionMNIST

    for name, theirs in (("mnist", MNIST), ("fashion-mnist", FashionMNIST), ("kmnist", KMNIST)):
        assert [(file.name, file.checksum) for file in FILES[name]] == list(theirs.resources)


def test_published_mnist_files(
    home: Path, real_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GENCLI_MIRROR", str(real_data))
    stored = named(catalogue.find("mnist"))
    assert {split: len(images) for split, images in stored.images.items()} == {
        "train": 60_000, "test": 10_000,
    }  # fmt: skip
    assert stored.labels["test"][:5].tolist() == [7, 2, 1, 0, 4]
    assert (
        md5(stored.images["test"].tobytes()).hexdigest()
        == md5(
            gzip.decompress((real_data / "mnist" / "t10k-images-idx3-ubyte.gz").read_bytes())[16:]
        ).hexdigest()
    )
