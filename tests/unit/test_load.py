from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from gencli.data import load as loading
from gencli.data import sources
from gencli.data.binarize import static
from gencli.data.cache import Stored, digest
from gencli.data.catalogue import DatasetSpec
from gencli.data.options import DataOptions
from gencli.data.spec import DataInfo
from gencli.data.splits import ImageData
from gencli.errors import DataError, UsageError

N_TRAIN, N_TEST = 100, 20


@pytest.fixture(autouse=True)
def _small(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every named set is a small one of random pixels; image i has label i % 10."""

    def named(spec: DatasetSpec, progress: object = None) -> Stored:
        random = np.random.default_rng(len(spec.name))
        binary = spec.name == "binarized-mnist"
        sizes = {"train": N_TRAIN, "test": N_TEST} | ({"val": 30} if binary else {})
        images = {
            split: random.integers(0, 256, (n, *spec.shape), np.uint8) for split, n in sizes.items()
        }
        if binary:
            images = {split: (pixels > 127) * np.uint8(255) for split, pixels in images.items()}
        labels = {} if binary else {split: np.arange(n) % 10 for split, n in sizes.items()}
        tokens, words = {}, ()
        if spec.name == "glyphs":
            tokens = {split: np.arange(n)[:, None] for split, n in sizes.items()}
            words = tuple(map(str, range(N_TRAIN)))
        return Stored(images, labels, spec.classes, tokens, words, fingerprint=digest(spec.name))

    monkeypatch.setattr(sources, "named", named)


def load(name: str, **options: Any) -> ImageData:
    return loading.load(DataOptions(name, **options))


def stored_train(name: str) -> torch.Tensor:
    """The training images of a set in their source's order."""
    return load(name, val=0).train.images


def rows_of(part: torch.Tensor, whole: torch.Tensor) -> list[int]:
    """Where each image of `part` is in `whole`."""
    places = {image.numpy().tobytes(): i for i, image in enumerate(whole)}
    return [places[image.numpy().tobytes()] for image in part]


def test_a_named_set() -> None:
    data = load("cifar10")
    assert data.name == "cifar10"
    assert data.info == DataInfo(3, 32, 32, data.info.classes, "none")
    assert data.info.n_classes == 10
    assert (len(data.train), len(data.val), len(data.test)) == (90, 10, 20)
    for split in (data.train, data.val, data.test):
        assert split.images.dtype == torch.uint8
        assert split.images.shape == (len(split), 3, 32, 32)
        assert split.labels is not None
        assert split.labels.dtype == torch.int64
    assert data.train.text is None
    assert data.notes == ()


def test_held_out_images_are_a_fixed_choice_and_labels_and_captions_follow() -> None:
    whole = stored_train("glyphs")
    torch.manual_seed(1)
    first = load("glyphs", val=30)
    torch.manual_seed(2)
    second = load("glyphs", val=30)
    assert torch.equal(first.val.images, second.val.images)
    train, val = rows_of(first.train.images, whole), rows_of(first.val.images, whole)
    assert sorted(train + val) == list(range(N_TRAIN))
    assert len(val) == 30
    assert train == sorted(train)
    assert first.train.labels is not None
    assert first.val.labels is not None
    assert first.train.labels.tolist() == [i % 10 for i in train]
    assert first.val.labels.tolist() == [i % 10 for i in val]
    assert first.train.text[:, 0].tolist() == train
    assert first.val.text[:, 0].tolist() == val
    assert first.info.has("text")


def test_val_zero_trains_on_all() -> None:
    data = load("mnist", val=0)
    assert (len(data.train), len(data.val)) == (N_TRAIN, 0)
    assert data.val.images.shape == (0, 1, 28, 28)
    assert data.val.labels is not None


@pytest.mark.parametrize("val", [-1, N_TRAIN, 5_000])
def test_impossible_val_is_refused(val: int) -> None:
    with pytest.raises(UsageError, match=f"--val {val}") as caught:
        load("mnist", val=val)
    assert caught.value.cure == "It takes 0 to 99."


def test_test_images_are_in_the_order_of_the_source() -> None:
    data = load("mnist")
    assert data.test.labels is not None
    assert data.test.labels.tolist() == [i % 10 for i in range(N_TEST)]


def test_own_validation_split_is_used_unless_another_is_asked_for() -> None:
    data = load("binarized-mnist")
    assert (len(data.train), len(data.val), len(data.test)) == (N_TRAIN, 30, N_TEST)
    assert load("binarized-mnist", val=30).notes == ()
    pooled = load("binarized-mnist", val=0)
    assert (len(pooled.train), len(pooled.val)) == (N_TRAIN + 30, 0)
    assert "join" in pooled.notes[0]
    assert len(load("binarized-mnist", val=20).train) == N_TRAIN + 10


def test_binarized_mnist_is_static_whatever_is_asked() -> None:
    plain = load("binarized-mnist")
    assert plain.info.binarization == "static"
    assert plain.train.labels is None
    assert load("binarized-mnist", binarize="static").notes == ()
    asked = load("binarized-mnist", binarize="dynamic")
    assert asked.info.binarization == "static"
    assert torch.equal(asked.train.images, plain.train.images)
    assert "static, not dynamic" in asked.notes[0]
    with pytest.raises(UsageError, match="28x28"):
        load("binarized-mnist", image_size=32)
    assert load("binarized-mnist", image_size=28).info == plain.info


def test_binarizations() -> None:
    grey = load("mnist")
    threshold = load("mnist", binarize="threshold")
    assert threshold.info.binarization == "threshold"
    assert torch.equal(threshold.val.images, (grey.val.images > 127) * torch.tensor(255).byte())
    dynamic = load("mnist", binarize="dynamic")
    assert dynamic.info.binarization == "dynamic"
    assert torch.equal(dynamic.train.images, grey.train.images)
    drawn = load("mnist", binarize="static")
    assert drawn.info.binarization == "static"
    assert torch.equal(drawn.test.images, static(grey.test.images, 2))
    assert drawn.fingerprint != grey.fingerprint
    assert load("mnist", binarize="static").fingerprint == drawn.fingerprint


def test_static_draw_does_not_depend_on_what_is_held_out() -> None:
    whole = load("mnist", binarize="static", val=0).train.images
    part = load("mnist", binarize="static", val=40).train.images
    assert rows_of(part, whole) == rows_of(
        load("mnist", val=40).train.images, stored_train("mnist")
    )


def test_named_sets_are_resized() -> None:
    data = load("mnist", image_size=32)
    assert data.info.shape == (1, 32, 32)
    assert data.test.images.shape == (N_TEST, 1, 32, 32)
    assert data.info.classes == load("mnist").info.classes
    assert load("mnist", image_size=28).fingerprint == load("mnist").fingerprint
    assert len({load("mnist", image_size=size).fingerprint for size in (28, 32, 16)}) == 3
    with pytest.raises(UsageError, match="--image-size"):
        load("mnist", image_size=0)
    glyphs = load("glyphs", image_size=16, binarize="static")
    assert set(glyphs.train.images.unique().tolist()) == {0, 255}
    assert glyphs.train.text is not None
    assert len(glyphs.train.text) == len(glyphs.train)


def make_folder(folder: Path, n: int = 40) -> Path:
    for i in range(n):
        path = folder / "xy"[i % 2] / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (8, 8), 5 * i).save(path)
    return folder


def test_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_folder(tmp_path / "mine")
    monkeypatch.chdir(tmp_path)
    data = load("mine")
    assert data.name == str(tmp_path.resolve() / "mine")
    assert data.info == DataInfo(1, 8, 8, ("x", "y"), "none")
    assert (len(data.train), len(data.val), len(data.test)) == (33, 3, 4)
    assert "held out" in data.notes[0]
    again = load(data.name)
    assert again.fingerprint == data.fingerprint
    assert torch.equal(again.val.images, data.val.images)
    assert load("./mine", binarize="threshold").info.binarization == "threshold"
    assert load("mine", binarize="static", image_size=16).info.shape == (1, 16, 16)


def test_renamed_classes_are_not_taken_from_the_cache(tmp_path: Path) -> None:
    make_folder(tmp_path / "mine")
    assert load(str(tmp_path / "mine"), binarize="static").info.classes == ("x", "y")
    (tmp_path / "mine" / "y").rename(tmp_path / "mine" / "z")
    assert load(str(tmp_path / "mine"), binarize="static").info.classes == ("x", "z")


def test_two_images_are_enough_to_load(tmp_path: Path) -> None:
    data = load(str(make_folder(tmp_path / "mine", 2)))
    assert (len(data.train), len(data.val), len(data.test)) == (1, 0, 1)


def test_skip_bad_is_passed_on(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "mine")
    (folder / "x" / "bad.png").write_text("x")
    with pytest.raises(DataError, match=r"x/bad\.png"):
        load(str(folder))
    assert "skipped: 1 of 41" in load(str(folder), skip_bad=True).notes[-1]


def test_known_name_wins_over_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_folder(tmp_path / "mnist")
    monkeypatch.chdir(tmp_path)
    assert load("mnist").name == "mnist"
    assert load("./mnist").info.shape == (1, 8, 8)


def test_what_is_no_data_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError) as caught:
        load("minst")
    assert caught.value.cure == "Did you mean mnist?"
    for path in ("no/such", "./mnits", str(tmp_path / "x"), "~/no-such-folder-here"):
        with pytest.raises(DataError, match="no folder"):
            load(path)
    (tmp_path / "a.png").write_text("x")
    with pytest.raises(DataError, match="not a folder"):
        load("a.png")


def test_data_cannot_be_changed_by_accident() -> None:
    data = load("mnist")
    with pytest.raises(AttributeError):
        data.train = data.test  # type: ignore[misc]
    assert isinstance(replace(data, notes=("x",)), ImageData)
