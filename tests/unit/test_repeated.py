"""No six lines of the package stand twice, but what docs/architecture.md says why."""

import re
from collections import defaultdict
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

import gencli

LEAST = 6

OVERRIDES = "what takes a method's place, or keeps a protocol, has its signature"
OPTIONS = "a signature states a model's own options, with their defaults"
COMMANDS = "Typer reads a command's parameters off its signature"
FRAMES = "what a step that ran out of memory holds is freed with its frame"
REPEATED = [
    (10, OVERRIDES, {"base.NoiseToImage.solve", "ddpm.DDPM.solve",
                     "flow_matching.FlowMatching.solve"}),
    (9, OVERRIDES, {"base.AutoregressiveModel.draw", "made.MADE.draw",
                    "transformer.Transformer.draw"}),
    (6, OVERRIDES, {"abilities.HasCompletion.complete", "base.AutoregressiveModel.complete",
                    "d3pm.D3PM.complete", "linear_gaussian.LinearGaussian.complete"}),
    (7, OPTIONS, {"rbm.RBM.sample", "dbn.DBN.sample", "dbm.DBM.sample"}),
    (9, COMMANDS, {"interpolate.interpolate", "reconstruct.reconstruct"}),
    (6, COMMANDS, {"info.info", "inspect.inspect"}),
    (9, FRAMES, {"fitting.fit", "fitting._fit"}),
]  # fmt: skip
"""So many lines at the most, why, and where."""

PASSED_OVER = re.compile(
    r'r?"""[\s\S]*?"""|^ *(?:from \S+ )?import (?:\([^)]*\)|.*)|#.*', re.MULTILINE
)


class Line(NamedTuple):
    """A line of code and where it stands: file, and module, class and function."""

    text: str
    file: str
    place: str


def lines_of(source: str, file: str) -> list[Line]:
    """The lines of code: neither docstrings nor comments, imports and lone brackets."""
    lines, around = [Line(f"# {file}", file, "")], dict[int, str]()
    for text in PASSED_OVER.sub("", source).splitlines():
        if not re.search(r"\w", text):
            continue
        if begins := re.match(r"( *)(?:class|def) (\w+)", text):
            indent = len(begins[1])
            around = {n: name for n, name in around.items() if n < indent} | {indent: begins[2]}
        elif not text.startswith((" ", ")")):
            around = {}
        lines.append(Line(text.strip(), file, ".".join((Path(file).stem, *around.values()))))
    return lines


def repeats(lines: list[Line]) -> list[tuple[int, Line, Line]]:
    """The runs of `LEAST` lines and more that stand twice: how many, and the first of each."""
    starts = defaultdict[tuple[str, ...], list[int]](list)
    texts = [line.text for line in lines]
    for i in range(1, len(texts) - LEAST + 1):
        starts[tuple(texts[i : i + LEAST])].append(i)
    found = []
    for i, j in (pair for places in starts.values() for pair in combinations(places, 2)):
        if texts[i - 1] != texts[j - 1] and j - i >= LEAST:
            same = (n for n, (a, b) in enumerate(zip(texts[i:], texts[j:], strict=False)) if a != b)
            found.append((next(same, len(texts) - j), lines[i], lines[j]))
    return found


def test_a_copy_is_found() -> None:
    body = "".join(f"    step({i})\n" for i in range(LEAST))
    lines = lines_of(f"class A:\n  def f():\n{body}", "a") + lines_of(f"def g():\n{body}", "b")
    assert [(n, a.place, b.place) for n, a, b in repeats(lines)] == [(LEAST, "a.A.f", "b.g")]
    assert not repeats(lines_of(f'"""{body}"""\n\n"""{body}"""', "a"))


def test_nothing_stands_twice_but_what_is_said_why() -> None:
    folder = Path(gencli.__file__).parent
    lines = [
        line
        for path in sorted(folder.rglob("*.py"))
        for line in lines_of(path.read_text(), str(path.relative_to(folder)))
    ]
    found, told, unused = repeats(lines), list[str](), [*range(len(REPEATED))]
    for n, a, b in found:
        known = [
            k for k, (most, _, places) in enumerate(REPEATED)
            if n <= most and {a.place, b.place} <= places
        ]  # fmt: skip
        unused = [k for k in unused if k not in known]
        if not known:
            told.append(f"{n} lines of {a.file}, {a.place}, are in {b.file}, {b.place}: {a.text}")
    assert told == [], "fold them into one, or say in REPEATED why not"
    assert [REPEATED[k] for k in unused] == [], "these no longer repeat"
