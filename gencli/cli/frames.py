"""The lines of the display, as functions of what is to be shown and of the terminal's width.

No line is longer than the width that it is given, and numbers keep their places. Where the width
does not hold every column of a training they go in this order: the words beside the steps and the
time elapsed, the time elapsed, the steps, the stage, the images per second, the bar, the time left.
What stays to the last is the epoch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from rich.cells import cell_len, set_cell_size

from gencli.training.reporter import Epoch, Standing

SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
SHORTEST_BAR, LONGEST_BAR = 6, 40
LOSS_LINES = 4
_FIGURE = 9  # cells of a loss: -1.23e-05
_DROPPED = ("word", "elapsed", "step", "stage", "rate", "bar", "left")


@dataclass(frozen=True)
class Style:
    """How a terminal may be written to.

    Attributes:
        colour: Whether it has colours and they are wanted.
        unicode: Whether its encoding has box-drawing characters.
    """

    colour: bool = True
    unicode: bool = True

    def paint(self, text: str, code: str) -> str:
        """The text in a colour, by its ANSI code, where there are colours."""
        return f"\x1b[{code}m{text}\x1b[0m" if self.colour and text else text

    def bar(self, share: float, width: int) -> str:
        """A bar `width` cells long, done to a share in [0, 1]."""
        done = math.floor(min(max(share, 0.0), 1.0) * width + 1e-9)
        full, empty = ("━", "─") if self.unicode else ("#", "-")
        return self.paint(full * done, "32") + self.paint(empty * (width - done), "2")

    def spinner(self, tick: int) -> str:
        """One cell that turns."""
        frames = SPINNER if self.unicode else "|/-\\"
        return self.paint(frames[tick % len(frames)], "36")


def duration(seconds: float | None) -> str:
    """A time such as 1:05 or 2:10:00; a dash where it is unknown."""
    if seconds is None:
        return "-"
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02d}:{second:02d}" if hours else f"{minute}:{second:02d}"


def figure(value: float) -> str:
    """A number in four digits or so, trailing zeros kept so that it does not jump."""
    size = abs(value)
    if not math.isfinite(value) or (size and not 1e-3 <= size < 1e6):
        return f"{value:.2e}" if math.isfinite(value) else str(value)
    whole = len(str(int(size)))
    return f"{value:.{max(0, 5 - whole) if size >= 1 else 4}f}"


def figures(metrics: Mapping[str, float]) -> str:
    """Losses as `name value` pairs."""
    return "  ".join(f"{name} {figure(value)}" for name, value in metrics.items())


def rate(images_per_second: float | None) -> str:
    """Images per second; a dash where they are unknown."""
    if images_per_second is None:
        return "-"
    return f"{images_per_second:,.0f}" if images_per_second >= 10 else f"{images_per_second:.1f}"


def epoch_of(standing: Standing) -> str:
    """The present epoch, from 1, such as 3/20; its number alone where the end is not in epochs."""
    number, total = math.floor(standing.epoch) + 1, standing.total_epochs
    if total is None:
        return f"{number:>3}"
    return f"{min(number, total):>{len(str(total))}}/{total}"


def step_of(standing: Standing) -> str:
    """Steps taken, and of how many where that is known."""
    if standing.total_steps is None:
        return f"{standing.step:>7}"
    return f"{standing.step:>{len(str(standing.total_steps))}}/{standing.total_steps}"


def training(standing: Standing, width: int, style: Style, stage_width: int = 5) -> list[str]:
    """The columns of a training in one line, and its losses below.

    Args:
        standing: What to show.
        width: Cells that a line may take.
        style: Of the terminal.
        stage_width: Cells of the stage's column: of the longest name so far.
    """
    times = [duration(standing.seconds), duration(standing.seconds_left)]
    clock = max(5, *map(len, times))
    columns = {
        "stage": set_cell_size(standing.stage, max(stage_width, cell_len(standing.stage))),
        "epoch": f"epoch {epoch_of(standing)}",
        "bar": "",
        "step": f"step {step_of(standing)}",
        "rate": f"{rate(standing.images_per_second):>7} images/s",
        "elapsed": f"{times[0]:>{clock}} gone",
        "left": f"{times[1]:>{clock}} left",
    }
    if standing.share is None:
        del columns["bar"]
    for name in ("", *_DROPPED):
        if name == "word":
            columns["elapsed"] = columns["elapsed"].removesuffix(" gone")
            columns["step"] = columns["step"].removeprefix("step ")
        columns.pop(name, None)
        spare = width - sum(map(cell_len, columns.values())) - 2 * (len(columns) - 1)
        if spare >= (SHORTEST_BAR if "bar" in columns else 0):
            break
    if "bar" in columns and standing.share is not None:
        columns["bar"] = style.bar(standing.share, min(spare, LONGEST_BAR))
    if "stage" in columns:
        columns["stage"] = style.paint(columns["stage"], "1")
    line = "  ".join(columns.values()) if spare >= 0 else set_cell_size(columns["epoch"], width)
    return [line, *losses(standing.metrics, width, style)]


def losses(metrics: Mapping[str, float], width: int, style: Style) -> list[str]:
    """The losses, each in a place of its own, in as few lines as hold them."""
    lines: list[str] = []
    room = -1
    for name, value in list(metrics.items()):
        size = cell_len(name) + 1 + _FIGURE
        if size > width:
            continue
        shown = f"{style.paint(name, '2')} {figure(value):<{_FIGURE}}"
        if room < size + 2:
            lines.append(shown)
            room = width - size
        else:
            lines[-1] += "  " + shown
            room -= size + 2
    return lines[:LOSS_LINES]


def epoch_line(epoch: Epoch, width: int) -> str:
    """An epoch that is over, in one line; losses that the width does not hold are left out."""
    of = f"/{epoch.total}" if epoch.total is not None else ""
    digits = len(str(epoch.total)) if epoch.total is not None else 3
    head = f"epoch {epoch.number:>{digits}}{of}"
    tail = f"  {epoch.seconds:.1f} s"
    items = [
        f"  {name} {figure(value):<{_FIGURE}}" for name, value in _by_weight(epoch.metrics).items()
    ]
    while items and cell_len(head + "".join(items) + tail) > width:
        # the validation loss is the last to go
        del items[-2 if len(items) > 1 and "val_loss" in epoch.metrics else -1]
    return set_cell_size(head + "".join(items) + tail, width).rstrip()


def _by_weight(metrics: Mapping[str, float]) -> dict[str, float]:
    """The validation loss last."""
    rest = {name: value for name, value in metrics.items() if name != "val_loss"}
    return rest | {k: metrics[k] for k in ("val_loss",) if k in metrics}


def plain_epoch(epoch: Epoch) -> str:
    """An epoch that is over, where there is no terminal."""
    of = f"/{epoch.total}" if epoch.total is not None else ""
    told = figures(_by_weight(epoch.metrics))
    return f"epoch {epoch.number}{of}: {told}  {epoch.seconds:.1f} s"


def plain_standing(standing: Standing) -> str:
    """A training's standing in one line, where there is no terminal."""
    return (
        f"{standing.stage}: epoch {epoch_of(standing).strip()}  step {step_of(standing).strip()}  "
        f"{rate(standing.images_per_second)} images/s  "
        f"left {duration(standing.seconds_left)}  {figures(standing.metrics)}"
    )


def job(what: str, done: int, total: int, width: int, style: Style, tick: int) -> str:
    """What is done before or beside a training: a bar where its length is known."""
    head = f"{what} "
    if total <= 0:
        return style.spinner(tick) + set_cell_size(f" {head}"[: width - 1], width - 1).rstrip()
    count = _count(what)
    tail = f" {count(done):>{len(count(total))}}/{count(total)}"
    spare = width - cell_len(head) - cell_len(tail)
    if spare < SHORTEST_BAR:
        return set_cell_size(head + tail, width).rstrip()
    return head + style.bar(done / total, min(spare, LONGEST_BAR)) + tail


def _count(what: str) -> Callable[[int], str]:
    if what.startswith("downloading"):
        return lambda n: f"{n / 1e6:.1f} MB"
    return lambda n: f"{n:,}"
