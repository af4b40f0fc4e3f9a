"""Whether samples of `scenes` show what their captions ask for: the digit, its ink, its paper.

A classifier of its own tells the three: one network the digit and another the colours, since of
features that serve both small digits are told less often. It learns from pictures that nobody else
sees, drawn for it with their attributes by another seed than those of the data set, and is kept in
the cache. How often it is right on the test images stands in each figure's unit: nobody can
agree with it more often than that, but by chance.

A caption asks for what it says. What that is, is looked up: each caption of the data set has the
attributes that it was written from, and its wording says whether it tells the paper.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from functools import cache

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn
from torch.nn import functional as F

from gencli.atomic import whole_file
from gencli.data import captions, scenes
from gencli.data.cache import CURE
from gencli.data.conditions import Condition
from gencli.data.scene_colours import COLOURS
from gencli.data.scene_words import Attributes, attributes, tells_paper
from gencli.data.spec import DataInfo
from gencli.errors import DataError
from gencli.evaluation.classifier import (
    LOOK,
    SHIFT,
    JudgeNetwork,
    one_cycle,
    one_thread,
    shifted,
)
from gencli.evaluation.measuring import Measuring
from gencli.evaluation.quality import share
from gencli.evaluation.results import Metric
from gencli.home import cache_dir
from gencli.kinds import Progress

KEYS = ("digit_agreement", "ink_agreement", "paper_agreement")
"""The figures, in the order of the classifier's answers."""

_VERSION = 3
_SEED = 2603  # of its pictures; the data set has 2601 and 2602
_N_PICTURES = 30_000
_EPOCHS = 6
_BATCH = 250
_LEARNING_RATE = 5e-3
_ANSWERS = len(COLOURS)  # to each question; there are as many digits


class Classifier(nn.Module):
    """What tells the digit, the ink and the paper of pictures of one side."""

    def __init__(self, side: int) -> None:
        super().__init__()
        self.digit, self.colours = (
            JudgeNetwork(DataInfo(3, side, side, tuple(map(str, range(questions * _ANSWERS)))))
            for questions in (1, 2)
        )
        self.to(memory_format=torch.channels_last)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) in [0, 1] -> logits (B, 3, answers)."""
        logits = torch.cat([self.digit(x)[1], self.colours(x)[1]], 1)
        return logits.view(-1, len(KEYS), _ANSWERS)


def possible(measuring: Measuring) -> bool:
    """Whether the model is told captions of `scenes`."""
    return measuring.data.name == "scenes" and "text" in measuring.model.conditions


def measured(
    measuring: Measuring, wanted: Collection[str], samples: Tensor, condition: Condition
) -> dict[str, Metric]:
    """The figures of `KEYS` that are wanted.

    Args:
        measuring: A model that is told captions of `scenes`.
        wanted: Which.
        samples: Images (N, C, H, W), uint8.
        condition: The captions that they were asked for.

    Raises:
        DataError: If the classifier cannot be kept.
    """
    keys = [key for key in KEYS if key in wanted]
    if not keys or condition.text is None:
        return {}
    network, accuracy = classifier(samples.shape[-1], measuring.progress)
    seen, asked = answers(network, samples), asked_for(condition.text, measuring.data.info)
    found = {}
    for key in keys:
        i = KEYS.index(key)
        told = asked[:, i] >= 0
        right = share(seen[told, i] == asked[told, i])
        unit = f"share of samples; the classifier is right on {accuracy[i]:.1%} of test images"
        found[key] = Metric(right.value, unit, right.kind, right.standard_error, right.n)
    return found


def asked_for(text: Tensor, info: DataInfo) -> Tensor:
    """What captions (N, L) ask for: digit, ink and paper (N, 3), -1 where nothing is said."""
    known = _table(info.vocabulary, info.caption_length)
    nothing = (-1,) * len(KEYS)
    return torch.tensor([known.get(tuple(row), nothing) for row in text.tolist()])


@cache
def _table(vocabulary: tuple[str, ...], length: int) -> dict[tuple[int, ...], tuple[int, ...]]:
    """A caption's tokens -> digit, ink and paper, for all captions of the data set."""
    table = {}
    for n, seed in scenes.SPLITS.values():
        of = attributes(n, seed=seed)
        rows = captions.tokens(of.captions(), vocabulary, length).tolist()
        for row, asked in zip(rows, _questions(of, told=True).tolist(), strict=True):
            table[tuple(row)] = tuple(asked)
    return table


def _questions(of: Attributes, *, told: bool) -> Tensor:
    """Digit, ink and paper (N, 3); with `told`, -1 for papers that the caption leaves out."""
    columns = torch.from_numpy(of.digit), torch.from_numpy(of.ink), torch.from_numpy(of.paper)
    asked = torch.stack(columns, 1)
    if told:
        asked[~torch.from_numpy(tells_paper(of.wording)), 2] = -1
    return asked


def classifier(side: int, report: Progress = lambda *_: None) -> tuple[Classifier, list[float]]:
    """The classifier of pictures of that side, and how often it is right on the test images.

    From the cache, or trained and put there.

    Raises:
        DataError: If the cache takes no file.
    """
    path = cache_dir() / "judges" / f"scenes-attributes-{side}-{_VERSION}.safetensors"
    try:
        with safe_open(path, framework="pt") as file:
            network = Classifier(side)
            network.load_state_dict({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
            return network.eval(), list(json.loads(file.metadata()["accuracy"]))
    except (OSError, SafetensorError, RuntimeError, KeyError, TypeError, ValueError):
        pass  # none yet, or a damaged one
    network = train(side, report)
    n, seed = scenes.SPLITS["test"]
    images = torch.from_numpy(scenes.render(n, seed=seed, size=side).images)
    right = answers(network, images) == _questions(attributes(n, seed=seed), told=False)
    accuracy = right.double().mean(0).tolist()
    state = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
    with whole_file(path, DataError, CURE) as file:
        file.write(save(state, {"accuracy": json.dumps(accuracy)}))
    return network, accuracy


def train(
    side: int,
    report: Progress = lambda *_: None,
    n_pictures: int = _N_PICTURES,
    epochs: int = _EPOCHS,
) -> Classifier:
    """A new classifier, from a fixed seed and in one thread; in evaluation mode."""
    drawn = scenes.render(n_pictures, seed=_SEED, size=side)
    images = torch.from_numpy(drawn.images)
    asked = _questions(attributes(n_pictures, seed=_SEED), told=False)
    steps = epochs * (n_pictures // _BATCH)
    with one_thread(), torch.enable_grad(), torch.random.fork_rng([]):
        torch.manual_seed(_SEED)
        network = Classifier(side).train()
        optimizer = torch.optim.Adam(network.parameters(), _LEARNING_RATE, fused=True)
        order = torch.cat(
            [torch.randperm(n_pictures)[: steps // epochs * _BATCH] for _ in range(epochs)]
        )
        for step, rows in enumerate(torch.split(order, _BATCH)):
            for group in optimizer.param_groups:
                group["lr"] = _LEARNING_RATE * one_cycle((step + 1) / steps)
            logits = network(shifted(images[rows].float() / 255, SHIFT))
            optimizer.zero_grad()
            F.cross_entropy(logits.flatten(0, 1), asked[rows].flatten()).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            report("classifier of attributes", step + 1, steps)
    return network.eval()


@torch.no_grad()
def answers(network: Classifier, images: Tensor) -> Tensor:
    """Digit, ink and paper (N, 3) of uint8 images (N, C, H, W)."""
    with one_thread():
        return torch.cat(
            [network(part.float() / 255) for part in torch.split(images, LOOK)]
        ).argmax(2)
