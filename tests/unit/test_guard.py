"""What figures of samples hang on stands with them; too few images give a reason, few a warning."""

from __future__ import annotations

from types import SimpleNamespace

import torch

from gencli.evaluation import guard
from gencli.evaluation.absent import reasons
from gencli.evaluation.classifier import N_FEATURES
from gencli.evaluation.quality import sample_quality
from gencli.evaluation.results import Metric
from gencli.reporting import page
from tests.unit import quarters

JUDGE = {"name": "quarters", "hash": "0123456789abcdef", "tells": "classes", "accuracy": 0.9}


class Looking:
    """A judge whose features are random numbers."""

    task = "classes"

    def __call__(self, images):
        generator = torch.Generator().manual_seed(len(images))
        return torch.randn(len(images), 64, generator=generator), torch.ones(len(images), 4) / 4


def of(n: int) -> Metric:
    return Metric(1.0, "", "estimate", 0.1, n)


def test_as_many_images_as_features():
    assert guard.FEWEST["fd_judge"] == N_FEATURES
    images = quarters.split(64).images
    judge = Looking()
    assert "fd_judge" in sample_quality(judge, images, images)
    for pair in ((images, images[:63]), (images[:63], images)):
        found = sample_quality(judge, *pair)
        assert "fd_judge" not in found
        assert "kid_judge" in found  # unbiased, with an error that tells


def test_the_reason_in_its_place():
    data = quarters.data(n_test=100)
    model = SimpleNamespace(conditions=())
    told = reasons(model, data, 100, (), ["fd_judge"], 63)
    (reason,) = told
    assert "it takes 64" in reason
    assert reason.endswith("63 and 100")
    assert guard.too_few("fd_judge", 64, 64) is None
    assert guard.too_few("kid_judge", 20, 20) is None


def test_a_warning_below_the_usual_number():
    (line,) = guard.warnings({"fd_judge": of(9_999), "kid_judge": of(9_999)})
    assert "fd_judge by 9,999 samples" in line
    assert guard.warnings({"fd_judge": of(10_000), "recall": of(100)}) == []


def test_what_stands_with_the_figures():
    data = quarters.data(n_test=300)
    results = {"nll": of(300), "fd_judge": of(1_000), "judge_accuracy": of(300)}
    told = guard.conditions(data, "test", "ema", results, JUDGE)
    assert told == {
        "n": 1_000, "real": 300, "split": "test", "weights": "ema",
        "extractors": [
            {
                "name": "the judge of quarters", "hash": "0123456789abcdef",
                "metrics": ["fd_judge", "judge_accuracy"], "sees": "12x12 grey, not resized",
            }
        ],
    }  # fmt: skip
    assert list(guard.lines(told)) == [
        "samples: 1,000 of the averaged weights, beside 300 test images",
        "by the judge of quarters, hash 0123456789abcdef, images 12x12 grey, not resized",
    ]
    assert guard.conditions(data, "test", "ema", {"nll": of(3), "vendi_real": of(3)}, JUDGE) is None
    assert list(guard.lines(None)) == []
    both = "; ".join(guard.lines(told))
    assert guard.beside("fd_judge", told) == both
    assert guard.beside("precision", told) == next(guard.lines(told))  # no extractor that has it
    assert guard.beside("nll", told) == ""
    for damaged in (None, 7, "x", [], {}, {**told, "n": "many"}, {**told, "extractors": [3]}):
        assert guard.beside("fd_judge", damaged) == ""


def test_a_report_has_it_beside_the_figure():
    evaluation = {
        "data": {"name": "mnist", "split": "test"},
        "metrics": {"vendi": {"value": 3.0, "n": 1_000}, "nll": {"value": 80.0, "n": 300}},
        "samples": {"n": 1_000, "real": 300, "split": "test", "weights": "raw", "extractors": []},
    }
    vendi, nll = page._figures([evaluation])
    assert vendi["by"] == "samples: 1,000 of the last weights, beside 300 test images"
    assert nll["by"] == ""
