"""What a model is told, on the command line: the one place there that knows the kinds."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gencli.cli import console
from gencli.errors import DataError, UsageError
from gencli.home import user_path
from gencli.kinds import ConditionKind
from gencli.wording import readable_bytes, reason, shortened

if TYPE_CHECKING:
    from gencli.data.conditions import Condition
    from gencli.loaded import LoadedModel

_MOST_PROMPTS = 100_000
_PROMPT_BYTES = 1 << 24
"""Of a file of captions."""

_WORD = 40
"""Characters of an unknown word that are shown."""

_OPTIONS: dict[ConditionKind, dict[str, Any]] = {
    "labels": {
        "label": Annotated[
            int | None, typer.Option(help="Class to draw; every class in turn by default.", min=0)
        ]
    },
    "text": {
        "prompt": Annotated[
            list[str] | None,
            typer.Option(help="Caption to draw; again and again for several, in turn."),
        ],
        "prompts": Annotated[
            str | None, typer.Option(help="A file with a caption in each line.", metavar="FILE")
        ],
    },
    "source": {
        "source": Annotated[
            str | None,
            typer.Option(
                help="To translate: an image, a folder (to a folder), or test:0..7 (to a sheet).",
                metavar="IMAGES",
            ),
        ]
    },
}

_ENDS: dict[ConditionKind, dict[str, Any]] = {
    "labels": {
        "from_label": Annotated[
            int | None, typer.Option(help="Class where the way begins; the latent stays.", min=0)
        ],
        "to_label": Annotated[int | None, typer.Option(help="Class where it ends.", min=0)],
    },
    "text": {
        "from_prompt": Annotated[
            str | None, typer.Option(help="Caption where the way begins; the latent stays.")
        ],
        "to_prompt": Annotated[str | None, typer.Option(help="Caption where it ends.")],
    },
}
"""Options of a walk from one condition to another."""


def kind_of(option: str, *, walk: bool = False) -> ConditionKind | None:
    """Which kind of condition an option such as `--prompt` tells; None for another option.

    Args:
        option: Its name.
        walk: Whether those of a walk from one condition to another are meant, too.
    """
    name = option.lstrip("-").replace("-", "_")
    for options in (_OPTIONS, _ENDS) if walk else (_OPTIONS,):
        for kind, of_kind in options.items():
            if name in of_kind:
                return kind
    return None


def parameters(kinds: Sequence[ConditionKind], panel: str) -> list[inspect.Parameter]:
    """The options by which a model is told conditions of some kinds."""
    return _parameters([_OPTIONS[kind] for kind in kinds], panel)


def of_a_walk(kinds: Sequence[ConditionKind], panel: str) -> list[inspect.Parameter]:
    """The same, and those of a walk from one condition to another."""
    return _parameters([options.get(k, {}) for k in kinds for options in (_OPTIONS, _ENDS)], panel)


def _parameters(groups: Sequence[dict[str, Any]], panel: str) -> list[inspect.Parameter]:
    found = []
    for group in groups:
        for name, annotation in group.items():
            info = annotation.__metadata__[0]
            info.rich_help_panel = panel
            found.append(
                inspect.Parameter(
                    name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation
                )
            )
    return found


def read(own: Mapping[str, Any], model: LoadedModel, n: int) -> Condition | None:
    """The condition for `n` images that a command's own options ask for; None for nothing.

    Raises:
        UsageError: If there is no such class, or an option's value does not fit.
        DataError: If a file cannot be read.
    """
    given = {name: own.get(name) for options in _OPTIONS.values() for name in options}
    if not any(given.values()) and given["label"] is None:
        return None
    import torch

    from gencli.data.conditions import in_turn

    wanted = in_turn(model.data, model.model.conditions, n)
    if given["label"] is not None:
        wanted = _replaced(wanted, labels=torch.full((n,), given["label"]))
    if given["prompt"] or given["prompts"]:
        lines = [*(given["prompt"] or ()), *_lines(given["prompts"])]
        wanted = _replaced(wanted, text=_tokens(lines, model)[torch.arange(n) % len(lines)])
    if given["source"]:
        images = _source(given["source"], model)
        wanted = _replaced(wanted, source=images[torch.arange(n) % len(images)])
    return wanted


def ends(own: Mapping[str, Any], model: LoadedModel, n: int) -> tuple[Condition, Condition] | None:
    """From what to what a walk between conditions goes, for `n` images; None for no such walk.

    What a command's other options ask for is the same at both ends.

    Raises:
        UsageError: If an end is not there, or there is no such class.
    """
    labels, prompts = _pair(own, "label"), _pair(own, "prompt")
    if labels is None and prompts is None:
        return None
    import torch

    from gencli.data.conditions import in_turn

    start = end = read(own, model, n) or in_turn(model.data, model.model.conditions, n)
    if labels is not None:
        start, end = (
            _replaced(told, labels=torch.full((n,), label))
            for told, label in zip((start, end), labels, strict=True)
        )
    if prompts is not None:
        start, end = (
            _replaced(told, text=row.expand(n, -1))
            for told, row in zip((start, end), _tokens(prompts, model), strict=True)
        )
    return start, end


def _pair(own: Mapping[str, Any], what: str) -> list[Any] | None:
    pair = [own.get(f"{end}_{what}") for end in ("from", "to")]
    if pair.count(None) == 1:
        raise UsageError("A way needs both ends.", f"Give --from-{what} and --to-{what}.")
    return None if None in pair else pair


def _replaced(condition: Condition, **changes: Any) -> Condition:
    import dataclasses

    return dataclasses.replace(condition, **changes)


def _lines(path: str | None) -> list[str]:
    if path is None:
        return []
    try:
        with user_path(path).open("rb") as file:
            content = file.read(_PROMPT_BYTES + 1)  # a device may go on for ever
        lines = [line.strip() for line in content.decode("utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read: {reason(error)}.", "Give a text file.") from None
    if len(content) > _PROMPT_BYTES:
        most = readable_bytes(_PROMPT_BYTES)
        raise DataError(f"{path} has more than {most} of captions.", "Give fewer at once.")
    if len(lines) > _MOST_PROMPTS:
        raise DataError(f"{path} has {len(lines):,} lines.", f"Give up to {_MOST_PROMPTS:,}.")
    if not lines:
        raise UsageError(f"{path} has no lines.", "Write a caption in each.")
    return lines


def _tokens(lines: Sequence[str], model: LoadedModel) -> Any:
    """Captions as tokens; words that the model never met are named."""
    import torch

    from gencli.data import captions

    info = model.data
    unknown = captions.unknown_words(lines, info.vocabulary)
    if unknown:
        shown = ", ".join(shortened(word, _WORD) for word in unknown[:20])
        console.message(f"words that {model.run.model} never met: {shown}")
    return torch.from_numpy(captions.tokens(lines, info.vocabulary, info.caption_length))


def _source(reference: str, model: LoadedModel) -> Any:
    """Source images: those of the data set as in training, while a file is one already."""
    from gencli.cli.images import read_batch, read_source

    if user_path(reference).is_file():
        return read_source(user_path(reference), model.data)
    return read_batch(reference, model).condition.source
