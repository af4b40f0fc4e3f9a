"""What these networks are told of captions: see `gencli.models.text`."""

from gencli.models.text import CaptionEncoder, with_gaps

__all__ = ["CaptionEncoder", "with_gaps"]
