"""What is known of the files of a folder of images without decoding them, for `gencli inspect`."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from io import BytesIO
from pathlib import Path

from PIL import Image

from gencli.data.decode import BROKEN, FORMATS, strict_pillow
from gencli.data.folder_files import each, scan
from gencli.kinds import Progress

_FORMATS = {
    **dict.fromkeys((".jpg", ".jpeg", ".jpe", ".jfif"), "JPEG"),
    **dict.fromkeys((".tif", ".tiff"), "TIFF"),
    **dict.fromkeys((".ppm", ".pgm", ".pbm", ".pnm"), "PPM"),
    **{f".{name}": name.upper() for name in ("png", "bmp", "gif", "webp")},
}
_HUGE = 16.0
"""Times the median number of pixels from which on an image is called huge."""


@dataclass(frozen=True)
class Files:
    """The files of a folder.

    Attributes:
        names: Of all that have an image's suffix, relative to the folder.
        other: How many are neither images nor captions, by suffix.
        bytes: Of all images together.
        formats: How many images there are of each format.
        sizes: Width and height of each image whose header can be read, by name.
        misnamed: Files whose content is of another format than their suffix says: name -> format.
        same: Groups of names whose files are the same to the byte.
        huge: Names of images with far more pixels than the median.
    """

    names: Sequence[str]
    other: dict[str, int]
    bytes: int
    formats: dict[str, int]
    sizes: dict[str, tuple[int, int]] = field(repr=False)
    misnamed: dict[str, str]
    same: Sequence[Sequence[str]]
    huge: Sequence[str]


def describe_files(root: Path, progress: Progress | None = None) -> Files:
    """Look at every file under a folder: its suffix, its content's hash, its header.

    Raises:
        DataError: If the folder cannot be read.
    """
    found = scan(root)
    names = [name for name, *_ in found.images]
    with strict_pillow():
        looks = each(lambda name: _look(root / name), names, f"looking at {root.name}", progress)
    by_hash: defaultdict[str, list[str]] = defaultdict(list)
    sizes: dict[str, tuple[int, int]] = {}
    kinds: dict[str, str] = {}
    for name, (hashed, kind, size) in zip(names, looks, strict=True):
        if hashed:
            by_hash[hashed].append(name)
        if size is not None:
            sizes[name], kinds[name] = size, kind
    areas = sorted(w * h for w, h in sizes.values())
    median = areas[len(areas) // 2] if areas else 0
    return Files(
        names,
        dict(Counter(Path(name).suffix.lower() or "no suffix" for name in found.others)),
        sum(size for _, size, _ in found.images),
        dict(Counter(kinds.values()).most_common()),
        sizes,
        {n: kind for n, kind in kinds.items() if _FORMATS[Path(n).suffix.lower()] != kind},
        [group for group in by_hash.values() if len(group) > 1],
        [name for name, (w, h) in sizes.items() if w * h > _HUGE * median],
    )


def _look(path: Path) -> tuple[str, str, tuple[int, int] | None]:
    """Hash of the content, format and size; what cannot be read is empty or None."""
    try:
        content = path.read_bytes()
    except OSError:
        return "", "", None  # decoding will say why
    kind, size = "", None
    try:
        with Image.open(BytesIO(content), formats=FORMATS) as image:
            kind, size = image.format or "", image.size
    except BROKEN:
        pass
    return blake2b(content, digest_size=16).hexdigest(), kind, size
