"""Images that are too many for the memory stay on disk, with the same result."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import gencli
from gencli import memory
from gencli.data import folder_decode, readers
from gencli.data.folder import load_folder
from gencli.data.likeness import nearly_same
from gencli.data.load import load
from gencli.data.options import DataOptions
from gencli.data.spec import DataInfo
from gencli.data.splits import Split
from gencli.data.store import MappedStore, ResidentStore, store_of
from gencli.evaluation import judge

SMALL = {
    "steps": 12, "batch_size": 7, "sample_every": 0, "val": 5, "hidden": (8,), "latent_dim": 2,
}  # fmt: skip


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every set of images counts as large."""
    monkeypatch.setattr(memory, "LARGE", 0.0)
    monkeypatch.setattr(folder_decode, "PART_BYTES", 8 * 3 * 81)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Thirty coloured noisy squares of 9 pixels, one of them damaged."""
    root = tmp_path / "many"
    root.mkdir()
    numbers = np.random.default_rng(0)
    for i in range(30):
        pixels = numbers.integers(0, 256, (9, 9, 3), np.uint8)
        Image.fromarray(pixels).save(root / f"{i:02d}.png")
    (root / "17.png").write_bytes(b"no image")
    return root


def trained(name: str, root: Path) -> dict[str, torch.Tensor]:
    trained = gencli.train("vae", name=name, data=str(root), skip_bad=True, **SMALL)
    return trained.model.state_dict()


def test_training_from_disk_gives_the_same_weights(
    home: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    resident = trained("resident", root)
    in_memory = load(DataOptions(str(root), skip_bad=True))
    monkeypatch.setenv("GENCLI_HOME", str(home / "another"))
    monkeypatch.setattr(memory, "LARGE", 0.0)
    monkeypatch.setattr(folder_decode, "PART_BYTES", 8 * 3 * 81)
    mapped = trained("mapped", root)
    assert all(torch.equal(resident[name], mapped[name]) for name in resident)
    on_disk = load(DataOptions(str(root), skip_bad=True))
    assert on_disk.fingerprint == in_memory.fingerprint
    assert on_disk.bad == in_memory.bad
    assert "stay on disk" in " ".join(on_disk.notes)
    assert on_disk.train.chosen is not None
    assert torch.equal(on_disk.train.images, in_memory.train.images)
    assert not list((home / "another").rglob("parts-*"))


@pytest.mark.usefixtures("large")
def test_reading_that_was_stopped_goes_on(
    home: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    real = readers.decode

    def decode(path: str, size: int) -> np.ndarray:
        name = Path(path).name
        if name == "20.png" and name not in read:
            read.append(name)
            raise KeyboardInterrupt
        read.append(name)
        return real(path, size)

    monkeypatch.setattr(readers, "decode", decode)
    with pytest.raises(KeyboardInterrupt):
        load_folder(root, skip_bad=True)
    read_first = set(read)
    read.clear()
    read.append("20.png")
    stored = load_folder(root, skip_bad=True)
    assert {f"{i:02d}.png" for i in range(16)} <= read_first
    assert not {f"{i:02d}.png" for i in range(16)} & set(read)
    assert sum(map(len, stored.images.values())) == 29


@pytest.mark.usefixtures("large")
def test_batches_are_those_of_a_resident_store() -> None:
    images = torch.randint(256, (20, 1, 4, 4), dtype=torch.uint8)
    info = DataInfo(1, 4, 4, ("a", "b"), "none")
    labels = torch.arange(20) % 2
    chosen = torch.randperm(20)[:15]
    resident = ResidentStore(Split(images[chosen], labels[chosen]), info, "cpu", ("labels",))
    mapped = store_of(Split(images, labels[chosen], None, chosen), info, "cpu", ("labels",))
    assert isinstance(mapped, MappedStore)
    assert len(mapped) == len(resident) == 15
    for expected in (torch.arange(5), torch.arange(3, 8), None):
        if expected is not None:
            mapped.expect(expected)
        a, b = (store.batch(torch.arange(3, 8)) for store in (mapped, resident))
        assert torch.equal(a.images, b.images)
        assert torch.equal(a.condition.labels, b.condition.labels)
    for a, b in zip(mapped.in_order(4), resident.in_order(4), strict=True):
        assert torch.equal(a.images, b.images)


def test_a_judge_learns_from_a_bounded_number_of_images(
    home: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = load(DataOptions(str(root), skip_bad=True, val=6))
    every = judge._canonical(data).images
    monkeypatch.setattr(judge, "MOST", 10)
    assert torch.equal(judge._canonical(data).images, every[:10])
    other = load(DataOptions(str(root), skip_bad=True, val=0))
    assert torch.equal(judge._canonical(other).images, every[:10])


def test_near_duplicates_across_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    first = torch.randint(256, (23, 1, 16, 16), dtype=torch.uint8)
    second = torch.cat([first[[20, 3]], torch.randint(256, (2, 1, 16, 16), dtype=torch.uint8)])
    whole = nearly_same(first, second)
    monkeypatch.setattr("gencli.data.likeness._BLOCK", 5)
    assert [pair[:2] for pair in nearly_same(first, second)] == [pair[:2] for pair in whole]
    assert {pair[:2] for pair in whole} == {(20, 0), (3, 1)}
