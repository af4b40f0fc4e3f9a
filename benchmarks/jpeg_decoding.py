"""Reading a folder of JPEG files: gencli's first reading against torchvision's ImageFolder.

    python benchmarks/jpeg_decoding.py [--images 50000] [--size 32] [--folder PATH] [--pairs 3]

gencli decodes every file once, into its cache on disk, on all cores. The plain program goes through
an ImageFolder with ToTensor once, by a DataLoader with two workers, as each of its epochs does. In
alternation, each in a process of its own that has imported what it needs; files are in the
system's cache. The folder is made first, of 1,000 different files and links to them, unless given.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path

from common import alternate, child, report
from mapped_data import make_folder


def ours(folder: str, size: int) -> int:
    """Images that gencli reads, into a cache of its own."""
    from gencli.data.load import load
    from gencli.data.options import DataOptions

    with tempfile.TemporaryDirectory() as home:
        os.environ["GENCLI_HOME"] = home
        data = load(DataOptions(folder, image_size=size, val=0))
        return len(data.train) + len(data.test)


def plain(folder: str, size: int) -> int:
    """Images that torchvision reads in one epoch."""
    from torch.utils.data import DataLoader
    from torchvision import datasets, transforms

    to_tensor = transforms.Compose([transforms.Resize(size), transforms.ToTensor()])
    loader = DataLoader(datasets.ImageFolder(folder, to_tensor), batch_size=128, num_workers=2)
    return sum(len(images) for images, _ in loader)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=50_000)
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--folder", help="of JPEG files, in a folder for each class")
    parser.add_argument("--only", choices=["ours", "plain"], help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.only:
        import torchvision  # noqa: F401 - so that its import is not timed

        import gencli.data.load  # noqa: F401 - the same

        began = time.perf_counter()
        n = {"ours": ours, "plain": plain}[args.only](args.folder, args.size)
        print(n / (time.perf_counter() - began))
        return
    with tempfile.TemporaryDirectory() as made:
        if args.folder is None:
            make_folder(Path(made), args.images, args.size)
        of = ("--folder", args.folder or made, "--size", str(args.size))
        rates = alternate(
            lambda: child(__file__, *of, "--only", "ours"),
            lambda: child(__file__, *of, "--only", "plain"),
            args.pairs,
        )
    report("decoding", *rates, unit="images/s")


if __name__ == "__main__":
    main()
