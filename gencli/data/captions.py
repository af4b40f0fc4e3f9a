"""Captions as tokens: a word each, from a vocabulary that is kept with the run."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

from gencli.data.cache import Labels

NOTHING, UNKNOWN = 0, 1
"""The tokens before those of the vocabulary: no word, and a word that there is not."""

MOST_WORDS = 4_096
MOST_TOKENS = 32
_LONGEST_WORD = 64  # characters; what is longer is no word, and runs keep the vocabulary


def words(caption: str) -> list[str]:
    """The words of a caption, in lower case, without marks."""
    return re.findall(r"[^\W_]+", caption.lower())


def vocabulary(captions: Iterable[str]) -> tuple[tuple[str, ...], int]:
    """The words of some captions, the commonest first, and the tokens that a caption takes."""
    longest, counts = 0, Counter[str]()
    for caption, times in Counter(captions).items():
        found = words(caption)
        longest = max(longest, len(found))
        for word in found:
            if len(word) <= _LONGEST_WORD:
                counts[word] += times
    common = sorted(counts, key=lambda word: (-counts[word], word))[:MOST_WORDS]
    return tuple(common), min(longest, MOST_TOKENS)


def tokens(captions: Sequence[str], vocabulary: Sequence[str], length: int) -> Labels:
    """Captions -> tokens (N, length), int64; words beyond that are cut."""
    number = {word: i for i, word in enumerate(vocabulary, UNKNOWN + 1)}
    rows: dict[str, list[int]] = {}
    for caption in set(captions):
        row = [number.get(word, UNKNOWN) for word in words(caption)][:length]
        rows[caption] = row + [NOTHING] * (length - len(row))
    table = np.array([rows[caption] for caption in captions], np.int64)
    return table.reshape(len(captions), length)


def unknown_words(captions: Iterable[str], vocabulary: Iterable[str]) -> list[str]:
    """Words of some captions that are not in the vocabulary, in order, each once."""
    known = set(vocabulary)
    return list(dict.fromkeys(w for c in captions for w in words(c) if w not in known))
