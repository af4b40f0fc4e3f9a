"""A model from what run.json records, and the check that the data have what it is told."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from gencli import registry
from gencli.config import Config
from gencli.data.catalogue import DATASETS
from gencli.data.spec import DataInfo
from gencli.errors import RunError, UsageError
from gencli.kinds import CONDITIONS, ConditionKind
from gencli.models.interface import GenerativeModel

_CAPTIONED = " or ".join(spec.name for spec in DATASETS if spec.captions)
_CURES = {
    "labels": "Put the images into one folder per class, or train an unconditional model.",
    "text": f"Use data with captions: --data {_CAPTIONED}, or a folder with caption files.",
    "source": "Derive them from the images, such as --source edges, or give a folder of them.",
}


def build_model(model: str, config: Mapping[str, Any], info: Mapping[str, Any]) -> GenerativeModel:
    """A model with fresh weights from what run.json records.

    Args:
        model: Its name.
        config: Values of its options.
        info: Fields of a `DataInfo`.

    Raises:
        RunError: If the record does not fit this version of the model.
        UsageError: If the data lack what the model is told.
    """
    try:
        spec = registry.find(model)
        options = spec.options().parsed(config)
        lists = {name: tuple(info.get(name, ())) for name in ("classes", "vocabulary")}
        data = DataInfo(**{**info, **lists})
    except (KeyError, TypeError, UsageError) as error:
        raise RunError(
            f"This run's {model} does not fit this version of gencli: {error}.", "Train again."
        ) from None
    return make(spec, options, data)


def make(spec: registry.ModelSpec, options: Config, data: DataInfo) -> GenerativeModel:
    """A model with fresh weights.

    Raises:
        UsageError: If the data lack what the model is told, or an option does not fit them.
    """
    see_that_they_have(spec, options, data.has)
    return spec.load()(options, data)


def see_that_they_have(
    spec: registry.ModelSpec, options: Config, has: Callable[[ConditionKind], bool]
) -> None:
    """See that data have what a model is told beside the images.

    Args:
        spec: The model.
        options: Its options.
        has: Whether the data have a kind of condition.

    Raises:
        UsageError: With the first kind that they lack.
    """
    for kind in options.conditions():
        if not has(kind):
            raise UsageError(
                f"{spec.name} needs {CONDITIONS[kind]}, and these data have none.", _CURES[kind]
            )
