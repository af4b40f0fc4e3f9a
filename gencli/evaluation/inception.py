"""Inception's features, by which alone a Frechet distance is called `fid`, a kernel distance `kid`.

    fid   Heusel et al. 2017 (arXiv:1706.08500): the Frechet distance, biased upwards by few images
    kid   Binkowski et al. 2018 (arXiv:1801.01401): the kernel distance, unbiased; the mean over ten
          disjoint subsets, which of 10,000 samples have the usual 1,000 each

The network is torch-fidelity's (the extra `metrics`), as in the TensorFlow graph of 2015 that both
are defined by; so are the 2,048 features behind its last pooling, and how images become its input:
stretched to 299x299 bilinearly without half-pixel centres or smoothing, one channel repeated to
three. Its weights are fetched on first use. Their file is a pickle; it is known by its SHA-256, and
torch reads tensors from it and runs nothing.

Figures elsewhere mostly take 50,000 samples and the training images. These take the split, like all
others here: compare them with their like.
"""

from __future__ import annotations

import functools
import importlib.util
import os
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from gencli.atomic import whole_file
from gencli.data.cache import CURE
from gencli.data.fetch import RemoteFile, fetch, sha256_of
from gencli.errors import DataError, UsageError
from gencli.evaluation.frechet import frechet_distance
from gencli.evaluation.guard import too_few
from gencli.evaluation.halves import errors
from gencli.evaluation.kernel import kernel_distance
from gencli.evaluation.measuring import Measuring
from gencli.evaluation.results import INCEPTION, Metric
from gencli.home import cache_dir
from gencli.random import mix_seed

LAYER = "2048"
"""Which features, by torch-fidelity's name: so many."""

WEIGHTS = RemoteFile(
    "weights-inception-2015-12-05-6726825d.pth",
    ("https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/",),
    "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2",
    sha256_of,
)
"""What torch-fidelity publishes; the checksum begins as the file's name says."""

_BATCH = 16  # images whose layers take 300 MB
_ONLY_WEIGHTS = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"


@dataclass(frozen=True)
class Inception:
    """The network, in evaluation mode, on the device where it looks."""

    network: nn.Module
    device: torch.device

    @torch.no_grad()
    def __call__(self, images: Tensor, told: Callable[[int], None] = lambda _: None) -> Tensor:
        """Look at images.

        Args:
            images: (N, 1 or 3, H, W), uint8.
            told: Called with how many are done.

        Returns:
            Features (N, 2048), float32, on its device.
        """
        parts, done = [], 0
        with torch.backends.cudnn.flags(allow_tf32=False):  # else three digits of them
            for part in torch.split(images, _BATCH):
                parts.append(self.network(part.to(self.device).expand(-1, 3, -1, -1))[0])
                told(done := done + len(part))
        return torch.cat(parts)


def why_not(key: str, channels: int, n_samples: int, n_real: int) -> str | None:
    """Why there is no `fid` or `kid` of such images; None where there is."""
    if channels not in (1, 3):
        return f"Inception looks at grey or colour, not at {channels} channels"
    return too_few(key, n_samples, n_real)


def extractor(measuring: Measuring, wanted: Collection[str], n_samples: int) -> Inception | None:
    """The network with its weights, fetched if need be; None where nothing is to be measured by it.

    Raises:
        UsageError: If the extra is not installed.
        DataError: If the weights cannot be had.
    """
    if not _possible(measuring, wanted, n_samples):
        return None
    if importlib.util.find_spec("torch_fidelity") is None:
        raise UsageError("fid and kid need torch-fidelity.", 'pip install "gencli[metrics]"')
    without = "--metrics fd_judge,kid_judge"
    (path,) = fetch("inception", [WEIGHTS], measuring.progress, without=without)
    device = measuring.model.device
    # mps has no float64, which the distances are taken in
    return read(path, device if device.type == "cuda" else torch.device("cpu"))


def read(path: Path, device: torch.device) -> Inception:
    """The network with the weights of a file, of which nothing but tensors is read."""
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    with _weights_only():
        network = FeatureExtractorInceptionV3(
            "inception-v3-compat", [LAYER], feature_extractor_weights_path=str(path)
        )
    return Inception(network.to(device), device)


@contextmanager
def _weights_only() -> Iterator[None]:
    """Have torch read weights alone for a while: torch-fidelity itself asks it to unpickle."""
    before = os.environ.get(_ONLY_WEIGHTS)
    os.environ[_ONLY_WEIGHTS] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[_ONLY_WEIGHTS]
        else:
            os.environ[_ONLY_WEIGHTS] = before


def measured(
    measuring: Measuring, wanted: Collection[str], look: Inception, samples: Tensor
) -> dict[str, Metric]:
    """`fid` and `kid` of samples (M, C, H, W), uint8, beside the split's images."""
    real, samples = measuring.beside(samples)
    seed, n = mix_seed(measuring.seed, 3), len(samples)
    a = of_real(
        look, real, functools.partial(_tell, measuring, "Inception, real images", len(real))
    )
    b = look(samples, functools.partial(_tell, measuring, "Inception, samples", n))
    found = {}
    keys = _possible(measuring, wanted, n)
    if "fid" in keys:
        (error,) = errors(lambda x, y: [frechet_distance(x, y)], a, b, seed=seed)
        value = frechet_distance(a, b)
        found["fid"] = Metric(value, "squared feature distance", "estimate", error, n)
    if "kid" in keys:
        mmd2, error = kernel_distance(a, b, seed=seed)
        found["kid"] = Metric(mmd2, "squared MMD", "estimate", error, n)
    return found


def of_real(look: Inception, real: Tensor, told: Callable[[int], None]) -> Tensor:
    """Features of real images as `look` gives them, from the cache where it has them.

    The key is all that they are a function of, to the last bit: the images, the weights, torch, the
    kind of device, and the number of threads, which decides in what order numbers are added.

    Raises:
        DataError: If the cache takes no file.
    """
    key = blake2b(real.contiguous().numpy().data, digest_size=16)
    threads, kind = torch.get_num_threads(), look.device.type
    key.update(
        repr((real.shape, WEIGHTS.checksum, LAYER, torch.__version__, kind, threads)).encode()
    )
    path = cache_dir() / "inception" / f"features-{key.hexdigest()}.safetensors"
    try:
        with safe_open(path, framework="pt") as file:
            kept: Tensor = file.get_tensor("features")
            if kept.shape == (len(real), int(LAYER)) and file.metadata() == {"sum": _sum(kept)}:
                return kept.to(look.device)
    except (OSError, SafetensorError, RuntimeError, ValueError, KeyError):
        pass  # none yet, or a damaged one
    features = look(real, told)
    kept = features.cpu().contiguous()
    with whole_file(path, DataError, CURE) as written:
        written.write(save({"features": kept}, {"sum": _sum(kept)}))
    return features


def _sum(features: Tensor) -> str:
    return blake2b(features.numpy().data, digest_size=16).hexdigest()


def _tell(measuring: Measuring, what: str, total: int, done: int) -> None:
    measuring.progress(what, done, total)


def _possible(measuring: Measuring, wanted: Collection[str], n_samples: int) -> set[str]:
    channels, n_real = measuring.data.info.channels, len(measuring.images)
    return {
        key for key in INCEPTION & {*wanted} if why_not(key, channels, n_samples, n_real) is None
    }
