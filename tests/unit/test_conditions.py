"""What a model is told: rows, kinds, conditions of nothing in particular, and the check."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from gencli.data.conditions import NOTHING, Condition, checked, in_turn
from gencli.data.load import asked_for, may_have
from gencli.data.options import DataOptions
from gencli.data.spec import DataInfo
from gencli.errors import UsageError
from gencli.kinds import ConditionKind
from gencli.training import session, shared
from gencli.training.reporter import Silent

INFO = DataInfo(
    3, 4, 6, ("cat", "dog", "owl"), vocabulary=("a", "red"), caption_length=2, source="edges"
)
ALL: tuple[ConditionKind, ...] = ("labels", "text", "source")


def some(n: int) -> Condition:
    """The condition of `n` images, different in each row."""
    number = torch.arange(n)
    return Condition(
        number % 3,
        torch.stack([number % 4, number % 2], 1),
        number.view(-1, 1, 1, 1).expand(-1, 1, 4, 6) / max(n, 1),
    )


def test_rows_of_all_kinds_go_together():
    rows = some(6).rows(torch.tensor([4, 1]))
    assert rows.labels is not None
    assert rows.text is not None
    assert rows.source is not None
    assert rows.labels.tolist() == [1, 1]
    assert rows.text.tolist() == [[0, 0], [1, 1]]
    assert rows.source[:, 0, 0, 0].tolist() == pytest.approx([4 / 6, 1 / 6])
    part = some(6).rows(slice(2, 4)).labels
    assert part is not None
    assert part.tolist() == [2, 0]


@pytest.mark.parametrize("kind", ALL)
def test_only_keeps_the_kinds_that_are_asked_for(kind: ConditionKind):
    kept = some(2).only((kind,))
    assert [getattr(kept, k) is not None for k in ALL] == [k == kind for k in ALL]
    assert some(2).only(()) == NOTHING


def test_nothing_has_rows_on_any_device_and_is_nothing():
    assert NOTHING.rows(slice(3)).to("cpu") == NOTHING


def test_classes_come_in_turn():
    condition = in_turn(INFO, ("labels",), 7)
    assert condition.labels is not None
    assert condition.labels.tolist() == [0, 1, 2, 0, 1, 2, 0]
    assert condition.text is None
    assert condition.source is None


def test_classes_alone_come_in_turn_whatever_is_known():
    labels = in_turn(INFO, ("labels",), 4, Condition(labels=torch.tensor([2, 2]))).labels
    assert labels is not None
    assert labels.tolist() == [0, 1, 2, 0]


def test_captions_are_empty_and_sources_grey_where_nothing_is_known():
    condition = in_turn(INFO, ("text", "source"), 5)
    assert condition.text is not None
    assert condition.source is not None
    assert condition.text.shape == (5, 2)
    assert not condition.text.any()
    assert condition.source.shape == (5, 1, 4, 6)
    assert (condition.source == 0.5).all()
    assert condition.labels is None


@pytest.mark.parametrize("kinds", [ALL, ("text", "source"), ("labels", "source"), ("text",)])
def test_known_conditions_are_taken_over_and_over(kinds: tuple[ConditionKind, ...]):
    known = some(3)
    condition = in_turn(INFO, kinds, 7, known)
    expected = known.only(kinds).rows(torch.tensor([0, 1, 2, 0, 1, 2, 0]))
    for kind in ALL:
        ours, theirs = getattr(condition, kind), getattr(expected, kind)
        assert (ours is None) == (theirs is None) == (kind not in kinds)
        assert ours is None or torch.equal(ours, theirs)


def test_no_known_images_are_as_nothing_known():
    condition = in_turn(INFO, ("text",), 2, some(0))
    assert condition.text is not None
    assert not condition.text.any()


@pytest.mark.parametrize("kinds", [(), ALL, ("labels",), ("text", "source")])
def test_conditions_in_turn_pass_the_check(kinds: tuple[ConditionKind, ...]):
    for n in (0, 1, 5):
        checked(in_turn(INFO, kinds, n), INFO, kinds, n)


@pytest.mark.parametrize(
    ("condition", "kinds", "said"),
    [
        (some(4), ("labels", "text"), "no source"),
        (NOTHING, ("text",), "needs text"),
        (some(3).only(("labels",)), ("labels",), "3 labels do not fit 4"),
        (Condition(labels=torch.tensor([0, 1, 2, 3])), ("labels",), "no such class"),
        (Condition(labels=torch.tensor([0, 1, -1, 2])), ("labels",), "no such class"),
        (Condition(source=torch.zeros(4, 3, 4, 6)), ("source",), r"\(3, 4, 6\)"),
        (Condition(text=torch.tensor([[0, 4]] * 4)), ("text",), "no such token"),
        (Condition(text=torch.tensor([[-1, 0]] * 4)), ("text",), "no such token"),
        (Condition(text=torch.zeros(4, 3, dtype=torch.int64)), ("text",), "Captions of 3 tokens"),
    ],
)
def test_a_condition_that_does_not_fit_is_refused(
    condition: Condition, kinds: tuple[ConditionKind, ...], said: str
):
    with pytest.raises(UsageError, match=said):
        checked(condition, INFO, kinds, 4)


def test_the_shape_of_sources_follows_their_kind():
    assert INFO.source_shape == (1, 4, 6)
    assert replace(INFO, source="half").source_shape == (3, 4, 6)


@pytest.mark.parametrize(
    ("model", "config", "data", "what"),
    [
        ("pix2pix", {}, "glyphs", "pix2pix needs source images"),
        ("cgan", {}, "binarized-mnist", "cgan needs classes"),
        ("ddpm", {"text": True}, "mnist", "ddpm needs captions"),
    ],
)
def test_what_data_surely_lack_is_told_before_they_are_read(
    model: str, config: dict[str, Any], data: str, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared, "load", lambda *_: pytest.fail("they are read"))
    with pytest.raises(UsageError, match=what):
        session.start(model, config, DataOptions(data), {}, name=None, reporter=Silent())


def test_data_that_may_have_it_are_read(image_folder: Path) -> None:
    for options in (
        DataOptions("glyphs", source="edges"),
        DataOptions("glyphs", pairs="side-by-side"),
    ):
        assert may_have(options, "source")
        assert asked_for(options) == ("source",)
    assert asked_for(DataOptions("glyphs")) == ()
    for kind in ("labels", "text"):
        assert may_have(DataOptions(str(image_folder)), kind)
        assert may_have(DataOptions("glyphs"), kind)
