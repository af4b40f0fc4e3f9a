"""The sheet of `gencli interpolate RUN --arithmetic "7:slanted - 7:upright + 0:upright"`.

As "king - man + woman" with words, sums and differences of mean latents of images that have
something in common (Radford et al. 2015, arXiv:1511.06434): of a class, of a word in their caption.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gencli.cli import console
from gencli.cli.opening import same_data
from gencli.data import captions
from gencli.data.conditions import Condition
from gencli.data.load import load
from gencli.data.spec import DataInfo
from gencli.data.splits import ImageData, Split
from gencli.data.store import ResidentStore
from gencli.errors import DataError, UsageError
from gencli.evaluation.judge import judge_for
from gencli.loaded import LoadedModel
from gencli.models.abilities import HasEncoder, having
from gencli.training.session import recorded

_MOST = 200  # images whose mean is taken
_FEW = 3  # in all rows but the first, as in the paper
_AT_ONCE = 50
_DRAWN = 1_000  # samples where there is no encoder
_SURE = 0.9


@dataclass(frozen=True)
class Term:
    """Images to take the mean latent of.

    Attributes:
        sign: 1 or -1.
        name: As it was written.
        label: Their class; None for any.
        words: What their captions say, each of them.
    """

    sign: int
    name: str
    label: int | None
    words: tuple[str, ...]

    def images(self, split: Split, info: DataInfo) -> Tensor:
        """Which images of a split it means, (n,).

        Raises:
            DataError: If there are none.
        """
        chosen = torch.ones(len(split), dtype=torch.bool)
        if self.label is not None and split.labels is not None:
            chosen &= split.labels == self.label
        if self.words and split.text is not None:
            for token in captions.tokens(self.words, info.vocabulary, 1)[:, 0].tolist():
                chosen &= (split.text == token).any(1)
        if not chosen.any():
            raise DataError(f"No training image is {self.name}.", "Ask for less at once.")
        return chosen.nonzero().flatten()


def parsed(text: str, info: DataInfo) -> list[Term]:
    """The terms of `CLASS:WORDS - CLASS + :WORDS`, with spaces about each sign.

    Raises:
        UsageError: If there is no such class or word, or nothing is said.
    """
    parts = ["+", *re.split(r"\s+([+-])\s+", text.strip())]
    return [_term(sign, part, info) for sign, part in zip(parts[::2], parts[1::2], strict=True)]


def _term(sign: str, part: str, info: DataInfo) -> Term:
    name, _, said = part.partition(":")
    words = tuple(captions.words(said))
    if not name and not words:
        raise UsageError(
            f"--arithmetic {part!r} names no images.", 'Write CLASS:WORDS, as in "7:thin - 7 + 0".'
        )
    for word in captions.unknown_words(words, info.vocabulary):
        near = difflib.get_close_matches(word, info.vocabulary, 3) or info.vocabulary[:20]
        cure = f"There are: {', '.join(near)}." if near else "These data have no captions."
        raise UsageError(f"No caption has the word {word}.", cure)
    label = None
    if name in info.classes:
        label = info.classes.index(name)
    elif name.isdecimal() and int(name) < info.n_classes:
        label = int(name)
    elif name:
        cure = f"There are: {', '.join(info.classes[:20])}." if info.classes else "Write :WORDS."
        raise UsageError(f"There is no class {name}.", cure)
    return Term(1 if sign == "+" else -1, part, label, words)


def arithmetic_sheet(
    loaded: LoadedModel, text: str, rows: int, seed: int, options: Mapping[str, Any]
) -> Tensor:
    """Images (rows, terms + 1, C, H, W): what each term's latent decodes to, and what the sum does.

    In the first row latents are means of up to 200 images, in the others of three. Models that are
    told something are told it as of an image of the term, and in the last column of the last term
    that is added. Where a model has no encoder, the images are its own samples, and the judge says
    of which class they are.

    Args:
        loaded: A model with a latent space.
        text: The terms.
        rows: How many.
        seed: Of the choice of images.
        options: The model's own of decoding.

    Raises:
        UsageError: If a term has no meaning, or words are asked of a model without an encoder.
        DataError: If a term means no image.
    """
    terms = parsed(text, loaded.data)
    with console.counting() as progress:
        data = load(recorded(loaded.run)[1], progress)
    same_data(loaded, data)
    encodes = isinstance(loaded.model, HasEncoder)
    split, drawn = (data.train, None) if encodes else _judged(loaded, data, terms, seed, options)
    generator = torch.Generator().manual_seed(seed)
    latents, told = list[Tensor](), list[Condition]()
    for term in terms:
        which = term.images(split, loaded.data)
        console.message(f"{term.name}: {len(which):,} images")
        which = which[torch.randperm(len(which), generator=generator)[:_MOST]]
        codes, known = drawn(which) if drawn else _codes(loaded, split.rows(which))
        few = torch.arange(_FEW * (rows - 1)).view(-1, _FEW) % len(codes)
        latents.append(torch.cat([codes.mean(0, keepdim=True), codes[few].mean(1)]))
        told.append(known.rows(torch.zeros(rows, dtype=torch.int64)))
    result = torch.stack([t.sign * z for t, z in zip(terms, latents, strict=True)]).sum(0)
    last = max(i for i, term in enumerate(terms) if term.sign > 0)
    columns = zip([*latents, result], [*told, told[last]], strict=True)
    return torch.stack([loaded.decode(_typical(loaded, z), of, **options) for z, of in columns], 1)


def _judged(
    loaded: LoadedModel,
    data: ImageData,
    terms: Sequence[Term],
    seed: int,
    options: Mapping[str, Any],
) -> tuple[Split, Callable[[Tensor], tuple[Tensor, Condition]]]:
    """Samples with the classes that the judge is sure of, and latents and conditions of some."""
    if any(term.words for term in terms) or not loaded.data.n_classes:
        raise UsageError(
            f"{loaded.run.model} has no encoder: what captions say is not known of its samples.",
            f"Name classes alone, or take one of {having('encoder')}.",
        )
    z, told = loaded.sample_latent(_DRAWN, seed=seed), loaded.told(_DRAWN)
    images = torch.cat(
        [
            loaded.decode(z[part], told.rows(part), **options)
            for part in map(
                slice, range(0, _DRAWN, _AT_ONCE), range(_AT_ONCE, _DRAWN + 1, _AT_ONCE)
            )
        ]
    )
    sure, labels = judge_for(data)(images)[1].max(1)
    labels[sure < _SURE] = -1
    return Split((255 * images).to(torch.uint8), labels), lambda rows: (z[rows], told.rows(rows))


def _codes(loaded: LoadedModel, split: Split) -> tuple[Tensor, Condition]:
    """Latents of all images of a split, and what the model is told of the first."""
    store = ResidentStore(split, loaded.data, "cpu", loaded.model.conditions)
    batches = list(store.in_order(_AT_ONCE))
    codes = torch.cat([loaded.encode(batch.images, batch.condition) for batch in batches])
    return codes, batches[0].condition


def _typical(loaded: LoadedModel, z: Tensor) -> Tensor:
    """Latents as long as those of the prior where they are noise, whose means are too short."""
    if not loaded.model.codes_are_images:
        return z
    return z / z.flatten(1).square().mean(1).sqrt().view(-1, *[1] * (z.dim() - 1))
