"""The network of a judge and its training: a function of the images alone.

It learns to tell the classes of the images apart. Where they have none it learns by how many
quarter turns each was rotated (Gidaris et al. 2018, arXiv:1803.07728): to tell that, it must know
what the images show.

In fp32 and in one thread whatever the machine has, on the CPU, from a fixed seed: one kind of
processor always gets the same weights. Another kind rounds otherwise, which is why the judges of
named data sets come with the package.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gencli.data.conditions import Batch
from gencli.data.order import Order
from gencli.data.spec import DataInfo
from gencli.data.splits import Split
from gencli.data.store import ResidentStore
from gencli.kinds import ConditionKind

Task = Literal["classes", "rotations"]
"""What a judge learns to tell."""

N_FEATURES = 64

IMAGES_SEEN = 180_000
"""Length of the training: three epochs of MNIST."""

LOOK = 500
"""Images per forward pass, always: what is rounded how depends on it."""

SHIFT = 2
"""Pixels that images are moved by in training, at most."""

_LABELS: tuple[ConditionKind, ...] = ("labels",)
_SEED = 20_190_704
_BATCH = 250
_LEARNING_RATE = 5e-3
_TURNS = 4  # by 0, 90, 180 and 270 degrees


class JudgeNetwork(nn.Module):
    """Convolutions down to at most 8x8 positions, then 64 features, then a linear classifier."""

    def __init__(self, info: DataInfo, task: Task = "classes") -> None:
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
        self.to_logits = nn.Linear(N_FEATURES, info.n_classes if task == "classes" else _TURNS)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(B, C, H, W) in [0, 1] -> features (B, 64) and logits (B, classes)."""
        features = self.to_features(self.body(x.contiguous(memory_format=torch.channels_last)))
        return features, self.to_logits(features)


def _block(n_in: int, n_out: int, *, kernel: int = 3, stride: int = 1) -> list[nn.Module]:
    convolution = nn.Conv2d(n_in, n_out, kernel, stride, kernel // 2, bias=False)
    return [convolution, nn.BatchNorm2d(n_out), nn.ReLU()]


def shifted(images: Tensor, by: int) -> Tensor:
    """Move each image by up to `by` pixels in both directions, repeating the pixels at the edge."""
    n, (height, width) = len(images), images.shape[2:]
    padded = F.pad(images, (by, by, by, by), mode="replicate")
    windows = padded.unfold(2, height, 1).unfold(3, width, 1)  # (N, C, 2by+1, 2by+1, H, W)
    down, right = torch.randint(0, 2 * by + 1, (2, n), device=images.device).unbind()
    return windows[torch.arange(n, device=images.device), :, down, right]


def train_network(
    split: Split,
    info: DataInfo,
    task: Task = "classes",
    *,
    images_seen: int = IMAGES_SEEN,
    progress: Callable[[int, int], None] | None = None,
) -> JudgeNetwork:
    """Fit a classifier with Adam and one cycle of the learning rate, from a fixed seed.

    Args:
        split: Images on the CPU, with labels where the task is to tell classes.
        info: Shape, classes and binarisation of the images.
        task: What the classifier learns to tell.
        images_seen: Length of the training, whatever the size of the data set.
        progress: Called with (steps done, steps in all).
    """
    store = ResidentStore(split, info, "cpu", _kinds(task))
    order = Order(len(store), _BATCH, _SEED)
    n_steps = max(images_seen // min(_BATCH, len(store)), 1)
    with one_thread(), torch.enable_grad(), _seeded():
        network = JudgeNetwork(info, task).to(memory_format=torch.channels_last).train()
        optimizer = torch.optim.Adam(network.parameters(), _LEARNING_RATE, fused=True)
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: one_cycle((step + 1) / n_steps)
        )
        for step in range(n_steps):
            images, answers = _asked(store.batch(order.indices(step)), task)
            _, logits = network(shifted(images, SHIFT))
            optimizer.zero_grad()
            F.cross_entropy(logits, answers).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
            if progress is not None:
                progress(step + 1, n_steps)
    return network.eval()


def one_cycle(done: float) -> float:
    """The learning rate's factor: up in a straight line for a fifth, then down along a cosine."""
    return min(5 * done, 0.5 + 0.5 * math.cos(math.pi * (done - 0.2) / 0.8))


def _kinds(task: Task) -> tuple[ConditionKind, ...]:
    return _LABELS if task == "classes" else ()


def _asked(batch: Batch, task: Task) -> tuple[Tensor, Tensor]:
    """What the network is shown, and the answers that are right."""
    if task == "classes":
        return labelled(batch)
    turns = torch.randint(_TURNS, (len(batch.images),))
    return turned(batch.images, turns), turns


def turned(images: Tensor, turns: Tensor) -> Tensor:
    """Squares (B, C, H, H), each rotated by a number (B,) of quarter turns."""
    result = images.clone()
    for turn in range(1, _TURNS):
        rows = (turns == turn).nonzero().squeeze(1)
        result[rows] = images[rows].rot90(turn, (2, 3))
    return result


def labelled(batch: Batch) -> tuple[Tensor, Tensor]:
    """The images of a batch of labelled data, and their classes."""
    labels = batch.condition.labels
    assert labels is not None
    return batch.images, labels


@torch.no_grad()
def accuracy_of(
    network: JudgeNetwork, split: Split, info: DataInfo, task: Task = "classes"
) -> float:
    """Share of the images of a split, on the CPU, of which a network tells what it learnt."""
    right = 0
    with one_thread(), _seeded():  # dynamic binarisation and rotations are drawn
        for batch in ResidentStore(split, info, "cpu", _kinds(task)).in_order(LOOK):
            images, answers = _asked(batch, task)
            right += int((network(images)[1].argmax(1) == answers).sum())
    return right / len(split)


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute in one thread within the block: sums are then added in one order everywhere."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _seeded() -> Iterator[None]:
    with torch.random.fork_rng([]):
        torch.manual_seed(_SEED)
        yield
