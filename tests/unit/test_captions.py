"""Captions as tokens: words, vocabularies, words that there are not, and lengths."""

from __future__ import annotations

import numpy as np
import pytest

from gencli.data.captions import NOTHING, UNKNOWN, tokens, unknown_words, vocabulary, words


@pytest.mark.parametrize(
    ("caption", "found"),
    [
        ("A thin, looped TWO!", ["a", "thin", "looped", "two"]),
        ("", []),
        (" - ... ", []),
        ("Grün  und\tblau_rot 42", ["grün", "und", "blau", "rot", "42"]),
    ],
)
def test_words(caption: str, found: list[str]):
    assert words(caption) == found


def test_the_vocabulary_has_the_commonest_words_first_and_the_longest_length():
    known, length = vocabulary(["a red cat", "a dog", "a red", "dog dog"])
    assert known == ("a", "dog", "red", "cat")
    assert length == 3


def test_words_equally_common_are_in_order_whatever_the_captions_order():
    captions = ["pear fig", "apple", "fig pear", "apple kiwi"]
    assert vocabulary(captions) == vocabulary(reversed(captions))
    assert vocabulary(captions)[0] == ("apple", "fig", "pear", "kiwi")


def test_no_captions_have_no_words():
    assert vocabulary([]) == ((), 0)
    assert tokens([], ("a",), 4).shape == (0, 4)
    assert tokens(["", "a"], (), 0).shape == (2, 0)


def test_tokens_number_the_vocabulary_after_nothing_and_unknown():
    found = tokens(["a dog", "", "A wolf, a dog, a"], ("a", "dog"), 4)
    assert found.dtype == np.int64
    assert found.tolist() == [
        [2, 3, NOTHING, NOTHING],
        [NOTHING] * 4,
        [2, UNKNOWN, 2, 3],
    ]


def test_very_long_captions_and_very_many_words_have_limits():
    known, length = vocabulary([" ".join(f"w{i}" for i in range(5_000))])
    assert length == 32
    assert len(known) == 4_096


def test_unknown_words_are_named_once_in_order():
    assert unknown_words(["a wolf", "the wolf, a cat"], ("a", "cat")) == ["wolf", "the"]
