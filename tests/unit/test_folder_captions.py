"""Captions of a folder: metadata and texts beside images, their cache, and what is refused."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gencli.cli.inspect import lines
from gencli.data import folder as folders
from gencli.data import folder_captions, readers
from gencli.data.captions import NOTHING, UNKNOWN
from gencli.data.folder import load_folder
from gencli.data.inspection import inspect, n_captioned, to_json
from gencli.data.load import load
from gencli.data.options import DataOptions
from gencli.data.splits import ImageData
from gencli.errors import DataError

COLOURS = ("red", "green")
SPLIT_ROWS = {"train": range(4), "test": range(4, 6), "valid": range(6, 8)}


@pytest.fixture(autouse=True)
def _home(home: Path) -> None:
    pass


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two classes of six grey squares; the first pixel is ten times the number in the name."""
    return draw(tmp_path / "pictures", (f"{'ab'[i % 2]}/{i:02d}.png" for i in range(12)))


def draw(root: Path, names: Iterable[str]) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (8, 8), 10 * int(path.stem)).save(path)
    return root


def caption(number: int) -> str:
    return f"A {COLOURS[number % 2]} thing, w{number:02d}!"


def rows(root: Path) -> list[tuple[str, str]]:
    names = sorted(path.relative_to(root).as_posix() for path in root.rglob("*.png"))
    return [(name, caption(int(Path(name).stem))) for name in names]


def as_jsonl(root: Path, lines: Iterable[tuple[str, str]]) -> None:
    text = [json.dumps({"file_name": name, "text": text, "id": 3}) for name, text in lines]
    (root / "metadata.jsonl").write_text("\n".join(text) + "\n", encoding="utf-8")


def as_csv(root: Path, lines: Iterable[tuple[str, str]]) -> None:
    body = "".join(f'"{text}",{name}\r\n' for name, text in lines)
    (root / "metadata.csv").write_bytes(("\ufefftext,file_name\r\n" + body).encode())


def as_texts(root: Path, lines: Iterable[tuple[str, str]]) -> None:
    for name, text in lines:
        (root / name).with_suffix(".txt").write_text(text + "\n", encoding="utf-8")


WAYS = (as_jsonl, as_csv, as_texts)


def told(data: ImageData) -> dict[int, list[str]]:
    """The number in an image's name -> the words that a model sees of its caption."""
    names = {NOTHING: "", UNKNOWN: "?"} | dict(enumerate(data.info.vocabulary, UNKNOWN + 1))
    return {
        int(image[0, 0, 0]) // 10: [names[int(token)] for token in text]
        for split in (data.train, data.val, data.test)
        for image, text in zip(split.images, split.text, strict=True)
    }


def loaded(root: Path, **options: object) -> ImageData:
    return load(DataOptions(data=str(root), **options))


@pytest.mark.parametrize("write", WAYS)
def test_every_image_has_its_own_caption_and_its_class(root: Path, write) -> None:
    write(root, rows(root))
    data = loaded(root)
    found = told(data)
    held = {int(image[0, 0, 0]) // 10 for image in data.test.images}
    assert len(found) == 12
    assert len(held) == 1
    for number, text in found.items():
        own = "?" if number in held else f"w{number:02d}"  # no test image's word is learnt
        assert text == ["a", COLOURS[number % 2], "thing", own]
    assert data.info.vocabulary[:2] == ("a", "thing")
    assert len(data.info.vocabulary) == 4 + 11
    assert data.info.caption_length == 4
    assert data.info.classes == ("a", "b")
    for split in (data.train, data.val, data.test):
        assert split.labels.tolist() == [int(i[0, 0, 0]) // 10 % 2 for i in split.images]
    assert len(data.notes) == 1, data.notes  # on the split alone


def test_ways_of_writing_are_the_same_data(root: Path, tmp_path: Path) -> None:
    prints = set()
    for write in WAYS:
        copy = draw(tmp_path / write.__name__, (name for name, _ in rows(root)))
        write(copy, rows(copy))
        prints.add(loaded(copy).fingerprint)
    assert len(prints) == 1
    assert prints != {loaded(root).fingerprint}


def test_files_in_the_folders_of_splits(tmp_path: Path) -> None:
    root = draw(
        tmp_path / "s", [f"{s}/{i:02d}.png" for s, r in SPLIT_ROWS.items() for i in r]
    )  # fmt: skip
    for split, numbers in SPLIT_ROWS.items():
        as_jsonl(root / split, [(f"./{i:02d}.png", f"{split} w{i}") for i in numbers])
    data = loaded(root)
    found = told(data)
    assert [found[i] for i in SPLIT_ROWS["train"]] == [["train", f"w{i}"] for i in range(4)]
    assert [found[i] for i in (4, 5, 6, 7)] == [["?", "?"]] * 4
    assert data.notes == ()


def test_metadata_of_a_class_folder_are_none(root: Path) -> None:
    as_jsonl(root / "a", [("00.png", "a hat")])
    data = loaded(root)
    assert data.info.vocabulary == ()
    assert data.train.text is None
    assert "(.jsonl: 1)" in data.notes[-1]


def test_unchanged_captions_are_not_read_again(root: Path, monkeypatch) -> None:
    as_texts(root, rows(root))
    first = loaded(root)
    with monkeypatch.context() as patch:
        patch.setattr(readers, "decode", None)
        for name in ("_glance", "read_captions"):
            patch.setattr(folders, name, None)
        again = loaded(root)
    assert again.fingerprint == first.fingerprint
    assert told(again) == told(first)


@pytest.mark.parametrize("write", WAYS)
@pytest.mark.parametrize("binarize", [None, "static"])
def test_changed_captions_are_other_data(root: Path, write, binarize: str | None) -> None:
    write(root, rows(root))
    first = loaded(root, binarize=binarize)
    changed = [(name, text.replace("red", "blue")) for name, text in rows(root)]
    write(root, changed)
    second = loaded(root, binarize=binarize)
    assert second.fingerprint != first.fingerprint
    assert "blue" in second.info.vocabulary
    assert "red" not in second.info.vocabulary
    write(root, rows(root))
    for path in root.rglob("*.*"):
        os.utime(path, (7, 7))
    assert loaded(root, binarize=binarize).fingerprint == first.fingerprint


def test_without_captions_it_is_as_it_was(root: Path) -> None:
    plain = load_folder(root)
    as_jsonl(root, rows(root))
    assert load_folder(root).fingerprint != plain.fingerprint
    (root / "metadata.jsonl").unlink()
    assert load_folder(root).fingerprint == plain.fingerprint
    assert load_folder(root).vocabulary == ()


def test_a_lost_entry_is_made_again(root: Path, home: Path) -> None:
    as_csv(root, rows(root))
    first = loaded(root)
    for path in (home / "cache" / "folders").glob("arrays-*/train-tokens.npy"):
        path.write_bytes(b"")
    assert told(loaded(root)) == told(first)


def test_images_without_a_caption_have_an_empty_one(root: Path) -> None:
    as_texts(root, rows(root)[:9])
    (root / "a" / "00.txt").write_text(" ... ")
    (root / "b" / "readme.txt").write_text("no image has this name")
    data = loaded(root)
    assert "images without a caption: 4 of 12" in data.notes
    assert "(.txt: 1)" in data.notes[-1]
    assert sum(not any(text) for text in told(data).values()) == 4


def test_long_captions_are_cut_and_counted(root: Path) -> None:
    lines = [(name, f"{text} {'very ' * 40}") for name, text in rows(root)]
    as_csv(root, [*lines[:3], *rows(root)[3:]])
    data = loaded(root, val=0)
    assert data.info.caption_length == 32
    assert data.train.text.shape == (11, 32)
    assert "captions of more than 32 words were cut: 3 of 12" in data.notes


def test_the_vocabulary_has_a_limit_and_words_too(root: Path) -> None:
    lines = [
        (name, " ".join(f"x{i}y{j}" for j in range(600))) for i, (name, _) in enumerate(rows(root))
    ]
    lines = [(name, text + " " + "z" * 65) for name, text in lines]
    as_jsonl(root, lines)
    data = loaded(root)
    assert len(data.info.vocabulary) == 4_096
    assert max(map(len, data.info.vocabulary)) < 10
    assert any("4,096 commonest" in note for note in data.notes)


@pytest.mark.parametrize("write", [as_jsonl, as_csv])
def test_names_that_match_no_image_are_counted(root: Path, write) -> None:
    lost = ["../pictures/a/00.png", str(root / "a" / "02.png"), "a/" + "x" * 90, "b/99.png"]
    write(root, [*rows(root), *((name, "gone") for name in lost)])
    data = loaded(root)
    (note,) = (note for note in data.notes if "not there" in note)
    assert note.startswith("captions of images that are not there were left out: 4 (../pictures/a/")
    assert "x" * 50 in note
    assert "x" * 61 not in note
    assert note.endswith(", ...)")
    assert "gone" not in data.info.vocabulary


def test_names_in_notes_do_not_move_a_terminal(root: Path) -> None:
    as_jsonl(root, [*rows(root), ("\x1b[31mred\n.png", "gone")])
    assert r"left out: 1 ('\x1b[31mred\n.png')" in " ".join(loaded(root).notes)


def test_the_first_of_several_captions_holds(root: Path) -> None:
    as_jsonl(root, [*rows(root), *((name, "later") for name, _ in rows(root)[:5])])
    data = loaded(root)
    assert "captions of images that have one already were left out: 5" in data.notes
    assert "later" not in data.info.vocabulary


def test_metadata_are_stronger_than_texts(root: Path) -> None:
    as_texts(root, [(name, "beside") for name, _ in rows(root)])
    as_jsonl(root, rows(root))
    data = loaded(root)
    assert "beside" not in data.info.vocabulary
    assert "texts beside images are not read where there are metadata: 12" in data.notes


def test_captions_without_a_word_are_none(root: Path) -> None:
    for content in ("", "\n\n", '{"file_name": "a/00.png", "text": "!"}\n'):
        (root / "metadata.jsonl").write_text(content)
        data = loaded(root)
        assert data.train.text is None
        assert "there is no word in the training captions" in data.notes


def test_captions_of_skipped_images_are_left_out(root: Path) -> None:
    as_texts(root, rows(root))
    (root / "a" / "04.png").write_text("no picture")
    data = loaded(root, skip_bad=True)
    assert sorted(told(data)) == [i for i in range(12) if i != 4]
    assert all(text[1] == COLOURS[i % 2] for i, text in told(data).items())
    assert "w04" not in data.info.vocabulary


def test_words_of_any_language_and_half_characters(root: Path) -> None:
    lines = [(name, "Grün кот \ud800") for name, _ in rows(root)]
    as_jsonl(root, lines)
    assert loaded(root).info.vocabulary == ("grün", "кот")


LINE = '{"file_name": "a/00.png", "text": "a hat"}\n'


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("metadata.jsonl", LINE + "\n{oops}\n", "Line 3 of .* is no JSON"),
        ("metadata.jsonl", LINE + "[" * 30_000, "Line 2 of .* is no JSON"),
        ("metadata.jsonl", LINE + '{"file_name": ' + "9" * 5_000 + "}", "Line 2 of .* is no JSON"),
        ("metadata.jsonl", '["a/00.png", "a hat"]', "Line 1 of .* is no JSON object"),
        ("metadata.jsonl", '{"text": "a hat"}', "Line 1 of .* has no file_name in quotes"),
        ("metadata.jsonl", LINE + '{"file_name": "a"}', "Line 2 of .* has no text in quotes"),
        ("metadata.jsonl", '{"file_name": "a", "text": 5}', "Line 1 of .* has no text in quotes"),
        ("metadata.jsonl", LINE.encode("utf-16"), "Line 1 of .* is not UTF-8"),
        ("metadata.jsonl", LINE + "\xff", "Line 2 of .* is not UTF-8"),
        ("metadata.jsonl", LINE.replace("hat", "h" * 10**6), "Line 1 of .* more than 64,000 bytes"),
        ("metadata.jsonl", LINE.replace("00.png", "0"), r"None of the images .*: 1 \(a/0\)\."),
        ("metadata.csv", "a/00.png,a hat\n", "Line 1 .* no column file_name and no column text"),
        ("metadata.csv", "file_name,caption\na/00.png,a hat", "no column text, but file_name, cap"),
        ("metadata.csv", "", "has no column file_name and no column text, but nothing"),
        ("metadata.csv", "file_name,text\na/00.png,a hat, red\n", "Line 2 .* has 3 columns where"),
        ("metadata.csv", "file_name,text\n\na/00.png\n", "Line 3 of .* has 1 columns where"),
        ("metadata.csv", 'file_name,text\na,"b\n' + "c\n" * 90_000, "is no CSV \\(field larger"),
        ("metadata.csv", 'file_name,text\na,"b\nc', "Line 3 of .* is no CSV"),
        ("metadata.csv", "file_name,text\na/00.png,h\xfct\n", "Line 2 of .* is not UTF-8"),
        ("a/00.txt", "h\xfct", "a/00.txt is not UTF-8"),
        ("a/00.txt", "word " * 13_000, "a/00.txt has more than 64,000 bytes"),
    ],
)
def test_what_is_no_captions_is_refused(
    root: Path, name: str, content: str | bytes, problem: str
) -> None:
    (root / name).write_bytes(content if isinstance(content, bytes) else content.encode("latin-1"))
    with pytest.raises(DataError, match=problem) as caught:
        loaded(root)
    assert caught.value.exit_code == 3
    assert len(caught.value.problem) < 400
    assert "\n" not in caught.value.problem + caught.value.cure
    assert caught.value.cure
    (root / name).unlink()
    assert loaded(root).info.vocabulary == ()


def test_ten_million_lines_are_refused_by_size(root: Path) -> None:
    with (root / "metadata.jsonl").open("wb") as file:
        file.truncate(10_000_000 * 28)  # takes no room on the disk
    with pytest.raises(DataError, match="has 280,000,000 bytes; it may have 200,000,000"):
        loaded(root)


@pytest.mark.parametrize("name", ["metadata.jsonl", "metadata.csv"])
def test_more_lines_than_a_limit_are_refused(root: Path, name: str, monkeypatch) -> None:
    monkeypatch.setattr(folder_captions, "_MOST_LINES", 2_000)
    (root / name).write_text("file_name,text\n" if name.endswith("csv") else LINE)
    with (root / name).open("a") as file:
        file.write("\n" * 2_000)
    with pytest.raises(DataError, match=r"metadata\.\w+ has more than 2,000 lines\."):
        loaded(root)


def test_two_kinds_of_metadata_are_refused(root: Path) -> None:
    as_jsonl(root, rows(root))
    as_csv(root, rows(root))
    with pytest.raises(DataError, match=r"both metadata\.jsonl and metadata\.csv") as caught:
        loaded(root)
    assert caught.value.exit_code == 3


def test_files_that_go_or_may_not_be_read_are_named(root: Path, monkeypatch) -> None:
    as_texts(root, rows(root))
    real = Path.open

    def refuse(self: Path, *args: object, **kwargs: object) -> object:
        if self.name == "03.txt":
            raise PermissionError(13, "Permission denied", str(self))
        return real(self, *args, **kwargs)

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(DataError, match=r"b/03\.txt cannot be read \(Permission denied\)"):
        loaded(root)


def test_pipes_and_links_to_nowhere_hold_no_captions(root: Path) -> None:
    os.mkfifo(root / "a" / "00.txt")
    os.mkfifo(root / "metadata.jsonl")
    (root / "metadata.csv").symlink_to(root / "nothing.csv")
    data = loaded(root)
    assert data.info.vocabulary == ()
    assert "left out: 3" in data.notes[-1]


def test_inspect_counts_them(root: Path) -> None:
    as_texts(root, rows(root)[:10])
    (root / "notes.txt").write_text("x")
    found = inspect(DataOptions(data=str(root)))
    document = to_json(found)
    assert n_captioned(found) == 10
    assert document["captions"]["images"] == 10
    assert document["captions"]["length"] == 4
    assert document["captions"]["words"] == len(found.data.info.vocabulary)
    assert document["files"]["other"] == {".txt": 1}
    words = len(found.data.info.vocabulary)
    assert f"captions     10 images have one, up to 4 of {words} words" in list(lines(found))


def test_tokens_are_whole_numbers_of_the_vocabulary(root: Path) -> None:
    as_jsonl(root, rows(root))
    stored = load_folder(root)
    for split, array in stored.tokens.items():
        assert array.dtype == np.int64
        assert array.shape == (len(stored.images[split]), 4)
        assert array.max() <= UNKNOWN + len(stored.vocabulary)
