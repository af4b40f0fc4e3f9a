"""Captions of a folder of images, as Hugging Face's imagefolder has them or in texts beside images.

`metadata.jsonl` has an object with `file_name` and `text` on each line, `metadata.csv` columns of
these names; names are relative to the folder of the file. Otherwise the caption of `a/1.png` is
the content of `a/1.txt`. All of it is UTF-8.

The files are anyone's, so reading is bounded, and no name leads to a file: it matches one of the
images found, or none.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from gencli.data.cache import Stored, digest
from gencli.data.captions import MOST_WORDS, tokens, vocabulary, words
from gencli.data.folder_files import Entry, each, stem
from gencli.errors import DataError
from gencli.kinds import Progress

_MOST_BYTES = 200_000_000  # of a file of metadata
_MOST_LINES = 2_000_000
_LONGEST_LINE = 64_000  # bytes; of a text beside an image, all of it
_NAMED = 3  # images that are not there, in a note
_LONGEST_NAME = 60  # characters of one of them

_NAMES = ("file_name", "text")
_CURE = {
    ".jsonl": 'Each line is to be such as {"file_name": "a/1.png", "text": "a red hat"}.',
    ".csv": "The first line is to be file_name,text, and those below such as a/1.png,a red hat.",
    ".txt": "A text with an image's name is its caption, in UTF-8; rename it if it is none.",
}


@dataclass(frozen=True)
class Written:
    """What a folder's files say of its images.

    Attributes:
        texts: The caption of each image, "" for those without; empty where no file holds any.
        notes: What the user should be told.
    """

    texts: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def read_captions(
    root: Path, names: Sequence[str], files: Sequence[Entry], progress: Progress | None = None
) -> Written:
    """The captions of images called `names`, from `files` of metadata or texts beside images.

    Raises:
        DataError: If a file cannot be read, is larger than is taken or holds something else, or
            names no image that is there.
    """
    if not files:
        return Written()
    metadata = [entry for entry in files if not entry[0].lower().endswith(".txt")]
    if metadata:
        if progress:
            progress("reading captions", 0, 0)
        return _from_metadata(root, names, metadata)
    beside = [name for name, *_ in files]
    contents = each(lambda name: _whole(root / name), beside, "reading captions", progress)
    captions = dict(zip(map(stem, beside), contents, strict=True))
    return Written(tuple(captions.get(stem(name), "") for name in names))


def with_captions(stored: Stored, texts: Mapping[str, Sequence[str]]) -> Stored:
    """Captions as tokens by the words of the training captions, and notes on them.

    Training captions are those of all images that are no test images and not in a folder of
    validation images: the vocabulary is the same for every `--val`, as that of `glyphs` is.

    Args:
        stored: Images.
        texts: Split -> a caption of each image.
    """
    known, length = vocabulary(texts["train"])
    if not known:
        return replace(stored, notes=(*stored.notes, "there is no word in the training captions"))
    counts = [len(words(text)) for part in texts.values() for text in part]
    notes = list(stored.notes)
    if without := counts.count(0):
        notes.append(f"images without a caption: {without} of {len(counts)}")
    if cut := sum(n > length for n in counts):
        notes.append(f"captions of more than {length} words were cut: {cut} of {len(counts)}")
    if len(known) == MOST_WORDS:
        notes.append(f"the vocabulary is the {MOST_WORDS:,} commonest words of the captions")
    return replace(
        stored,
        tokens={split: tokens(part, known, length) for split, part in texts.items()},
        vocabulary=known,
        notes=tuple(notes),
        captions=digest(*((split, list(part)) for split, part in texts.items())),
    )


def _from_metadata(root: Path, names: Sequence[str], files: Sequence[Entry]) -> Written:
    captions: dict[str, str | None] = dict.fromkeys(names)
    missing: list[str] = []
    n_lines, n_missing, again = 0, 0, 0
    for file, size, _ in sorted(files, key=lambda entry: entry[0].count("/")):
        path = root / file
        if size > _MOST_BYTES:
            raise _bad(path, f"has {size:,} bytes; it may have {_MOST_BYTES:,}")
        folder = file.rpartition("/")[0]
        rows = _json_rows(path) if path.suffix == ".jsonl" else _csv_rows(path)
        for name, text in rows:
            n_lines += 1
            whole = f"{folder}/{name}" if folder else name
            if whole not in captions:
                n_missing += 1
                if len(missing) < _NAMED:
                    missing.append(_cut(name))
            elif captions[whole] is not None:
                again += 1
            else:
                captions[whole] = text
    notes = []
    if n_missing:
        more = ", ..." if n_missing > _NAMED else ""
        what = f"{n_missing:,} ({', '.join(missing)}{more})"
        if n_missing == n_lines:
            raise DataError(
                f"None of the images that {root / files[0][0]} names is there: {what}.",
                "Write file_name relative to the folder that the file is in.",
            )
        notes.append(f"captions of images that are not there were left out: {what}")
    if again:
        notes.append(f"captions of images that have one already were left out: {again:,}")
    return Written(tuple((text or "").strip() for text in captions.values()), tuple(notes))


def _json_rows(path: Path) -> Iterator[tuple[str, str]]:
    for number, line in _lines(path):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            raise _bad(path, "is no JSON", number) from None
        if not isinstance(row, dict):
            raise _bad(path, "is no JSON object", number)
        for key in _NAMES:
            if not isinstance(row.get(key), str):
                raise _bad(path, f"has no {key} in quotes", number)
        yield row["file_name"].removeprefix("./"), row["text"]


def _csv_rows(path: Path) -> Iterator[tuple[str, str]]:
    reader = csv.reader((line for _, line in _lines(path)), strict=True)
    try:
        header = [column.strip() for column in next(reader, [])]
        if lacking := [key for key in _NAMES if key not in header]:
            there = ", ".join(map(_cut, header[:4])) or "nothing"
            raise _bad(path, f"has no column {' and no column '.join(lacking)}, but {there}", 1)
        name, text = map(header.index, _NAMES)
        for row in reader:
            if not row:
                continue
            if len(row) != len(header):
                what = f"has {len(row)} columns where the header has {len(header)}"
                raise _bad(path, what, reader.line_num)
            yield row[name].removeprefix("./"), row[text]
    except csv.Error as error:
        raise _bad(path, f"is no CSV ({error})", reader.line_num) from None


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Number and text of each line of a file, within the limits."""
    try:
        with path.open("rb") as file:
            number = 0
            while line := file.readline(_LONGEST_LINE + 1):
                number += 1
                if len(line) > _LONGEST_LINE:
                    raise _bad(path, f"has more than {_LONGEST_LINE:,} bytes", number)
                if number > _MOST_LINES:
                    raise _bad(path, f"has more than {_MOST_LINES:,} lines")
                yield number, line.decode("utf-8-sig" if number == 1 else "utf-8")
    except OSError as error:
        raise _bad(path, f"cannot be read ({error.strerror or error})") from None
    except UnicodeDecodeError:
        raise _bad(path, "is not UTF-8", number) from None


def _whole(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(_LONGEST_LINE + 1)
        if len(content) > _LONGEST_LINE:
            raise _bad(path, f"has more than {_LONGEST_LINE:,} bytes")
        return content.decode("utf-8-sig").strip()
    except OSError as error:
        raise _bad(path, f"cannot be read ({error.strerror or error})") from None
    except UnicodeDecodeError:
        raise _bad(path, "is not UTF-8") from None


def _bad(path: Path, what: str, line: int | None = None) -> DataError:
    where = f"Line {line:,} of {path}" if line else f"{path}"
    return DataError(f"{where} {what}.", _CURE[path.suffix.lower()])


def _cut(name: str) -> str:
    """A name as a message shows it: short, and without characters that move a terminal."""
    short = name if len(name) <= _LONGEST_NAME else name[:_LONGEST_NAME] + "..."
    return short if short.isprintable() else ascii(short)
