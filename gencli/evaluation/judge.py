"""A small classifier of the data set at hand, whose features stand in for Inception's.

Frechet and kernel distances, precision and recall need features that know what an image shows.
Inception's weights are a download and were made for photographs; the judge is trained on the data
set's own training images, to tell their classes or, where they have none, their rotations.
Distances between its features are never called FID: they compare models of one data set with each
other, by the same judge.

It is a function of the data alone: of all images outside the test split, in an order that does not
depend on how many a run held out, and of their binarisation. The judges of some named data sets
come with the package, in judges/, made by `python -m gencli.evaluation.make_judges`; they are found
by what the images are, not by a name. Others are trained on first use and kept in the cache. Every
judge has a hash: only figures by the same judge can be compared.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Collection, Iterator
from dataclasses import asdict, dataclass
from hashlib import blake2b, sha256
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from gencli.atomic import whole_file
from gencli.data.cache import CURE, digest
from gencli.data.splits import ImageData, Split
from gencli.errors import DataError
from gencli.evaluation.classifier import (
    IMAGES_SEEN,
    LOOK,
    N_FEATURES,
    JudgeNetwork,
    Task,
    accuracy_of,
    one_thread,
    train_network,
)
from gencli.evaluation.results import JUDGED, Metric
from gencli.home import cache_dir

__all__ = ["N_FEATURES", "Judge", "JudgeFacts", "find_judge", "judge_for", "judged_by", "write"]

VERSION = 2
"""Goes up when the network or its training changes: figures by different judges don't compare."""

MOST = 200_000
"""Images that a judge learns from at most."""

PACKAGED = Path(__file__).parent / "judges"
"""The folder of the judges that come with the package."""


@dataclass(frozen=True)
class JudgeFacts:
    """What is known of a judge, kept with its weights.

    Attributes:
        key: Of the data and the training that it comes from.
        accuracy: Share of the test images that it classifies correctly.
        n_test: How many test images there were.
        n_train: How many images it learnt from.
    """

    key: str
    accuracy: float
    n_test: int
    n_train: int


@dataclass(frozen=True)
class Judge:
    """A trained classifier and what is known of it.

    Attributes:
        network: On the CPU, in evaluation mode.
        facts: What is known of it.
        name: For people: that of a packaged judge, or of the data set it was trained for.
        task: What it learnt to tell.
    """

    network: JudgeNetwork
    facts: JudgeFacts
    name: str
    task: Task = "classes"

    @torch.no_grad()
    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Look at images, in one thread and in batches of one size.

        Args:
            images: (N, C, H, W): float in [0, 1], or uint8.

        Returns:
            Features (N, 64) and probabilities (N, answers), float32, on the CPU.
        """
        with one_thread():
            parts = [self.network(_float(part.cpu())) for part in torch.split(images, LOOK)]
            features, logits = (torch.cat(column) for column in zip(*parts, strict=True))
            return features, logits.softmax(1)

    def accuracy(self) -> Metric:
        """Its accuracy on the test images, with the binomial standard error."""
        p, n = self.facts.accuracy, self.facts.n_test
        told = "" if self.task == "classes" else " whose rotation is told"
        return Metric(p, f"share of test images{told}", "exact", math.sqrt(p * (1 - p) / n), n)

    @property
    def hash(self) -> str:
        """Of its weights and facts: figures by judges of different hashes cannot be compared."""
        return _hash(_tensors(self.network), self.facts)

    def to_json(self) -> dict[str, Any]:
        """What a report says of it."""
        return {
            "name": self.name,
            "hash": self.hash,
            "tells": self.task,
            "accuracy": self.facts.accuracy,
        }


def _float(images: Tensor) -> Tensor:
    return images if images.is_floating_point() else images.to(torch.float32).div_(255)


def judge_for(
    data: ImageData,
    *,
    images_seen: int = IMAGES_SEEN,
    progress: Callable[[int, int], None] | None = None,
) -> Judge:
    """The judge of a data set: a packaged one, one of the cache, or trained and put there.

    Args:
        data: Has test images.
        images_seen: Length of the training; a judge of another length is another judge.
        progress: Called with (steps done, steps in all) while it trains.

    Raises:
        DataError: If the data set has no test images, or the cache takes no files.
    """
    if not len(data.test):
        raise DataError(
            f"{data.name} has no test images, so no judge can be trained on it.",
            "Add some, or leave out the metrics of sample quality.",
        )
    return find_judge(data, images_seen) or _made(data, images_seen, progress)


def task_of(data: ImageData) -> Task:
    """What a judge of a data set learns to tell."""
    labelled = data.train.labels is not None and data.test.labels is not None
    return "classes" if labelled and data.info.n_classes > 1 else "rotations"


def find_judge(data: ImageData, images_seen: int = IMAGES_SEEN) -> Judge | None:
    """The judge of a data set if there is one, packaged or in the cache; it is not trained here."""
    key = _key(data, images_seen)
    for path in sorted(PACKAGED.glob("*.safetensors")):
        found = _read(path, data, path.stem, key)
        if found is not None:
            return found
    return _read(_cached(key), data, Path(data.name).name, key)


def judged_by(data: ImageData, metrics: Collection[str]) -> dict[str, Any] | None:
    """What a report says of the judge of its figures; None where none of them is a judge's."""
    judge = None if JUDGED.isdisjoint(metrics) else find_judge(data)
    return None if judge is None else judge.to_json()


def train(
    data: ImageData,
    *,
    images_seen: int = IMAGES_SEEN,
    progress: Callable[[int, int], None] | None = None,
) -> Judge:
    """A new judge of a data set, as `judge_for` would keep it."""
    seen, task = _canonical(data), task_of(data)
    network = train_network(seen, data.info, task, images_seen=images_seen, progress=progress)
    network.load_state_dict(_whole(_tensors(network)))  # rounded as it is kept
    facts = JudgeFacts(
        _key(data, images_seen),
        accuracy_of(network, data.test, data.info, task),
        n_test=len(data.test),
        n_train=len(seen),
    )
    return Judge(network, facts, Path(data.name).name, task)


def _made(data: ImageData, images_seen: int, progress: Callable[[int, int], None] | None) -> Judge:
    judge = train(data, images_seen=images_seen, progress=progress)
    write(_cached(judge.facts.key), judge)
    return judge


def _key(data: ImageData, images_seen: int) -> str:
    info = data.info
    return digest(
        data.fingerprint, info.shape, info.n_classes, info.binarization, images_seen, VERSION
    )


def _cached(key: str) -> Path:
    return cache_dir() / "judges" / f"{key}.safetensors"


def _canonical(data: ImageData) -> Split:
    """The images outside the test split that it learns from, in the order of a hash of each.

    All that it can learn from, or of more than `MOST` those that come first in that order.
    """
    parts = [data.train, data.val]
    if task_of(data) == "classes":
        parts = [part for part in parts if part.labels is not None]
    hashes = [hashed for part in parts for hashed in _hashes(part, task_of(data))]
    order = torch.tensor(sorted(range(len(hashes)), key=hashes.__getitem__)[:MOST])
    # taken from each part in its own order and put in that of the hashes
    images, labels, place = [], [], []
    first = 0
    for part in parts:
        here = ((order >= first) & (order < first + len(part))).nonzero().squeeze(1)
        some = part.rows(order[here] - first)
        images.append(some.images)
        labels += [] if some.labels is None else [some.labels]
        place.append(here)
        first += len(part)
    back = torch.cat(place).argsort()
    told = task_of(data) == "classes"
    return Split(torch.cat(images)[back], torch.cat(labels)[back] if told else None)


def _hashes(part: Split, task: Task) -> Iterator[bytes]:
    """A hash of each image, and of its class where classes are told."""
    for start in range(0, len(part), LOOK):
        some = part.rows(slice(start, start + LOOK))
        told = some.labels is not None and task == "classes"
        classes = some.labels.tolist() if told and some.labels is not None else [0] * len(some)
        for row, label in zip(some.images.flatten(1).numpy(), classes, strict=True):
            yield blake2b(row, digest_size=16, salt=int(label).to_bytes(8, "little")).digest()


def _tensors(network: JudgeNetwork) -> dict[str, Tensor]:
    """What is kept: matrices in fp16, the few other numbers as they are."""
    state = network.state_dict().items()
    return {name: (t.half() if t.ndim > 1 else t).contiguous() for name, t in state}


def _whole(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: t.float() if t.is_floating_point() else t for name, t in tensors.items()}


def _hash(tensors: dict[str, Tensor], facts: JudgeFacts) -> str:
    """16 hexadecimal digits."""
    hashed = sha256(json.dumps(asdict(facts), sort_keys=True).encode())
    for name, tensor in sorted(tensors.items()):
        hashed.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        hashed.update(tensor.numpy().tobytes())
    return hashed.hexdigest()[:16]


def write(path: Path, judge: Judge) -> None:
    """Keep a judge in one file, its facts and hash in the header, so that they cannot part.

    Raises:
        DataError: If the file cannot be written.
    """
    header = json.dumps({"facts": asdict(judge.facts), "hash": judge.hash})
    with whole_file(path, DataError, CURE) as file:
        file.write(save(_tensors(judge.network), {"judge": header}))


def _read(path: Path, data: ImageData, name: str, key: str) -> Judge | None:
    """The judge in a file; None where there is none of that key, or a damaged one."""
    try:
        with safe_open(path, framework="pt") as file:
            header = json.loads(file.metadata()["judge"])
            facts = JudgeFacts(**header["facts"])
            if facts.key != key:
                return None
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if _hash(tensors, facts) != header["hash"]:
            return None
        with torch.device("meta"):
            network = JudgeNetwork(data.info, task_of(data))
        network.load_state_dict(_whole(tensors), assign=True)
    except (OSError, SafetensorError, RuntimeError, KeyError, TypeError, ValueError):
        return None
    network = network.to(memory_format=torch.channels_last).eval()
    return Judge(network, facts, name, task_of(data))
