"""`fid` and `kid`: torch-fidelity's figures, by weights that the fetcher brings and torch reads."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import torch_fidelity
from torch import Tensor
from torch_fidelity import metric_kid
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

from gencli.data.splits import Split
from gencli.errors import DataError, UsageError
from gencli.evaluation import guard, inception
from gencli.evaluation.absent import reasons
from gencli.evaluation.evaluate import evaluate
from gencli.evaluation.kernel import kernel_distance, mmd2
from tests.unit import quarters
from tests.unit.test_evaluate import Copycat

N = 66  # more than the 64 features of the first layer, which is quick
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def mirror(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A mirror with Inception's weights, which are random numbers."""
    folder = tmp_path_factory.mktemp("mirror")
    (folder / "inception").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        # what it makes itself is as good as any file, without reading one
        patch.setattr(torch.nn.Module, "load_state_dict", lambda self, state: None)
        patch.setattr(torch, "load", lambda path, weights_only: {})
        torch.manual_seed(0)
        network = FeatureExtractorInceptionV3("random", ["64"], "none")
    torch.save(network.state_dict(), folder / "inception" / inception.WEIGHTS.name)
    return folder


@pytest.fixture
def weights(mirror: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file in the mirror, which has the right checksum, as far as gencli knows."""
    file = mirror / "inception" / inception.WEIGHTS.name
    right = replace(inception.WEIGHTS, sources=(), checksum=inception.sha256_of(file))
    monkeypatch.setattr(inception, "WEIGHTS", right)
    monkeypatch.setenv("GENCLI_MIRROR", str(mirror))
    return file


class Images(torch.utils.data.Dataset):
    """As torch-fidelity takes them: uint8, three channels."""

    def __init__(self, images: Tensor) -> None:
        self.images = images.expand(-1, 3, -1, -1)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, i: int) -> Tensor:
        return self.images[i]


@pytest.mark.parametrize(
    ("layer", "side"), [("64", 75), pytest.param("2048", 299, marks=pytest.mark.slow)]
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_as_torch_fidelity_has_them(
    layer: str, side: int, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inception, "LAYER", layer)
    monkeypatch.setattr(FeatureExtractorInceptionV3, "INPUT_IMAGE_SIZE", side)
    monkeypatch.setitem(guard.FEWEST, "fid", N)
    drawn: list[Tensor] = []
    features: list[Tensor] = []
    beside = inception.Measuring.beside
    monkeypatch.setattr(
        inception.Measuring, "beside",
        lambda self, samples: drawn.append(samples) or beside(self, samples),
    )  # fmt: skip
    monkeypatch.setattr(
        inception, "kernel_distance",
        lambda a, b, seed: features.extend((a, b)) or kernel_distance(a, b, seed=seed),
    )  # fmt: skip
    data = quarters.data(n_test=N, size=16)
    model = Copycat(data.info, fade=0.5)
    told: list[tuple[str, int, int]] = []
    found = evaluate(
        model, data, n_samples=N, metrics=["fid", "kid"], progress=lambda *it: told.append(it)
    )
    assert list(found) == ["fid", "kid"]
    assert ("Inception, real images", N, N) in told
    assert ("Inception, samples", N, N) in told
    assert found["fid"].n == N
    assert 0 < (found["fid"].standard_error or 0) < found["fid"].value
    monkeypatch.setenv("TORCH_FORCE_WEIGHTS_ONLY_LOAD", "1")
    theirs = torch_fidelity.calculate_metrics(
        input1=Images(drawn[0]), input2=Images(data.test.images), fid=True, kid=True,
        feature_layer_fid=layer, feature_layer_kid=layer, kid_subsets=1, kid_subset_size=N,
        feature_extractor_weights_path=str(weights), cuda=False, save_cpu_ram=True, verbose=False,
        batch_size=inception._BATCH, cache=False,
    )  # fmt: skip
    assert found["fid"].value == pytest.approx(theirs["frechet_inception_distance"], rel=1e-4)
    a, b = features
    assert a.shape == b.shape == (N, int(layer))
    # theirs is of float32, in which kernels of about 1 leave seven digits
    assert mmd2(a, b) == pytest.approx(theirs["kernel_inception_distance_mean"], abs=1e-6)
    theirs = metric_kid.kid_features_to_metric(
        a.double(), b.double(), kid_subsets=1, kid_subset_size=N, verbose=False
    )
    assert mmd2(a, b) == pytest.approx(theirs["kernel_inception_distance_mean"], rel=1e-4)


def test_features_of_real_images_are_kept(home: Path) -> None:
    """They are looked at once; a damaged file is no file, and other images are others."""
    seen: list[int] = []

    class Counting(inception.Inception):
        def __call__(self, images: Tensor, told: object = None) -> Tensor:
            seen.append(len(images))
            return images.flatten(1).float().mean(1, keepdim=True).expand(-1, 2048)

    look = Counting(torch.nn.Identity(), CPU)
    images = torch.randint(256, (5, 1, 4, 4), dtype=torch.uint8)
    first = inception.of_real(look, images, print)
    assert inception.of_real(look, images, print).equal(first)
    assert seen == [5]
    (file,) = (home / "cache" / "inception").iterdir()
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    assert inception.of_real(look, images, print).equal(first)
    inception.of_real(look, images[:, :, :2], print)
    assert seen == [5, 5, 5]


class Bomb:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


@pytest.mark.parametrize("before", [None, "0"])
def test_a_pickle_is_not_executed(
    tmp_path: Path, before: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TORCH_FORCE_WEIGHTS_ONLY_LOAD", raising=False)
    if before is not None:
        monkeypatch.setenv("TORCH_FORCE_WEIGHTS_ONLY_LOAD", before)
    file, mark = tmp_path / "weights.pth", tmp_path / "executed"
    torch.save(Bomb(mark), file)
    with pytest.raises(pickle.UnpicklingError):
        inception.read(file, CPU)
    assert not mark.exists()
    assert inception.os.environ.get("TORCH_FORCE_WEIGHTS_ONLY_LOAD") == before


def test_no_network(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inception, "WEIGHTS", replace(inception.WEIGHTS, sources=()))
    monkeypatch.setenv("GENCLI_MIRROR", str(home / "nothing"))
    data = quarters.data(n_test=40)
    with pytest.raises(DataError, match="could not be had") as failure:
        evaluate(Copycat(data.info), data, n_samples=40, metrics=["kid"])
    assert "without: --metrics fd_judge" in failure.value.cure
    assert "inception/" in failure.value.cure


def test_the_extra_is_named(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inception.importlib.util, "find_spec", lambda name: None)
    data = quarters.data(n_test=40)
    with pytest.raises(UsageError) as failure:
        evaluate(Copycat(data.info), data, n_samples=40, metrics=["kid"])
    assert failure.value.cure == 'pip install "gencli[metrics]"'


def test_nothing_is_fetched_for_too_few_images(home: Path) -> None:
    data = quarters.data(n_test=2_047)
    model = Copycat(data.info)
    assert evaluate(model, data, n_samples=2_048, metrics=["fid"]) == {}
    assert evaluate(model, data, n_samples=19, metrics=["kid"]) == {}
    (reason,) = reasons(model, data, 2_047, (), ["fid"], 2_048)
    assert reason == (
        "it takes 2,048 samples and real images, as many as there are features; these are 2,048 "
        "and 2,047"
    )
    (reason,) = reasons(model, data, 2_047, (), ["kid"], 19)
    assert reason.startswith("it takes 20 samples and real images; ")
    assert evaluate(model, data, n_samples=20, metrics=[]) == {}


def test_channels_that_it_cannot_see() -> None:
    data = quarters.data(channels=2)
    model = SimpleNamespace(conditions=())
    (reason,) = reasons(model, data, 10_000, (), ["fid", "kid"])
    assert reason == "Inception looks at grey or colour, not at 2 channels"


def test_what_stands_with_the_figures() -> None:
    data = replace(quarters.data(), test=Split(torch.zeros(9, 1, 12, 12), None))
    metric = inception.Metric(1.0, "", "estimate", 0.1, 5_000)
    told = guard.conditions(data, "test", "raw", {"fid": metric}, None)
    lines = list(guard.lines(told))
    assert lines[0] == "samples: 5,000 of the last weights, beside 9 test images"
    assert "hash 6726825d0af5f729, images 12x12 grey, repeated to three channels" in lines[1]
    assert "299x299" in lines[1]
    assert "fid by 5,000 samples" in guard.warnings({"fid": metric})[0]
