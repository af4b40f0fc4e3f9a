"""Make the judges that come with the package: `python -m gencli.evaluation.make_judges NAME ...`.

A judge each of the images as they come, in gencli/evaluation/judges/NAME.safetensors. Other sizes
and binarisations have judges of their own, trained on first use like those of all other data.
"""

from __future__ import annotations

import sys

from gencli.data.load import load
from gencli.data.options import DataOptions
from gencli.evaluation.judge import PACKAGED, train, write


def main(names: list[str]) -> None:
    """Train a judge for each name, write it and say its hash and accuracy."""
    for name in names:
        judge = train(load(DataOptions(name)))
        path = PACKAGED / f"{name}.safetensors"
        write(path, judge)
        print(f"{path.name}: {judge.hash}, accuracy {judge.facts.accuracy:.4f}")


if __name__ == "__main__":
    main(sys.argv[1:])
