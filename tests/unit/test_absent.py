"""A figure that is not there has its reason."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

import gencli
from gencli import registry
from gencli.cli.app import run as command
from gencli.evaluation.absent import no_judge_for, reasons
from gencli.evaluation.results import KEYS
from tests.contract.conftest import build
from tests.unit import quarters


def reason_of(model, data, key: str, asked: list[str] | None = None) -> str:
    told = reasons(model, data, len(data.test), (), asked if asked is not None else [key])
    (reason,) = [reason for reason, keys in told.items() if key in keys]
    return reason


def test_every_figure_has_a_reason_when_asked_for():
    data = quarters.data(size=28, labelled=False)
    for name in ("gan", "vae", "cgan"):
        model = build(registry.find(name), quarters.data(size=28))
        told = reasons(model, data, len(data.test), (), list(KEYS))
        assert sorted(key for keys in told.values() for key in keys) == sorted(KEYS)
        assert all(told)


def test_the_reason_fits():
    data = quarters.data(size=28)
    gan, vae, cgan = (build(registry.find(name), data) for name in ("gan", "vae", "cgan"))
    assert reason_of(gan, data, "nll") == "this model has no exact likelihood"
    assert reason_of(gan, data, "nll", [*KEYS]) == "this model has no exact likelihood"
    assert reason_of(vae, data, "bits_per_dim") == "the likelihood is not one of 8-bit values"
    assert reason_of(gan, data, "reconstruction") == "this model has no encoder"
    assert reason_of(gan, data, "label_agreement") == "this model is told no classes"
    assert reason_of(cgan, data, "nmi") == "this model is told the classes"
    plain = quarters.data(size=28, labelled=False, n_test=600)
    assert reason_of(gan, plain, "confident") == "the images have no classes"
    assert reason_of(gan, plain, "nmi") == "the images have no classes"


def test_by_default_only_what_would_be_missed_is_named():
    data = quarters.data(size=28, labelled=False)
    gan = build(registry.find("gan"), data)
    told = reasons(gan, data, len(data.test), (), None)
    assert next(iter(told)) == "this model has no likelihood"
    assert told["this model has no likelihood"] == ["nll", "nll_bound", "nll_estimate"]
    assert "200 test images are too few, it takes 500" in told
    assert len(told) == 2
    mixture = build(registry.find("mixture"), data)
    assert reasons(mixture, data, 600, ("nll",), None).keys() <= {
        "200 test images are too few, it takes 500"
    }


def test_how_many_images_it_takes():
    assert no_judge_for(quarters.data(n_test=20), 20) is None
    assert no_judge_for(quarters.data(n_test=19), 19) is not None
    plain = quarters.data(labelled=False, n_test=500)
    assert no_judge_for(plain, 500) is None
    assert no_judge_for(plain, 499) is not None
    few = dataclasses.replace(plain, test=plain.test.rows(slice(30)))
    assert no_judge_for(few, 500) is not None


def test_no_table_is_empty(
    home: Path, image_folder: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
):
    flat = tmp_path / "flat"
    flat.mkdir()
    for number, path in enumerate(sorted(image_folder.glob("*/*.png"))):
        (flat / f"{number:03d}.png").write_bytes(path.read_bytes())
    gencli.train("gan", name="g", data=str(flat), steps=2, batch_size=20, width=8, d_width=8)
    assert command(["evaluate", "g"]) == 0
    out = capsys.readouterr().out
    assert "this model has no likelihood" in out
    assert "test images are too few, it takes 500" in out
    assert "┃" not in out
    assert command(["evaluate", "g", "--json"]) == 0
    done = capsys.readouterr()
    assert '"metrics": {}' in done.out
    assert "too few" in done.err
