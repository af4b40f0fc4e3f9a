"""What the logged means of a discriminator or a critic say of the game."""

from __future__ import annotations

import math
from collections.abc import Mapping

from gencli.config import Options, fields_of
from gencli.models.interface import Sign


def has_won(config: Options) -> Sign:
    """That D, whose targets are 1 for real images and 0 for made ones, is sure of them all.

    Args:
        config: The model's, whose options say what can be tried; with `label_smoothing` D's target
            for real images is that much less.
    """
    target = 1 - getattr(config, "label_smoothing", 0.0)
    known = {field.name for field in fields_of(type(config))}
    cures = {
        "d_lr_scale": "a lower --d-lr-scale", "r1": "a larger --r1",
        "spectral_norm": "--spectral-norm",
    }  # fmt: skip
    *first, last = [cure for name, cure in cures.items() if name in known]
    trouble = "the discriminator has won"
    cure = f"{', '.join(first)} or {last}" if first else last
    figures = ("d_real", "d_fake")
    if getattr(config, "objective", "") == "relativistic":  # its logits mean something in pairs
        return Sign(trouble, cure, figures, _gap, least=2 * math.log(9))
    return Sign(
        trouble, cure, figures,
        lambda means: min(means["d_real"] / target, 1 - means["d_fake"]), least=0.9,
    )  # fmt: skip


def _gap(means: Mapping[str, float]) -> float:
    return means["d_real"] - means["d_fake"]


CRITIC_HAS_WON = Sign(
    "the generator does not catch up with the critic",
    "another --lr, --spectral-norm or a larger --width",
    ("d_real", "d_fake"),
    _gap,
    least=0.5,
    of_largest=True,
    lasting=500,
)
"""That the means of a critic stay as far apart as they ever were, or nearly."""
