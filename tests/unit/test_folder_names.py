from __future__ import annotations

import numpy as np
import pytest

from gencli.data.folder_names import arrange


def files(folder: str, n: int = 3) -> list[str]:
    return [f"{folder}{i}.png" for i in range(n)]


def test_flat_folder_has_no_labels_and_a_tenth_is_held_out() -> None:
    layout = arrange(files("", 50))
    assert (layout.classes, layout.labels) == ((), {})
    assert (len(layout.splits["train"]), len(layout.splits["test"])) == (45, 5)
    assert sorted(np.concatenate(list(layout.splits.values()))) == list(range(50))
    assert arrange(files("", 50)).splits["test"].tolist() == layout.splits["test"].tolist()
    assert layout.notes == (
        "there is no folder of test images: 5 of 50, always the same, are held out",
    )


@pytest.mark.parametrize(("n", "n_test"), [(1, 0), (2, 1), (19, 1), (20, 2), (200_000, 10_000)])
def test_how_many_are_held_out(n: int, n_test: int) -> None:
    assert len(arrange(files("", n)).splits["test"]) == n_test


def test_class_folders_are_labels() -> None:
    names = files("cat/", 20) + files("dog/", 30)
    layout = arrange(names)
    assert layout.classes == ("cat", "dog")
    for split, rows in layout.splits.items():
        named = [layout.classes[k] for k in layout.labels[split]]
        assert named == [names[row].split("/")[0] for row in rows]
    assert set(layout.splits) == set(layout.labels) == {"train", "test"}


def test_numbers_are_ordered_as_numbers() -> None:
    assert arrange([f"{k}/a.png" for k in range(12)]).classes == tuple(map(str, range(12)))
    assert arrange(["10/a.png", "9b/a.png"]).classes == ("10", "9b")


def test_split_folders_are_splits() -> None:
    names = [
        *files("train/cat/", 4), *files("train/dog/", 2),
        *files("test/dog/"), *files("valid/cat/", 1),
    ]  # fmt: skip
    layout = arrange(names)
    assert {split: len(rows) for split, rows in layout.splits.items()} == {
        "train": 6, "test": 3, "val": 1,
    }  # fmt: skip
    assert layout.classes == ("cat", "dog")
    assert layout.labels["train"].tolist() == [0, 0, 0, 0, 1, 1]
    assert layout.labels["test"].tolist() == [1, 1, 1]
    assert layout.labels["val"].tolist() == [0]
    assert layout.notes == ()


def test_train_folder_alone_is_a_split_and_beside_other_folders_a_class() -> None:
    assert arrange(files("Train/a/", 9) + files("Train/b/", 9)).classes == ("a", "b")
    assert arrange(files("train/") + files("plane/")).classes == ("plane", "train")


def test_images_beside_the_splits_are_left_out_and_counted() -> None:
    layout = arrange(files("train/") + files("test/") + ["cover.png", "extra/a.png"])
    assert {split: len(rows) for split, rows in layout.splits.items()} == {"train": 3, "test": 3}
    assert layout.notes == ("images outside of the folders of splits were left out: 2",)


@pytest.mark.parametrize(
    "names",
    [
        files("cat/") + files("dog/") + files(""),
        files("cat/a/") + files("dog/"),
    ],
)
def test_mixed_depths_have_no_labels_and_say_so(names: list[str]) -> None:
    layout = arrange(names)
    assert (layout.classes, layout.labels) == ((), {})
    assert "no labels" in layout.notes[0]


def test_one_class_folder_says_nothing() -> None:
    assert arrange(files("all/")).classes == ()


def test_a_split_with_other_classes_has_no_labels() -> None:
    layout = arrange(files("train/a/") + files("train/b/") + files("test/c/") + files("val/"))
    assert list(layout.labels) == ["train"]
    assert [note.split()[1] for note in layout.notes] == ["test", "val"]
