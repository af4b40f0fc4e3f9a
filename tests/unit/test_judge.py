from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch

from gencli.data.load import load
from gencli.data.options import DataOptions
from gencli.data.order import hold_out
from gencli.data.spec import DataInfo
from gencli.data.splits import ImageData, Split
from gencli.errors import DataError
from gencli.evaluation import classifier
from gencli.evaluation import judge as module
from gencli.evaluation.classifier import N_FEATURES, JudgeNetwork, train_network, turned
from gencli.evaluation.judge import PACKAGED, find_judge, judge_for, judged_by
from gencli.evaluation.make_judges import main as make_judges
from gencli.evaluation.quality import sample_quality
from gencli.evaluations import with_judge
from tests.unit import quarters

SHORT = 3_000


def judge_files(home: Path) -> list[Path]:
    return sorted((home / "cache" / "judges").glob("*.safetensors"))


@pytest.mark.parametrize(("channels", "size"), [(1, 12), (3, 32)])
def test_learns_looks_and_states_its_accuracy(channels: int, size: int, home: Path) -> None:
    data = quarters.data(channels=channels, size=size)
    judge = judge_for(data, images_seen=SHORT)
    features, p = judge(data.test.images)
    assert features.shape == (200, N_FEATURES)
    assert torch.allclose(p.sum(1), torch.ones(200), atol=1e-5)
    assert judge.facts.accuracy == float((p.argmax(1) == data.test.labels).double().mean())
    assert judge.facts.accuracy > 0.97
    assert judge.to_json() == {
        "name": "quarters", "hash": judge.hash, "tells": "classes",
        "accuracy": judge.facts.accuracy,
    }  # fmt: skip
    assert (judge.facts.n_train, judge.facts.n_test) == (500, 200)
    as_floats = judge(data.test.images.float() / 255)
    assert torch.equal(as_floats[0], features)
    metric = judge.accuracy()
    assert metric.value == judge.facts.accuracy
    assert metric.n == 200


def test_second_use_reads_the_cache(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = quarters.data()
    first = judge_for(data, images_seen=SHORT)
    monkeypatch.setattr(module, "train_network", None)
    held_out = dataclasses.replace(data, val=quarters.split(0))
    second = judge_for(held_out, images_seen=SHORT)
    assert second.facts == first.facts
    assert torch.equal(second(data.test.images)[0], first(data.test.images)[0])


@pytest.mark.parametrize("damage", [b"", b"hello", None])
def test_damaged_file_is_made_again(home: Path, damage: bytes | None) -> None:
    data = quarters.data()
    first = judge_for(data, images_seen=SHORT)
    (file,) = judge_files(home)
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2] if damage is None else damage)
    again = judge_for(data, images_seen=SHORT)
    assert torch.equal(again(data.test.images)[0], first(data.test.images)[0])
    assert len(file.read_bytes()) == len(whole)


def test_every_data_set_and_binarisation_has_its_own(home: Path) -> None:
    for variant in (
        quarters.data(),
        quarters.data(fingerprint="other"),
        quarters.data(binarization="dynamic"),
    ):
        judge_for(variant, images_seen=250)
    judge_for(quarters.data(), images_seen=500)
    assert len(judge_files(home)) == 4


def test_same_seed_same_judge_and_no_trace_in_the_global_generator(home: Path) -> None:
    data = quarters.data(binarization="dynamic")
    before = torch.get_rng_state()
    first = train_network(data.train, data.info, images_seen=1000)
    torch.rand(5)
    second = train_network(data.train, data.info, images_seen=1000)
    assert all(
        torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True)
    )
    torch.set_rng_state(before)
    judge_for(data, images_seen=250)
    judge_for(data, images_seen=250)
    assert torch.equal(torch.get_rng_state(), before)


def test_shifts_are_whole_pixels_in_all_directions() -> None:
    torch.manual_seed(0)
    image = torch.zeros(1, 1, 9, 9)
    image[0, 0, 4, 4] = 1
    shifted = classifier.shifted(image.expand(500, 1, 9, 9), 2)
    assert shifted.shape == (500, 1, 9, 9)
    places = shifted.flatten(1).argmax(1)
    assert (shifted.flatten(1).sum(1) == 1).all()
    expected = {9 * row + column for row in range(2, 7) for column in range(2, 7)}
    assert set(places.tolist()) == expected


def test_progress_counts_to_the_end(home: Path) -> None:
    seen: list[tuple[int, int]] = []
    judge_for(quarters.data(), images_seen=1000, progress=lambda *step: seen.append(step))
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]


def unlabelled(n: int = 600) -> ImageData:
    """Images whose upper left quarter is bright: turned, they look otherwise."""
    data = quarters.data(n_train=4 * n, n_test=4 * n, labelled=True)
    upper_left = [part.rows(part.labels == 0) for part in (data.train, data.val, data.test)]
    train, val, test = (dataclasses.replace(part, labels=None) for part in upper_left)
    info = dataclasses.replace(data.info, classes=())
    return dataclasses.replace(data, info=info, train=train, val=val, test=test)


def test_without_labels_it_learns_to_tell_rotations(home: Path) -> None:
    data = unlabelled(200)
    judge = judge_for(data, images_seen=SHORT)
    assert judge.task == "rotations"
    assert judge.to_json()["tells"] == "rotations"
    assert judge.facts.accuracy > 0.9
    x = data.test.images[:1]
    for turn in range(4):
        turned = x.rot90(turn, (2, 3)).contiguous()
        assert int(judge(turned)[1].argmax()) == turn
    again = find_judge(data, SHORT)
    assert again is not None
    assert again.hash == judge.hash
    held_out = dataclasses.replace(
        data,
        train=data.train.rows(slice(10, None)),
        val=Split(torch.cat([data.val.images, data.train.images[:10]]), None),
    )
    judge_files(home)[0].unlink()
    assert judge_for(held_out, images_seen=SHORT).hash == judge.hash


def test_no_test_images_no_judge(home: Path) -> None:
    data = unlabelled(20)
    with pytest.raises(DataError, match="no test images"):
        judge_for(dataclasses.replace(data, test=data.test.rows(slice(0))))


def test_turned() -> None:
    x = torch.arange(8.0).view(2, 1, 2, 2)
    assert turned(x, torch.tensor([0, 3])).equal(torch.stack([x[0], x[1].rot90(3, (1, 2))]))


@pytest.mark.parametrize("size", [8, 28, 33, 64, 128])
def test_any_size_and_number_of_classes(size: int) -> None:
    info = DataInfo(3, size, size - 1, tuple(map(str, range(23))))
    features, logits = JudgeNetwork(info).eval()(torch.rand(2, 3, size, size - 1))
    assert features.shape == (2, N_FEATURES)
    assert logits.shape == (2, 23)


@pytest.mark.parametrize("n_val", [0, 30, 100])
def test_depends_on_the_images_alone(home: Path, n_val: int) -> None:
    """Not on how many a run held out, nor on the number of threads, nor on their order."""
    data = quarters.data(n_train=400, n_val=100)
    first = judge_for(data, images_seen=1000)
    assert len(judge_files(home)) == 1
    judge_files(home)[0].unlink()
    images = torch.cat([data.train.images, data.val.images])
    labels = torch.cat([data.train.labels, data.val.labels])  # type: ignore[list-item]
    kept, held = hold_out(500, n_val)
    other = dataclasses.replace(
        data, train=Split(images[kept], labels[kept]), val=Split(images[held], labels[held])
    )
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(threads + 1)
        again = judge_for(other, images_seen=1000)
        assert torch.get_num_threads() == threads + 1
        assert again.hash == first.hash
        figures = sample_quality(again, data.train.images, data.test.images)
    finally:
        torch.set_num_threads(threads)
    assert sample_quality(first, data.train.images, data.test.images) == figures


def test_every_bit_of_a_cached_judge_counts(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = quarters.data()
    first = judge_for(data, images_seen=250)
    (file,) = judge_files(home)
    whole = file.read_bytes()
    for place in (len(whole) // 2, len(whole) - 1, whole.index(b"accuracy") + 14):
        damaged = bytearray(whole)
        damaged[place] ^= 1
        file.write_bytes(damaged)
        assert find_judge(data, 250) is None
        assert judge_for(data, images_seen=250).hash == first.hash
        assert file.read_bytes() == whole


def test_packaged_judge_is_found_by_the_images(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PACKAGED", tmp_path / "judges")
    monkeypatch.setattr("gencli.evaluation.make_judges.PACKAGED", tmp_path / "judges")
    data = quarters.data()
    monkeypatch.setattr("gencli.evaluation.make_judges.load", lambda name: data)

    def trained_soon(*arguments: Any, images_seen: int, **others: Any) -> JudgeNetwork:
        return train_network(*arguments, images_seen=250, **others)

    monkeypatch.setattr(module, "train_network", trained_soon)
    assert judged_by(data, ["fd_judge"]) is None
    make_judges(["quarters"])
    monkeypatch.setattr(module, "train_network", None)
    info = dataclasses.replace(data.info, classes=tuple("wxyz"))
    renamed = dataclasses.replace(data, name="/somewhere/else", info=info)
    judge = judge_for(renamed)
    assert judge.name == "quarters"
    assert judged_by(renamed, ["nll", "coverage"]) == judge.to_json()
    assert judged_by(renamed, ["nll"]) is None
    assert not judge_files(home)
    for other in (quarters.data(fingerprint="x"), quarters.data(binarization="dynamic")):
        assert find_judge(other) is None


def test_figures_name_their_judge() -> None:
    evaluation = {"judge": {"name": "mnist", "hash": "e405818fc914f5ac", "accuracy": 0.99}}
    assert with_judge("fd_judge", evaluation) == "fd_judge@e40581"
    assert with_judge("fd_judge", {}) == with_judge("fd_judge", {"judge": None}) == "fd_judge@?"
    assert with_judge("nll", evaluation) == "nll"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["glyphs", "mnist", "scenes", "binarized-mnist"])
def test_named_sets_bring_their_judges(
    name: str, real_data: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GENCLI_MIRROR", str(real_data))
    monkeypatch.setattr(module, "train_network", None)
    data = load(DataOptions(name))
    judge = judge_for(data)
    assert judge.name == name
    assert (PACKAGED / f"{name}.safetensors").stat().st_size < 1 << 20
    again = classifier.accuracy_of(judge.network, data.test, data.info, judge.task)
    assert abs(again - judge.facts.accuracy) < 0.0005


@pytest.mark.slow
def test_reads_mnist(real_data: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PACKAGED", home)
    monkeypatch.setenv("GENCLI_MIRROR", str(real_data))
    assert judge_for(load(DataOptions("mnist"))).facts.accuracy >= 0.992
