"""Measurements that take minutes are told of, once."""

from __future__ import annotations

import pytest

from gencli.cli import console, foretold


def test_a_long_measurement_is_foretold_once(monkeypatch: pytest.MonkeyPatch):
    now, said, passed_on = [0.0], list[str](), list[tuple[str, int, int]]()
    monkeypatch.setattr(foretold.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(console, "message", said.append)
    tell = foretold.foretelling(lambda *told: passed_on.append(told))
    for seconds, done in ((0, 0), (5, 5), (12, 10), (30, 25), (60, 50)):
        now[0] = seconds
        tell("nll_estimate", done, 1000)
        tell("reconstruction", 10 * done, 1000)
    assert len(passed_on) == 10
    assert len(said) == 1
    assert said[0].startswith("nll_estimate takes about 20 min 0 s; a smaller --n")
    now[0] = 1200
    tell("reconstruction", 1000, 1000)
    assert len(said) == 1
