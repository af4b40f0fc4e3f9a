"""The data sets that have names: which files they need, and how those become arrays."""

from __future__ import annotations

import gzip
import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Literal

import numpy as np

from gencli.data import captions
from gencli.data.cache import Images, Labels, Stored, cached, digest
from gencli.data.catalogue import DatasetSpec
from gencli.data.fetch import RemoteFile, fetch, md5_of
from gencli.errors import DataError
from gencli.home import cache_dir
from gencli.kinds import Progress

Told = Callable[[int], None]
"""Told how many images are drawn."""
_Split = Literal["test", "train"]
_Drawn = tuple[Images, Labels, tuple[str, ...]]

_VERSION = 1  # of the parsing below; a change makes the arrays anew
_UNPARSABLE = (
    ValueError, LookupError, TypeError, ArithmeticError, AssertionError, RuntimeError,
    EOFError, OSError, tarfile.TarError, zlib.error,
)  # fmt: skip


def amat_checksum(path: Path) -> str:
    """SHA-256 of the pixels in a text file of zeros and ones; "" for any other content.

    Of the pixels, because copies of these files differ in their white space.
    """
    try:
        return sha256(_read_amat(path).data).hexdigest()
    except ValueError:
        return ""


def _idx(sources: tuple[str, ...], *checksums: str) -> tuple[RemoteFile, ...]:
    names = ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")
    return tuple(
        RemoteFile(f"{name}-ubyte.gz", sources, checksum)
        for name, checksum in zip(names, checksums, strict=True)
    )


_LAROCHELLE = ("http://www.cs.toronto.edu/~larocheh/public/datasets/binarized_mnist/",)

FILES: dict[str, tuple[RemoteFile, ...]] = {
    "mnist": _idx(
        (
            "https://ossci-datasets.s3.amazonaws.com/mnist/",
            "https://storage.googleapis.com/cvdf-datasets/mnist/",
        ),
        "f68b3c2dcbeaaa9fbdd348bbdeb94873",
        "d53e105ee54ea40749a09fcbcd1e9432",
        "9fb629c4189551a2d022fa330f9573f3",
        "ec29112dd5afa0611ce80d1b7f02629c",
    ),
    "fashion-mnist": _idx(
        (
            "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
            "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
        ),
        "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
        "25c81989df183df01b3e8a0aad5dffbe",
        "bef4ecab320f06d8554ea6380940ec79",
        "bb300cfdad3c16e7a12a480ee83cd310",
    ),
    "kmnist": _idx(
        ("http://codh.rois.ac.jp/kmnist/dataset/kmnist/",),
        "bdb82020997e1d708af4cf47b453dcf7",
        "e144d726b3acfaa3e44228e80efcd344",
        "5c965bf0a639b31b8f53240b1b52f4d7",
        "7320c461ea6c1c855c0b718fb2a4b134",
    ),
    "cifar10": (
        RemoteFile(
            "cifar-10-binary.tar.gz",
            ("https://www.cs.toronto.edu/~kriz/",),
            "c32a1d4ab5d03f1284b67883e8d87530",
            md5_of,
        ),
    ),
    "binarized-mnist": tuple(
        RemoteFile(f"binarized_mnist_{split}.amat", _LAROCHELLE, checksum, amat_checksum)
        for split, checksum in (
            ("train", "43490d4d6ac9002727af4426d8748609fdb7e4094fa65ad8d681ea60082a7a5a"),
            ("valid", "069b4f0beb389b776478c3e872b4df71c95ac4be64d7cbe6d32e24ebac8e6d5e"),
            ("test", "ca0294c3b8d984c7a1dc891015a8eea6f37bae59a34e35ea0fc8c47110a8dd86"),
        )
    ),
}


def named(spec: DatasetSpec, progress: Progress | None = None) -> Stored:
    """The images of a named data set, from the cache or made for it.

    Raises:
        DataError: If its files cannot be had or do not hold what they should.
    """
    folder = cache_dir() / spec.name
    if spec.name in _DRAWN:
        # Keyed by the program that draws them: new code, new images.
        draw, modules = _DRAWN[spec.name]
        code = [Path(__file__).with_name(f"{module}.py").read_bytes() for module in modules]
        key = digest(_VERSION, code, spec.shape)
        return cached(folder, key, lambda: _draw(spec, draw, progress))
    files = FILES[spec.name]
    key = digest(_VERSION, spec.name, [file.checksum for file in files])

    def build() -> Stored:
        paths = fetch(spec.name, files, progress)
        if progress:
            progress(f"reading {spec.name}", 0, 0)
        try:
            return _consistent(spec, _PARSERS.get(spec.name, _parse_idx)(spec, paths))
        except _UNPARSABLE as error:
            raise DataError(
                f"The files of {spec.name} in {folder} cannot be parsed: {error}.",
                f"Delete {folder} to download them again.",
            ) from None

    return cached(folder, key, build)


def _draw(
    spec: DatasetSpec,
    draw: Callable[[DatasetSpec, _Split, Told], _Drawn],
    progress: Progress | None,
) -> Stored:
    images: dict[str, Images] = {}
    labels: dict[str, Labels] = {}
    written: dict[str, tuple[str, ...]] = {}
    n = spec.n_train + spec.n_test
    splits: tuple[_Split, ...] = ("test", "train")
    for split in splits:
        before = sum(map(len, written.values()))

        def told(done: int, before: int = before) -> None:
            if progress:
                progress(f"drawing {spec.name}", before + done, n)

        told(0)
        images[split], labels[split], written[split] = draw(spec, split, told)
    words, length = captions.vocabulary(written["train"])
    tokens = {split: captions.tokens(text, words, length) for split, text in written.items()}
    return Stored(images, labels, spec.classes, tokens, words)


def _draw_glyphs(spec: DatasetSpec, split: _Split, told: Told) -> _Drawn:
    from gencli.data.glyphs import glyphs_split

    glyphs = glyphs_split(split, told)
    return glyphs.images, glyphs.labels, glyphs.captions


def _draw_scenes(spec: DatasetSpec, split: _Split, told: Told) -> _Drawn:
    from gencli.data.scenes import scenes_split

    scenes = scenes_split(split, spec.shape[1], told)
    return scenes.images, scenes.labels, scenes.captions


_DRAWN = {
    "glyphs": (_draw_glyphs, ("glyphs", "hand", "strokes")),
    "scenes": (
        _draw_scenes,
        ("scenes", "scene_words", "scene_colours", "scene_papers", "hand", "strokes"),
    ),
}
"""What draws a set, and the modules that decide its images."""


def _consistent(spec: DatasetSpec, stored: Stored) -> Stored:
    """The same, once images have the shape that they should, and each its own class.

    Raises:
        ValueError: If they do not.
    """
    for split, images in stored.images.items():
        if not len(images) or images.shape[1:] != spec.shape:
            raise ValueError(f"the {split} images are {'x'.join(map(str, images.shape))}")
        labels = stored.labels.get(split)
        if labels is not None and (
            len(labels) != len(images) or not 0 <= labels.min() <= labels.max() < len(spec.classes)
        ):
            raise ValueError(f"the {split} labels do not fit {len(images)} images")
    return stored


def _parse_idx(spec: DatasetSpec, paths: list[Path]) -> Stored:
    # Imported here alone: this costs as much as importing torch.
    from torchvision.datasets.mnist import read_image_file, read_label_file

    arrays = []
    with tempfile.TemporaryDirectory() as folder:
        for path, read in zip(paths, (read_image_file, read_label_file) * 2, strict=True):
            unpacked = Path(folder, path.stem)
            with gzip.open(path) as packed, unpacked.open("wb") as file:
                shutil.copyfileobj(packed, file)
            arrays.append(read(str(unpacked)).numpy())
    train, train_labels, test, test_labels = arrays
    return Stored(
        {"train": train[:, None], "test": test[:, None]},
        {"train": train_labels, "test": test_labels},
        spec.classes,
    )


def _parse_cifar10(spec: DatasetSpec, paths: list[Path]) -> Stored:
    """The binary version: a record is a label and 3 x 32 x 32 pixels."""
    size = 1 + 3 * 32 * 32
    records: dict[str, Images] = {}
    with tarfile.open(paths[0], "r:gz") as archive:
        for member in archive:
            opened = archive.extractfile(member) if member.name.endswith(".bin") else None
            if opened:
                name = Path(member.name).name
                records[name] = np.frombuffer(opened.read(), np.uint8).reshape(-1, size)
    train = np.concatenate([records[f"data_batch_{i}.bin"] for i in range(1, 6)])
    splits = {"train": train, "test": records["test_batch.bin"]}
    return Stored(
        {split: rows[:, 1:].reshape(-1, 3, 32, 32) for split, rows in splits.items()},
        {split: rows[:, 0].astype(np.int64) for split, rows in splits.items()},
        spec.classes,
    )


def _parse_binarized_mnist(spec: DatasetSpec, paths: list[Path]) -> Stored:
    images = {
        split: (_read_amat(path) * np.uint8(255)).reshape(-1, *spec.shape)
        for split, path in zip(("train", "val", "test"), paths, strict=True)
    }
    return Stored(images)


def _read_amat(path: Path) -> Images:
    """Rows of 784 zeros and ones as text -> uint8 (N, 784)."""
    parts = []
    with path.open("rb") as file:
        while text := file.read(1 << 22):
            characters = np.frombuffer(text, np.uint8)
            parts.append(characters[characters > ord(" ")] - np.uint8(ord("0")))
    pixels = np.concatenate(parts) if parts else np.empty(0, np.uint8)
    if pixels.size % 784 or (pixels > 1).any():
        raise ValueError(f"{path.name} does not hold rows of 784 zeros and ones")
    return pixels.reshape(-1, 784)


_PARSERS: dict[str, Callable[[DatasetSpec, list[Path]], Stored]] = {
    "cifar10": _parse_cifar10,
    "binarized-mnist": _parse_binarized_mnist,
}
