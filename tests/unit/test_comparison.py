"""Figures side by side: never what cannot be compared, and best only by more than the error."""

from __future__ import annotations

import csv
import io
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from gencli import comparison, curves, evaluations
from gencli.cli import console
from gencli.cli.app import run as command
from gencli.errors import UsageError
from gencli.runs import Run
from tests.unit.small_run import small_run


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GENCLI_HOME", str(tmp_path_factory.mktemp("home")))
        return small_run().path


@pytest.fixture
def three(trained: Path, home: Path) -> list[Run]:
    """Three copies of a run, of which the second has another learning rate."""
    runs = []
    for name in ("a", "b", "c"):
        path = home / "runs" / name
        shutil.copytree(trained, path)
        record = json.loads((path / "run.json").read_text())
        record["name"] = name
        if name == "b":
            record["settings"]["lr"] = 0.25
        (path / "run.json").write_text(json.dumps(record))
        runs.append(Run(path))
    return runs


def measured(run: Run, split: str = "test", **metrics: dict[str, Any]) -> None:
    about = {"unit": "nats per image", "kind": "exact", "standard_error": 0.1, "n": 20}
    document = {
        "data": {"name": "glyphs", "split": split, "binarization": "none", "n": 20},
        "weights": "ema",
        "step": 5,
        "judge": {"hash": "abcdef0123"},
        "metrics": {key: about | metric for key, metric in metrics.items()},
    }
    evaluations.save(run, document, {"samples": 1000, "k": 50})


@pytest.mark.parametrize("width", [60, 100, 160])
def test_figures_are_not_cut_short_however_many_there_are(
    three: list[Run],
    width: int,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(console, "stdout", lambda: Console(width=width, highlight=False))
    metrics = {
        f"metric{i}": {"value": 100.25 + i, "standard_error": 0.25, "kind": "bound"}
        for i in range(12)
    }
    measured(three[0], **metrics)
    measured(three[1], **metrics)
    assert command(["compare", "a", "b"]) == 0
    shown = capsys.readouterr().out
    assert all(shown.count(f"{100.25 + i:.2f} ± 0.25") == 2 for i in range(12))
    assert max(map(len, shown.splitlines())) <= width
    assert shown.count("differs") == 1
    assert "continued" in shown


def test_kinds_splits_and_judges_have_tables_and_columns_of_their_own(three: list[Run]):
    a, b, _ = three
    measured(a, nll={"value": 90.0})
    measured(b, nll={"value": 80.0, "kind": "bound"}, fd_judge={"value": 1.0, "kind": "estimate"})
    measured(b, "val", nll={"value": 85.0})
    with pytest.raises(UsageError, match="no measure in common"):
        comparison.compare(three)
    measured(b, nll={"value": 88.0})
    test, val = comparison.compare(three)
    assert (str(test.images), str(val.images)) == ("glyphs, test split", "glyphs, val split")
    assert [m.title for m in test.measures] == [
        "nll (bound)", "nll (exact)", "fd_judge@abcdef, 1000 samples",
    ]  # fmt: skip
    assert [row.run for row in test.rows] == ["a", "b"]
    exact = test.measures[1]
    assert [row.figures[exact].value for row in test.rows] == [90.0, 88.0]
    assert test.best == {exact: "b"}
    assert test.rows[0].differs == {}
    assert test.rows[1].differs == {"lr": 0.25}
    assert len(test.rows[0].loss) > 0


def test_columns_of_one_metric_in_two_units_are_told_apart(three: list[Run]):
    a, b, c = three
    measured(a, nll={"value": 90.0})
    measured(b, nll={"value": -600.0, "unit": "nats per image (density)"})
    measured(c, nll={"value": 95.0}, recall={"value": 0.5, "kind": "estimate"})
    (table,) = comparison.compare(three)
    titles = [measure.title for measure in table.measures]
    assert titles == [
        "nll (exact), nats per image", "nll (exact), nats per image (density)",
        "recall@abcdef, 1000 samples",
    ]  # fmt: skip
    found = [
        [row.figures[m].value for row in table.rows if m in row.figures] for m in table.measures
    ]
    assert found == [[90.0, 95.0], [-600.0], [0.5]]
    assert table.best == {table.measures[0]: "a"}


@pytest.mark.parametrize(
    ("values", "errors", "best"),
    [
        ((90.0, 89.0), (0.1, 0.1), "b"),
        ((90.0, 89.0), (0.4, 0.4), None),  # twice the error of the difference is 1.13
        ((90.0, 89.0), (0.1, None), None),
        ((90.0, 90.0), (0.0, 0.0), None),
    ],
)
def test_best_is_marked_only_beyond_the_error(three: list[Run], values, errors, best):
    for run, value, error in zip(three, values, errors, strict=False):
        measured(run, nll={"value": value, "standard_error": error})
    (table,) = comparison.compare(three)
    assert table.best.get(table.measures[0]) == best


def test_of_shares_the_larger_is_better(three: list[Run]):
    for run, value in zip(three, (0.2, 0.9, 0.5), strict=True):
        measured(run, precision={"value": value, "standard_error": 0.01})
    (table,) = comparison.compare(three)
    assert list(table.best.values()) == ["b"]


def test_changed_data_are_other_data(three: list[Run]):
    a, b, _ = three
    measured(a, nll={"value": 90.0})
    record = json.loads((b.path / "run.json").read_text())
    record["data"]["fingerprint"] = "another"
    (b.path / "run.json").write_text(json.dumps(record))
    other = Run(b.path)
    measured(other, nll={"value": 91.0})
    with pytest.raises(UsageError, match="no measure in common"):
        comparison.compare([a, other])


def test_the_newest_evaluation_counts(three: list[Run], monkeypatch: pytest.MonkeyPatch):
    for moment, value in ((2_000.0, 70.0), (1_000.0, 60.0)):
        monkeypatch.setattr(evaluations, "now", lambda moment=moment: moment)
        measured(three[0], nll={"value": value})
    (table,) = comparison.compare(three[:1])
    assert table.rows[0].figures[table.measures[0]].value == 70.0


def test_the_command_in_every_form(three: list[Run], capsys: pytest.CaptureFixture[str]):
    assert command(["compare", "--all"]) == 2
    assert "evaluated" in capsys.readouterr().err
    for run, value in zip(three, (90.0, 80.0, 85.0), strict=True):
        measured(run, nll={"value": value, "standard_error": 0.123})
    assert command(["compare", "a", "b", "c"]) == 0
    table = capsys.readouterr().out
    assert "80.00 ± 0.12*" in table
    assert "--lr 0.25" in table
    assert command(["compare", "--all", "--json"]) == 0
    (document,) = json.loads(capsys.readouterr().out)
    best = [row["run"] for row in document["runs"] if row["metrics"][0]["best"]]
    assert best == ["b"]
    assert command(["compare", "--all", "--csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert {row["run"]: float(row["value"]) for row in rows} == {"a": 90.0, "b": 80.0, "c": 85.0}
    assert command(["compare", "--data", "glyphs", "--markdown"]) == 0
    assert "| b | 80.00 ± 0.12 (best) | --lr 0.25 |" in capsys.readouterr().out
    assert command(["compare", "--data", "mnist"]) == 2
    assert command(["compare", "a", "--json", "--csv"]) == 2
    assert command(["compare"]) == 2
    assert command(["compare", "a", "nothing"]) == 4


def test_sparklines():
    assert curves.sparkline([]) == ""
    assert curves.sparkline([3.0, 3.0]) == "▁▁"
    assert curves.sparkline([8, 7, 6, 5, 4, 3, 2, 1]) == "█▇▆▅▄▃▂▁"
    assert curves.sparkline([0.0] * 50 + [1.0] * 50, 4) == "▁▁██"


def test_curves_survive_damage_and_stay_small(three: list[Run]):
    path = three[0].path / "metrics.jsonl"
    rows = [json.dumps({"step": i, "loss": float(i), "images_per_second": 3}) for i in range(9000)]
    path.write_text("\n".join(["{", "[1]", '{"step": "x"}', '{"step": 1, "loss": NaN}', *rows]))
    series = curves.curves(three[0])
    assert list(series) == ["loss"]
    assert 2000 < len(series["loss"]) <= 4000
    steps = [step for step, _ in series["loss"]]
    assert steps == sorted(steps)
    path.unlink()
    assert curves.curves(three[0]) == {}
    assert curves.main_loss({}) is None


@pytest.mark.parametrize("value", ["90.0", None, True, [1]])
def test_a_figure_that_is_no_number_is_left_out(three: list[Run], value: Any):
    measured(three[0], nll={"value": 90.0})
    measured(three[0], nll={"value": value})
    assert [e["metrics"]["nll"]["value"] for e in evaluations.of(three[0])] == [90.0]


def test_figures_of_outliers_have_tables_of_their_own(home: Path):
    run = small_run(steps=2)
    kept = {"data": {"name": "glyphs", "split": "test", "binarization": "none"}, "step": 2}
    figure = {"value": 0.9, "unit": "area", "kind": "estimate", "standard_error": 0.01, "n": 20}
    keys = ("auroc_likelihood", "auroc_complexity", "auroc_typicality")
    for others in ("noise", "blank", "/images/cats"):
        document = {"outliers": {"name": others}, "metrics": dict.fromkeys(keys, figure)}
        evaluations.save(run, {**kept, **document, "weights": "raw"}, {"outliers": others})
    nats = {"nll_bound": {**figure, "kind": "bound", "unit": "nats per image"}}
    evaluations.save(run, {**kept, "metrics": nats, "weights": "raw"}, {})
    tables = comparison.compare([run])
    assert [str(table.images) for table in tables] == [
        "glyphs, test split",
        "glyphs, test split, told from cats",
        "glyphs, test split, told from blank",
        "glyphs, test split, told from noise",
    ]
    assert [len(table.measures) for table in tables] == [1, 3, 3, 3]


def test_importance_samples_are_named_where_there_are_any(three: list[Run]) -> None:
    first, second, _ = three
    record = json.loads((second.path / "run.json").read_text())
    (second.path / "run.json").write_text(json.dumps(record | {"model": "rbm", "config": {}}))
    for run in (first, Run(second.path)):
        measured(run, nll_estimate={"value": 90.0, "kind": "estimate"}, fd_judge={"value": 2.0})
    (table,) = comparison.compare([first, Run(second.path)])
    titles = {measure.title for measure in table.measures}
    assert {"nll_estimate (estimate), k = 50", "nll_estimate (estimate)"} <= titles


def test_runs_that_were_not_evaluated_are_named_beside_those_that_were(
    three: list[Run], capsys: pytest.CaptureFixture[str]
) -> None:
    measured(three[0], nll={"value": 90.0})
    for arguments, said in ((["--all"], ""), (["a", "b", "c"], "not evaluated: b, c\n")):
        assert command(["compare", *arguments]) == 0
        told = capsys.readouterr()
        assert "90.00 ± 0.10" in told.out
        assert told.err == said
    with pytest.raises(UsageError, match="None of these runs was evaluated on mnist"):
        comparison.compare(three, "mnist")
