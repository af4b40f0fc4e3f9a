"""Closed lists of names, and a type, that several rooms share. No torch here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

Binarization = Literal["none", "static", "dynamic", "threshold"]
"""How grey values become zeros and ones."""

ConditionKind = Literal["labels", "text", "source"]
"""What a model may be told beside an image: its class, its caption, another image."""

CONDITIONS: dict[ConditionKind, str] = {
    "labels": "classes",
    "text": "captions",
    "source": "source images",
}
"""What each kind of condition is called in messages."""

SourceKind = Literal["none", "edges", "grey", "half", "small", "mask"]
"""How a source image is derived from an image: `gencli.data.source_images` says what each is."""

Source = Literal["none", "edges", "grey", "half", "small", "mask", "given"]
"""Where source images come from: derived, or given beside the images."""

Progress = Callable[[str, int, int], None]
"""Told of work that takes its time: what it is, how much is done, of how much; 0 if not known."""
