from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from gencli.data.binarize import bernoulli, static, threshold
from gencli.data.conditions import Condition
from gencli.data.spec import DataInfo
from gencli.data.splits import Split
from gencli.data.store import ResidentStore
from gencli.kinds import Binarization

GREY = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16)


def info(binarization: Binarization = "none") -> DataInfo:
    return DataInfo(1, 16, 16, ("a", "b"), binarization)


def store(n: int = 10, binarization: Binarization = "none") -> ResidentStore:
    images = GREY.expand(n, 1, 16, 16) ^ torch.arange(n).to(torch.uint8)[:, None, None, None]
    return ResidentStore(
        Split(images.contiguous(), torch.arange(n)), info(binarization), "cpu", ("labels",)
    )


def test_a_batch_is_the_images_at_the_index_over_255() -> None:
    data = store()
    images, condition = data.batch(torch.tensor([7, 2, 7]))
    labels = condition.labels
    assert len(data) == 10
    assert images.dtype == torch.float32
    assert torch.equal(images, data.images[[7, 2, 7]] / 255)
    assert labels is not None
    assert labels.tolist() == [7, 2, 7]
    assert images.min() == 0
    assert images.max() == 1


def test_cpu_images_are_not_copied_nor_changed() -> None:
    split = Split(GREY.clone(), None)
    data = ResidentStore(split, info(), "cpu")
    assert data.images.data_ptr() == split.images.data_ptr()
    data.batch(torch.tensor([0])).images.zero_()
    next(iter(data.in_order(1))).images.zero_()
    assert torch.equal(split.images, GREY)


def test_no_labels_is_none() -> None:
    data = ResidentStore(Split(GREY, None), info(), "cpu", ("labels",))
    assert data.batch(torch.tensor([0])).condition.labels is None
    assert [batch.condition.labels for batch in data.in_order(5)] == [None]


def test_in_order_goes_through_everything_once() -> None:
    data = store()
    batches = list(data.in_order(4))
    assert [len(batch.images) for batch in batches] == [4, 4, 2]
    assert torch.equal(torch.cat([batch.images for batch in batches]), data.images / 255)
    labels = [batch.condition.labels for batch in batches]
    assert torch.cat(labels).tolist() == list(range(10))


def test_dynamic_batches_are_binary_and_drawn_anew() -> None:
    data = store(binarization="dynamic")
    index = torch.tensor([0, 1])
    first, second = data.batch(index).images, data.batch(index).images
    assert set(first.unique().tolist()) == {0.0, 1.0}
    assert not torch.equal(first, second)
    torch.manual_seed(1)
    again = data.batch(index).images
    torch.manual_seed(1)
    assert torch.equal(data.batch(index).images, again)


def test_dynamic_with_a_generator_leaves_the_global_one_alone() -> None:
    data = store(binarization="dynamic")
    torch.manual_seed(2)
    wanted = torch.rand(1)
    torch.manual_seed(2)
    one = data.batch(torch.tensor([3]), torch.Generator().manual_seed(4)).images
    whole = list(data.in_order(10, torch.Generator().manual_seed(4)))
    assert torch.equal(torch.rand(1), wanted)
    assert torch.equal(one, data.batch(torch.tensor([3]), torch.Generator().manual_seed(4)).images)
    assert set(whole[0].images.unique().tolist()) == {0.0, 1.0}


def test_static_and_threshold_need_no_draw() -> None:
    for binarization in ("static", "threshold"):
        split = Split(threshold(GREY), None)
        data = ResidentStore(split, info(binarization), "cpu")
        state = torch.get_rng_state()
        assert set(data.batch(torch.tensor([0])).images.unique().tolist()) == {0.0, 1.0}
        assert torch.equal(torch.get_rng_state(), state)


def test_a_pixel_is_one_with_probability_p_over_255() -> None:
    n = 20_000
    generator = torch.Generator().manual_seed(0)
    share = bernoulli(GREY.expand(n, 1, 16, 16), generator).double().mean(0).flatten()
    p = torch.arange(256) / 255
    assert share[0] == 0
    assert share[255] == 1
    # The largest of 254 standard scores: above 4.5 once in some six hundred seeds.
    score = (share - p)[1:255] / (p * (1 - p) / n).sqrt()[1:255]
    assert float(score.abs().max()) < 4.5
    assert abs(float(score.mean())) < 4 / math.sqrt(254)


def test_threshold_cuts_at_one_half() -> None:
    assert torch.equal(threshold(GREY).flatten(), torch.tensor([0] * 128 + [255] * 128).byte())


def test_static_draw_is_fixed_and_its_splits_independent() -> None:
    grey = torch.full((2_500, 1, 4, 4), 128, dtype=torch.uint8)
    drawn = static(grey, 0)
    torch.manual_seed(0)
    assert torch.equal(static(grey, 0), drawn)
    assert set(drawn.unique().tolist()) == {0, 255}
    assert torch.equal(static(grey[:1_700], 0)[:1_000], drawn[:1_000])
    for other in (static(grey, 1), torch.cat([drawn[1_000:], drawn[:1_000]])):
        agree = (other == drawn).double().mean()
        assert float(agree) == pytest.approx(0.5, abs=5 * 0.5 / math.sqrt(drawn.numel()))
    assert torch.equal(grey, torch.full_like(grey, 128))


def test_batches_carry_the_kinds_that_are_asked_for_alone() -> None:
    split = Split(GREY.expand(3, 1, 16, 16).contiguous(), torch.arange(3), torch.ones(3, 2).long())
    data = replace(info(), vocabulary=("x",), caption_length=2, source="half")
    plain = ResidentStore(split, data, "cpu").batch(torch.tensor([1])).condition
    assert plain == Condition()
    told = ResidentStore(split, data, "cpu", ("text", "source")).batch(torch.tensor([2, 0]))
    assert told.condition.labels is None
    assert told.condition.text.tolist() == [[1, 1], [1, 1]]
    source = told.condition.source
    assert torch.equal(source[..., :8], told.images[..., :8])
    assert source[..., 8:].eq(0.5).all()
