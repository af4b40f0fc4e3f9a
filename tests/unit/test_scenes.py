"""The embedded colour pictures: determinism, contrast, evenness, true captions, drawn sizes."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import torch

import gencli
from gencli.data import catalogue, scenes, sources
from gencli.data.captions import vocabulary
from gencli.data.load import _resize, load
from gencli.data.options import DataOptions
from gencli.data.scene_colours import COLOURS, PAIRS, dark, oklab, shades
from gencli.data.scene_papers import grounds
from gencli.data.scene_words import (
    COUNTS,
    DIGITS,
    SIZES,
    SLANTS,
    TEXTURES,
    WEIGHTS,
    Attributes,
    attributes,
)
from gencli.data.scenes import CLASSES, SPLITS, Scenes, render

NAMES = tuple(colour.name for colour in COLOURS)
PLURALS = {name + ("es" if name == "six" else "s"): i for i, name in enumerate(DIGITS)}


@pytest.fixture(scope="module")
def pictures() -> Scenes:
    return render(2_000, seed=7, size=32)


@pytest.fixture(scope="module")
def what() -> Attributes:
    return attributes(30_000, seed=7)


def test_format(pictures: Scenes) -> None:
    assert pictures.images.shape == (2_000, 3, 32, 32)
    assert pictures.images.dtype == np.uint8
    assert pictures.labels.dtype == np.int64
    assert len(pictures.captions) == 2_000
    assert (np.bincount(pictures.labels[1_000:], minlength=10) == 100).all()


@pytest.mark.parametrize("n", [0, 1, 1_001])
def test_any_number(n: int, pictures: Scenes) -> None:
    """A shorter set is the beginning of a longer one."""
    some = render(n, seed=7, size=32)
    assert np.array_equal(some.images, pictures.images[:n])
    assert np.array_equal(some.labels, pictures.labels[:n])
    assert some.captions == pictures.captions[:n]


def test_seed_decides(pictures: Scenes) -> None:
    other = render(100, seed=8, size=32)
    assert np.abs(other.images.astype(int) - pictures.images[:100]).mean() > 40
    assert other.captions != pictures.captions[:100]


def test_attributes_are_those_of_the_pictures(pictures: Scenes, what: Attributes) -> None:
    assert np.array_equal(what.digit[:2_000], pictures.labels)
    assert what.captions()[:2_000] == pictures.captions
    few = attributes(1_234, seed=7)
    for field in fields(Attributes):
        assert np.array_equal(getattr(few, field.name), getattr(what, field.name)[:1_234])
    assert len(attributes(0, seed=7).digit) == 0


def test_everything_occurs_evenly(what: Attributes) -> None:
    """Within five standard deviations of a fair draw; sizes, where all three are allowed."""
    tables = (
        (what.digit, DIGITS), (what.count, COUNTS), (what.ink, COLOURS), (what.paper, COLOURS),
        (what.texture, TEXTURES), (what.weight, WEIGHTS), (what.slant, SLANTS),
        (what.size[what.count < 2], SIZES), (what.size[what.count == 2], SIZES[:2]),
    )  # fmt: skip
    for column, names in tables:
        n, p = len(column), 1 / len(names)
        counts = np.bincount(column, minlength=len(names))
        assert len(counts) == len(names)
        assert np.abs(counts - n * p).max() <= 5 * np.sqrt(n * p * (1 - p))
    # Neither of two attributes tells the other.
    table = np.histogram2d(what.digit, what.ink, bins=10)[0]
    assert np.abs(table - 300).max() < 5 * np.sqrt(300)


def test_ink_can_be_seen_on_every_point_of_its_paper(what: Attributes) -> None:
    """Oklab distances, of sRGB colours; white is 1 from black and 0.45 from the red here."""
    rng = np.random.default_rng(0)
    ink, n = shades(rng, what.ink[:4_000]), 4_000
    paper = grounds(rng, shades(rng, what.paper[:n]), what.texture[:n], 28)(slice(0, n))
    below = oklab(np.moveaxis(np.clip(paper, 0, 1), 1, -1))
    distance = np.linalg.norm(below - oklab(ink)[:, None, None], axis=-1)
    assert distance.min() > 0.15
    assert distance.min(axis=(1, 2)).mean() > 0.3
    np.testing.assert_allclose(PAIRS.sum(axis=0), 0.1, atol=1e-6)
    np.testing.assert_allclose(PAIRS.sum(axis=1), 0.1, atol=1e-6)
    assert (np.diag(PAIRS) == 0).all()
    assert ((PAIRS > 0).sum(axis=1) >= 3).all()


def test_strokes_reach_their_colour_even_where_thin_and_small(what: Attributes) -> None:
    lab = oklab(np.moveaxis(render(1_000, seed=7, size=28).images, 1, -1) / 255.0)
    ink = oklab(np.array([colour.rgb for colour in COLOURS]))[what.ink[:1_000]]
    nearest = np.linalg.norm(lab - ink[:, None, None], axis=-1).min(axis=(1, 2))
    assert nearest.max() < 0.13
    assert nearest.mean() < 0.05


def parsed(caption: str) -> dict[str, int | str]:
    """What a caption says, under the names of `Attributes`, and "dark" or "light" as ground."""
    words = re.findall(r"[a-z]+", caption)
    said: dict[str, int | str] = {}
    for word in words:
        if word in PLURALS:
            said["digit"] = PLURALS[word]
            said["count"] = next((COUNTS.index(w) for w in words if w in COUNTS), -1)
        elif word in DIGITS and not said.keys() & {"digit"} and not PLURALS.keys() & set(words):
            said["digit"], said["count"] = DIGITS.index(word), 0
    if said["count"] == -1:  # "red sevens": two or three
        del said["count"]
    for name, table in (("size", SIZES), ("weight", WEIGHTS), ("texture", TEXTURES)):
        for word in set(words) & set(table):
            said[name] = table.index(word)
    for slant in SLANTS:
        if slant in caption:
            said["slant"] = SLANTS.index(slant)
    colours = "|".join(NAMES)
    under = re.search(
        rf"(?:on (?:{'|'.join(TEXTURES)})? ?({colours}))|(?:({colours}) paper)", caption
    )
    if under:
        said["paper"] = NAMES.index(under[1] or under[2])
        caption = caption.replace(under[0], "")
    for name in re.findall(colours, caption):
        said["ink"] = NAMES.index(name)
    ground = re.search(r"a (dark|light) ground", caption)
    if ground:
        said["ground"] = ground[1]
    return said


def test_captions_are_true(what: Attributes) -> None:
    """Read back, every caption says what is there, and each attribute is said often."""
    times: dict[str, int] = {}
    for i, caption in enumerate(what.captions()[:6_000]):
        said = parsed(caption)
        ground = said.pop("ground", None)
        if ground is not None:
            assert ground == ("dark" if dark(int(what.paper[i])) else "light")
        assert {name: getattr(what, name)[i] for name in said} == said, caption
        assert "count" in said or what.count[i] > 0
        for name in said:
            times[name] = times.get(name, 0) + 1
    assert times["digit"] == 6_000
    assert times.keys() == {field.name for field in fields(Attributes)} - {"wording"}
    assert min(times.values()) > 1_000


def test_captions_are_many_short_and_of_few_words(what: Attributes) -> None:
    captions = what.captions()
    words, length = vocabulary(captions)
    assert 40 < len(words) < 80
    assert length <= 12
    assert len(set(captions)) > 10_000
    for caption in captions:
        assert not re.search(r",,| ,|  |,$|\ba [aeo](?!n?e\b)", caption), caption


def test_what_is_said_is_seen(pictures: Scenes, what: Attributes) -> None:
    """Larger, thicker and more digits leave more ink on plain paper; slant is where it leans."""
    plain = np.flatnonzero(what.texture[:2_000] == TEXTURES.index("plain"))
    x = pictures.images[plain].astype(float)
    away = np.abs(x - np.median(x, axis=(2, 3), keepdims=True)).sum(axis=1)
    cover = away / away.max(axis=(1, 2), keepdims=True)
    ink = cover.mean(axis=(1, 2))
    for column in (what.size, what.weight):
        means = [ink[(column == k)[plain] & (what.count[plain] == 0)].mean() for k in range(3)]
        assert means[2] > 1.25 * means[1]
        assert means[1] > 1.25 * means[0]
    small = (what.size[plain] == 0) & (what.weight[plain] == 1)
    counts = [ink[small & (what.count[plain] == k)].mean() for k in range(3)]
    assert counts[0] < counts[1] < counts[2]
    ones = (what.count[plain] == 0) & (what.digit[plain] == 1)
    leans = []
    for picture in cover[ones] > 0.5:
        down, across = np.nonzero(picture)
        leans.append(-np.polyfit(down, across, 1)[0])
    means = [np.mean(np.array(leans)[what.slant[plain][ones] == k]) for k in range(3)]
    assert means[0] < -0.2 < means[1] < 0.2 < means[2]


@pytest.mark.parametrize("size", [28, 64, 128])
def test_every_size_is_drawn(size: int, pictures: Scenes) -> None:
    """The same scenes as at 32 pixels, but sharp: finer edges than resizing can make."""
    n = 40
    drawn = render(n, seed=7, size=size).images
    assert drawn.shape == (n, 3, size, size)
    back = _resize(torch.from_numpy(drawn), 32).numpy().astype(float)
    assert np.abs(back - pictures.images[:n]).mean() < 12
    if size > 32:
        resized = _resize(torch.from_numpy(pictures.images[:n]), size).numpy()
        assert steepest(drawn) > 1.25 * steepest(resized)


def steepest(images: np.ndarray) -> float:
    """Mean over pictures of the largest step between neighbouring pixels."""
    return float(np.abs(np.diff(images.astype(float), axis=3)).max(axis=(1, 2, 3)).mean())


@pytest.fixture
def _few(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scenes, "SPLITS", {"train": (200, 2601), "test": (50, 2602)})


@pytest.mark.usefixtures("_few")
def test_loading_draws_at_the_size_and_caches(monkeypatch: pytest.MonkeyPatch) -> None:
    first = load(DataOptions("scenes", image_size=64))
    assert first.info.shape == (3, 64, 64)
    assert first.info.classes == CLASSES
    assert first.train.text is not None
    assert first.train.text.shape == (180, first.info.caption_length)
    drawn = torch.from_numpy(render(50, seed=2602, size=64).images)
    assert torch.equal(first.test.images, drawn)
    monkeypatch.setattr(scenes, "render", None)
    again = load(DataOptions("scenes", image_size=64))
    assert again.fingerprint == first.fingerprint
    assert torch.equal(again.train.images, first.train.images)
    assert torch.equal(again.train.text, first.train.text)


@pytest.mark.usefixtures("_few")
def test_sizes_that_cannot_be_drawn_are_resized_from_the_nearest() -> None:
    assert load(DataOptions("scenes")).info.shape == (3, 32, 32)
    data = load(DataOptions("scenes", image_size=16))
    assert data.info.shape == (3, 16, 16)
    drawn = torch.from_numpy(render(50, seed=2602, size=28).images)
    assert torch.equal(data.test.images, _resize(drawn, 16))


@pytest.mark.usefixtures("_few")
def test_a_model_trains_on_them() -> None:
    model = gencli.train("vae", data="scenes", steps=3, batch_size=20, hidden=(8,), latent_dim=2)
    assert model.sample(2).shape == (2, 3, 32, 32)


def test_row_is_what_is_drawn() -> None:
    spec = catalogue.find("scenes")
    assert spec.classes == CLASSES
    assert (spec.n_train, spec.n_test) == (SPLITS["train"][0], SPLITS["test"][0])
    assert spec.at(64).shape == (3, 64, 64)
    assert spec.at(None) is spec
    assert catalogue.find("cifar10").at(64).shape == (3, 32, 32)


def test_the_key_of_the_cache_covers_the_program() -> None:
    """Every module of the package that the drawing imports is among those that it is keyed by."""
    folder = Path(sources.__file__).parent
    for _, modules in sources._DRAWN.values():
        for module in modules:
            text = (folder / f"{module}.py").read_text(encoding="utf-8")
            assert set(re.findall(r"^from gencli\.data\.(\w+) import", text, re.M)) <= set(modules)
