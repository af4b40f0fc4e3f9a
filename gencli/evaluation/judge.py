"""A small classifier of the data set at hand, whose features stand in for Inception's.

Frechet and kernel distances, precision and recall need features that know what an image shows.
Inception's weights are a download and were made for photographs; the judge is trained on the data
set's own training images on first use, in seconds, and cached. Distances between its features are
never called FID: they compare models of one data set with each other, by the same judge.

It learns from all images outside the test split, so that every run on a data set meets the same
judge however many images it held out for validation.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from gencli.atomic import whole_file
from gencli.data.cache import CURE, digest
from gencli.data.load import ImageData, Split
from gencli.data.order import Order
from gencli.data.spec import DataInfo
from gencli.data.store import ResidentStore
from gencli.device import has_fast_bf16
from gencli.errors import DataError
from gencli.evaluation.results import Metric
from gencli.home import cache_dir

VERSION = 1
"""Goes up when the network or its training changes: figures by different judges don't compare."""

N_FEATURES = 64

IMAGES_SEEN = 180_000
"""Length of the training: three epochs of MNIST."""

_SEED = 20_190_704
_BATCH = 250
_LOOK = 500  # images per forward pass
_LEARNING_RATE = 5e-3
_SHIFT = 2  # pixels


class JudgeNetwork(nn.Module):
    """Convolutions down to at most 8x8 positions, then 64 features, then a linear classifier."""

    def __init__(self, info: DataInfo) -> None:
        super().__init__()
        layers = _block(info.channels, 16, kernel=5, stride=2)
        layers += _block(16, 32)
        side, width = math.ceil(max(info.height, info.width) / 2), 32
        while side > 8:
            layers += [nn.MaxPool2d(2, ceil_mode=True), *_block(width, 64)]
            side, width = math.ceil(side / 2), 64
        self.body = nn.Sequential(*layers, nn.Flatten())
        with torch.no_grad():
            n_flat = self.body.eval()(torch.zeros(1, *info.shape)).shape[1]
        self.to_features = nn.Sequential(
            nn.Linear(n_flat, N_FEATURES, bias=False), nn.BatchNorm1d(N_FEATURES), nn.ReLU()
        )
        self.to_logits = nn.Linear(N_FEATURES, info.n_classes)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(B, C, H, W) in [0, 1] -> features (B, 64) and logits (B, classes)."""
        features = self.to_features(self.body(x.contiguous(memory_format=torch.channels_last)))
        return features, self.to_logits(features)


def _block(n_in: int, n_out: int, *, kernel: int = 3, stride: int = 1) -> list[nn.Module]:
    convolution = nn.Conv2d(n_in, n_out, kernel, stride, kernel // 2, bias=False)
    return [convolution, nn.BatchNorm2d(n_out), nn.ReLU()]


@dataclass(frozen=True)
class JudgeFacts:
    """What is known of a judge, kept with its weights.

    Attributes:
        data: Name of the data set.
        accuracy: Share of the test images that it classifies correctly.
        n_test: How many test images there were.
        n_train: How many images it learnt from.
        seconds: What its training took.
        precision: bf16 or fp32, of its training.
        version: `VERSION` of its making.
    """

    data: str
    accuracy: float
    n_test: int
    n_train: int
    seconds: float
    precision: str
    version: int = VERSION


@dataclass(frozen=True)
class Judge:
    """A trained classifier and what is known of it."""

    network: JudgeNetwork
    facts: JudgeFacts

    @torch.no_grad()
    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Look at images.

        Args:
            images: (N, C, H, W): float in [0, 1], or uint8.

        Returns:
            Features (N, 64) and class probabilities (N, classes), float32, on the judge's device.
        """
        device = self.network.to_logits.weight.device
        parts = [self.network(_float(part.to(device))) for part in torch.split(images, _LOOK)]
        features, logits = (torch.cat(column) for column in zip(*parts, strict=True))
        return features, logits.softmax(1)

    def accuracy(self) -> Metric:
        """Its accuracy on the test images, with the binomial standard error."""
        p, n = self.facts.accuracy, self.facts.n_test
        return Metric(p, "share of test images", "exact", math.sqrt(p * (1 - p) / n), n)


def _float(images: Tensor) -> Tensor:
    return images if images.is_floating_point() else images.to(torch.float32).div_(255)


def _shifted(images: Tensor, by: int) -> Tensor:
    """Move each image by up to `by` pixels in both directions, repeating the pixels at the edge."""
    n, (height, width) = len(images), images.shape[2:]
    padded = F.pad(images, (by, by, by, by), mode="replicate")
    windows = padded.unfold(2, height, 1).unfold(3, width, 1)  # (N, C, 2by+1, 2by+1, H, W)
    down, right = torch.randint(0, 2 * by + 1, (2, n), device=images.device).unbind()
    return windows[torch.arange(n, device=images.device), :, down, right]


def train_network(
    split: Split,
    info: DataInfo,
    *,
    device: torch.device,
    images_seen: int = IMAGES_SEEN,
    progress: Callable[[int, int], None] | None = None,
) -> JudgeNetwork:
    """Fit a classifier with Adam and one cycle of the learning rate, from a fixed seed.

    Args:
        split: Images with labels.
        info: Shape, classes and binarisation of the images.
        device: Where to train; the images are moved there.
        images_seen: Length of the training, whatever the size of the data set.
        progress: Called with (steps done, steps in all).
    """
    store = ResidentStore(split, info, device)
    order = Order(len(store), _BATCH, _SEED, device)
    n_steps = max(images_seen // min(_BATCH, len(store)), 1)
    bf16 = has_fast_bf16(device)
    with torch.enable_grad(), _seeded(device):
        network = JudgeNetwork(info).to(device).to(memory_format=torch.channels_last).train()
        optimizer = torch.optim.Adam(network.parameters(), _LEARNING_RATE, fused=True)
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: _one_cycle((step + 1) / n_steps)
        )
        for step in range(n_steps):
            images, labels = store.batch(order.indices(step))
            assert labels is not None
            with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
                _, logits = network(_shifted(images, _SHIFT))
            optimizer.zero_grad()
            loss = F.cross_entropy(logits.float(), labels)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
            if progress is not None:
                progress(step + 1, n_steps)
    return network.eval()


def _one_cycle(done: float) -> float:
    """The learning rate's factor: up in a straight line for a fifth, then down along a cosine."""
    return min(5 * done, 0.5 + 0.5 * math.cos(math.pi * (done - 0.2) / 0.8))


@torch.no_grad()
def accuracy_of(network: JudgeNetwork, split: Split, info: DataInfo) -> float:
    """Share of the images of a split that a network classifies correctly."""
    device = network.to_logits.weight.device
    right = 0
    with _seeded(device):  # dynamic binarisation draws
        for images, labels in ResidentStore(split, info, device).in_order(_LOOK):
            assert labels is not None
            right += int((network(images)[1].argmax(1) == labels).sum())
    return right / len(split)


@contextmanager
def _seeded(device: torch.device) -> Iterator[None]:
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(_SEED)
        yield


def judge_for(
    data: ImageData,
    *,
    device: torch.device,
    images_seen: int = IMAGES_SEEN,
    progress: Callable[[int, int], None] | None = None,
) -> Judge:
    """The judge of a data set: from the cache, or trained and put there.

    Args:
        data: Has labels in its training and test splits.
        device: Where the judge trains and looks.
        images_seen: Length of the training; a judge of another length is another judge.
        progress: Called with (steps done, steps in all) while it trains.

    Raises:
        DataError: If the data set has no labels or no test images, or the cache takes no files.
    """
    if data.test.labels is None or data.train.labels is None or not len(data.test):
        raise DataError(
            f"{data.name} has no labelled test images, so no judge can be trained on it.",
            "Use a data set with labels (a folder with one sub-folder per class), or leave out the "
            "metrics of sample quality.",
        )
    key = digest(data.fingerprint, data.info, images_seen, VERSION)
    path = cache_dir() / "judges" / f"{key}.safetensors"
    cached = _read(path, data.info)
    if cached is not None:
        return Judge(cached.network.to(device), cached.facts)
    began = time.monotonic()
    seen = data.train
    if data.val.labels is not None:
        seen = Split(
            torch.cat([data.train.images, data.val.images]),
            torch.cat([data.train.labels, data.val.labels]),
        )
    network = train_network(
        seen, data.info, device=device, images_seen=images_seen, progress=progress
    )
    facts = JudgeFacts(
        data.name,
        accuracy_of(network, data.test, data.info),
        n_test=len(data.test),
        n_train=len(seen),
        seconds=round(time.monotonic() - began, 1),
        precision="bf16" if has_fast_bf16(device) else "fp32",
    )
    judge = Judge(network, facts)
    _write(path, judge)
    return judge


def _write(path: Path, judge: Judge) -> None:
    # One file with the facts in its header, so that weights and facts cannot part.
    tensors = {k: v.cpu().contiguous() for k, v in judge.network.state_dict().items()}
    with whole_file(path, DataError, CURE) as file:
        file.write(save(tensors, {"facts": json.dumps(asdict(judge.facts))}))


def _read(path: Path, info: DataInfo) -> Judge | None:
    """The judge in a file; None where there is none, or a damaged one, which is made again."""
    with torch.device("meta"):
        network = JudgeNetwork(info)
    try:
        with safe_open(path, framework="pt") as file:
            facts = JudgeFacts(**json.loads(file.metadata()["facts"]))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        network.load_state_dict(tensors, assign=True)
    except (OSError, SafetensorError, RuntimeError, KeyError, TypeError, ValueError):
        return None
    return Judge(network.to(memory_format=torch.channels_last).eval(), facts)
