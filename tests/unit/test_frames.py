"""The display's lines as functions of a terminal's width, and the pace behind their numbers."""

from __future__ import annotations

import io
import re

import pytest
from rich.cells import cell_len

from gencli.cli import frames
from gencli.cli.progress import PlainDisplay
from gencli.training import pace
from gencli.training.reporter import Epoch, Standing

PLAIN = frames.Style(colour=False)
LOSSES = {"d_loss": 1.25, "g_loss": 0.731, "gradient_penalty": 1e-5, "val_loss": -123456.0}


def standing(**changes) -> Standing:
    values = {
        **{"stage": "layer-1", "step": 4690, "total_steps": 9380, "epoch": 9.99},
        **{"total_epochs": 20, "images_per_second": 3450.4, "seconds": 75.0},
        **{"seconds_left": 3725.0, "share": 0.5, "metrics": LOSSES},
    }
    return Standing(**{**values, **changes})


@pytest.mark.parametrize("width", [1, 9, 20, 40, 59, 79, 99, 199])
def test_no_line_is_wider_than_the_terminal(width: int):
    shown = [
        *frames.training(standing(), width, PLAIN),
        *frames.training(standing(share=None, total_steps=None, total_epochs=None), width, PLAIN),
        frames.epoch_line(Epoch(3, 20, LOSSES, 75.25), width),
        frames.job("decoding 画像", 3, 2000, width, PLAIN, 0),
        frames.job("decoding 画像", 3, 0, width, PLAIN, 0),
    ]
    assert all(cell_len(line) <= width for line in shown)


@pytest.mark.parametrize(
    ("width", "columns"),
    [
        (199, ["layer-1", "epoch 10/20", "━", "step 4690/9380", "images/s", "1:15 gone", "left"]),
        (79, ["epoch 10/20", "━", "3,450 images/s", "1:02:05 left"]),
        (59, ["epoch 10/20", "━", "3,450 images/s", "1:02:05 left"]),
        (30, ["epoch 10/20", "1:02:05 left"]),
    ],
)
def test_columns_go_in_the_stated_order(width: int, columns: list[str]):
    line = frames.training(standing(), width, PLAIN)[0]
    places = [line.index(column) for column in columns]
    assert places == sorted(places)


def test_numbers_keep_their_places():
    lines = [
        frames.training(
            standing(step=step, images_per_second=rate, metrics={"loss": loss, "kl": 1.0}),
            99,
            PLAIN,
        )
        for step, rate, loss in [(1, None, 316.6), (999, 0.7, -1e-7), (9380, 98765.0, 9.99999)]
    ]
    for what in ("step", "images/s", "left"):
        assert len({line.index(what) for line, _ in lines}) == 1
    assert len({losses.index("kl") for _, losses in lines}) == 1


@pytest.mark.parametrize("value", [0.0, 1e-9, -1e-4, 0.0123, 1.0, 99.99999, 123456.7, -1e12])
def test_figures_fit_and_round(value: float):
    text = frames.figure(value)
    assert len(text) <= 9
    assert float(text) == pytest.approx(value, rel=0.01, abs=1e-3 if abs(value) > 1e-3 else 0)


def test_narrow_history_keeps_the_validation_loss():
    line = frames.epoch_line(Epoch(3, 20, LOSSES, 75.25), 59)
    assert "d_loss" in line
    assert "val_loss" in line
    assert line.endswith("75.2 s")


def test_the_rate_is_recent(monkeypatch: pytest.MonkeyPatch):
    clock = [100.0]
    monkeypatch.setattr(pace.time, "monotonic", lambda: clock[0])
    seen = pace.Pace(step=5000)  # a resumed run: it has been slow so far
    images, work = 500_000, 5_000.0
    for number in range(60):
        seen.note(5001 + number, images, work)
        images, work, clock[0] = images + 100, work + 0.1, clock[0] + 0.2
    assert seen.images_per_second == pytest.approx(1000)
    assert seen.seconds_to(5060 + 50) == pytest.approx(10.0)
    for number in range(60, 160):  # the machine becomes twice as fast
        seen.note(5001 + number, images, work)
        images, work = images + 100, work + 0.05
    assert seen.images_per_second == pytest.approx(2000, rel=0.05)


def test_a_stream_that_breaks_is_no_failure():
    class Broken(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    display = PlainDisplay(Broken())
    display.message("lost")
    display.show(standing(step=9380))


def test_plain_lines_are_few(monkeypatch: pytest.MonkeyPatch):
    from gencli.cli import progress

    clock = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock[0])
    stream = io.StringIO()
    display = PlainDisplay(stream)
    for number in range(1, 301):  # 30 s, an epoch each tenth of a second
        clock[0] += 0.1
        display.show(standing(step=number, total_steps=300))
        display.epoch_ended(Epoch(number, 300, {"loss": 1.0}, 0.1))
    lines = stream.getvalue().splitlines()
    assert len([line for line in lines if line.startswith("epoch")]) == 6
    shown = [line for line in lines if not line.startswith("epoch")]
    assert len(shown) == 4
    assert re.search(r"step 300/300 .* images/s .* d_loss 1\.2500", shown[-1])
