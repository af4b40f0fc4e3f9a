"""The report: whole in itself, readable by machines, and honest about what is missing."""

from __future__ import annotations

import json
import shutil
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest
import torch

import gencli
from gencli import evaluations
from gencli.cli.app import run as command
from gencli.data.conditions import Condition
from gencli.data.spec import DataInfo
from gencli.loaded import LoadedModel
from gencli.models.adversarial.configs import Pix2PixConfig
from gencli.models.adversarial.pix2pix import Pix2Pix
from gencli.reporting.chart import line_chart, number, ticks
from gencli.reporting.page import _title
from gencli.reporting.pictures import nearest_images, pictures
from gencli.runs import Run

SMALL = {"batch_size": 20, "steps": 12, "sample_every": 1, "val": 8, "log_every": 2}


class Page(HTMLParser):
    """The tags of a page, and what is said where an element must be closed."""

    VOID = frozenset({"meta", "img", "br", "link"})

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(scope="module")
def home_with_runs(tmp_path_factory: pytest.TempPathFactory, image_folder: Path) -> Path:
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GENCLI_HOME", str(home))
        for name, dim in (("flat", 2), ("deep", 3)):
            gencli.train(
                "vae", name=name, data=str(image_folder), hidden=(8,), latent_dim=dim, **SMALL
            )
            assert command(["evaluate", name, "--metrics", "nll_bound", "-q"]) == 0
    return home


@pytest.fixture
def there(home_with_runs: Path, home: Path) -> Path:
    shutil.copytree(home_with_runs, home)
    return home / "runs"


def test_a_page_of_two_runs(there: Path, capsys: pytest.CaptureFixture[str]):
    assert command(["report", "flat", "deep"]) == 0
    path = Path(capsys.readouterr().out.strip())
    assert path.parent == there / "flat" / "outputs"
    html = path.read_text(encoding="utf-8")
    page = Page(html)
    pictures = page.all("img")
    assert all(p["src"].startswith("data:image/png;base64,") and p["alt"] for p in pictures)
    assert not page.all("script")
    assert not page.all("link")
    assert not [a for _, a in page.tags if a.get("href")]
    assert "http://" not in html
    assert "https://" not in html
    for heading in (
        "Samples", "Interpolations", "Latent space", "Reconstructions", "While training",
        "Nearest training images", "Make it again", "nats per image (cross-entropy)",
    ):  # fmt: skip
        assert heading in page.text, heading
    assert "(best)" in page.text or "±" in page.text
    assert page.text.count("Latent space") == 1  # deep has three dimensions
    charts = page.all("svg")
    assert len(charts) == 4
    assert all(chart["role"] == "img" and chart["aria-label"] for chart in charts)
    regions = [a for _, a in page.tags if a.get("role") in ("region", "group")]
    assert all(a["tabindex"] == "0" and a["aria-label"] for a in regions)
    # a chart scrolls where it is narrow
    assert sum(a["role"] == "group" for a in regions) == len(charts)


def test_what_figures_of_samples_rest_on_is_said_once(there: Path, tmp_path: Path):
    samples = {
        "n": 1_000, "real": 300, "split": "test", "weights": "raw", "extractors": [],
    }  # fmt: skip
    document = {
        "data": {"name": "glyphs", "split": "test"}, "judge": {"hash": "abcdef0123"},
        "metrics": {key: {"value": 3.0, "n": 9} for key in ("recall", "vendi")},
        "samples": samples,
    }  # fmt: skip
    evaluations.save(Run(there / "flat"), document, {})
    html = gencli.report("flat", out=str(tmp_path / "page.html")).read_text(encoding="utf-8")
    assert html.count("Note 1: samples: 1,000 of the last weights, beside 300 test images.") == 1
    assert html.count(">note 1<") == 2
    assert "Note 2" not in html


def test_an_unfinished_and_damaged_run_shows_what_there_is(
    there: Path, capsys: pytest.CaptureFixture[str]
):
    run = there / "flat"
    record = json.loads((run / "run.json").read_text())
    record["status"] = "running"
    record["data"]["name"] = str(there / "<b>gone</b>")
    (run / "run.json").write_text(json.dumps(record))
    for weights in run.glob("checkpoints/*/model.safetensors"):
        weights.write_bytes(weights.read_bytes()[:-9])
    shutil.rmtree(run / "samples")
    (run / "samples").symlink_to(there)
    assert command(["report", "flat"]) == 0
    html = Path(capsys.readouterr().out.strip()).read_text(encoding="utf-8")
    page = Page(html)
    assert "The model cannot be shown" in page.text
    assert "it is killed" in page.text
    assert "There are no previews" in page.text
    assert page.all("svg")
    assert not page.all("img")
    assert "<b>gone" not in html


def test_refusals(there: Path, tmp_path: Path):
    assert command(["report", "nothing"]) == 4
    assert command(["report"]) == 2
    assert command(["report", "flat", "--out", "-", "--open"]) == 2


def test_from_python(there: Path, tmp_path: Path):
    written = gencli.report("flat", out=str(tmp_path / "page.html"))
    assert Page(written.read_text(encoding="utf-8")).all("img")


def test_charts_are_well_formed_and_keep_to_their_box():
    curve = [(float(i), 100.0 / (i + 1)) for i in range(300)]
    svg = line_chart({"loss <x>": curve, "val": curve[::50]}, "step", "nats")
    root = ElementTree.fromstring(svg)
    _, _, width, height = map(float, root.attrib["viewBox"].split())
    lines = [e for e in root if e.tag == "polyline"]
    assert len(lines) == 2
    for line in lines:
        for pair in line.attrib["points"].split():
            x, y = map(float, pair.split(","))
            assert 0 <= x <= width
            assert 0 <= y <= height
    hover = [e.find("title").text for e in root if e.tag == "circle"]
    assert "loss <x> 100 at step 0" in hover
    assert root.attrib["aria-label"] == (
        "loss <x>, val over step. loss <x>: first 100 at 0, last 0.33333 at 299, "
        "lowest 0.33333 at 299; val: first 100 at 0, last 0.39841 at 250, lowest 0.39841 at 250"
    )
    assert line_chart({}, "step", "loss") == ""
    alone = ElementTree.fromstring(line_chart({"flat": [(43.0, 2.0)]}, "step", "loss"))
    assert "43" in [text.text for text in alone.iter("text")]


def test_ticks_are_round_and_enclose():
    assert ticks(0, 10) == [0, 2, 4, 6, 8, 10]
    assert ticks(0.13, 0.41)[0] <= 0.13
    assert ticks(0.13, 0.41)[-1] >= 0.41
    assert ticks(5, 5) == [2, 3, 4, 5, 6, 7, 8]
    assert ticks(275.93, 275.93) == [100, 200, 300, 400, 500]


def test_many_runs_are_counted_in_the_heading():
    runs = [Run(Path(name)) for name in "abcde"]
    assert _title(runs[:2]) == "a, b"
    assert _title(runs) == "5 runs"


def test_a_single_point_is_seen():
    assert 'class="point c0 alone"' in line_chart({"loss": [(20.0, 275.93)]}, "step", "loss")
    assert "alone" not in line_chart({"loss": [(20.0, 275.93), (40.0, 200.0)]}, "step", "loss")


def test_numbers_of_the_axis_do_not_reach_its_label():
    svg = ElementTree.fromstring(line_chart({"loss": [(1.0, -123456), (2.0, 3)]}, "step", "loss"))
    numbers = [t for t in svg.iter("text") if t.get("text-anchor") == "end"]
    label = next(t for t in svg.iter("text") if "rotate" in t.get("transform", ""))
    for each in numbers:  # a character is 7.3 wide at 13 pixels
        assert float(each.get("x")) - 7.3 * len(each.text) > float(label.get("x")) + 6
    assert number(1720) == "1,720"


def test_nearest_images_over_pieces():
    torch.manual_seed(0)
    train = torch.randint(0, 256, (5000, 1, 3, 3), dtype=torch.uint8)
    chosen = torch.tensor([4999, 3, 4100])
    assert nearest_images(train[chosen].float() / 255, train).equal(chosen)


def test_a_model_that_translates_is_shown_what_the_data_have(tmp_path: Path) -> None:
    torch.manual_seed(0)
    data = DataInfo(1, 14, 14, source="edges")
    model = Pix2Pix(Pix2PixConfig(width=4, d_width=4), data).eval()
    loaded = LoadedModel(model, Run(tmp_path), "raw", 0)
    test = torch.randint(256, (5, 1, 14, 14), dtype=torch.uint8)
    shown = []
    for shade in (0.1, 0.9):
        known = Condition(source=torch.full((5, 1, 14, 14), shade))
        shown.append({p.title: p.source for p in pictures(loaded, test, test, known)})
    assert shown[0].keys() == {
        "Samples", "Translations", "Interpolations", "Nearest training images",
    }  # fmt: skip
    assert all(shown[0].values())
    assert all(shown[0][title] != shown[1][title] for title in ("Samples", "Translations"))
