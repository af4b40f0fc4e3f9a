"""Write docs/reference.md from every command's --help, and docs/models.md from the table of models.

In docs/results.md the rows that end in `<!-- RECIPE:METRIC -->` are written from recipes' figures.

python docs/generate.py            write the pages
python docs/generate.py --check    fail when a page is out of date
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import inspect
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from itertools import takewhile
from pathlib import Path

from gencli import recipe, registry
from gencli.config import Config, Field, bounds, fields_of, required_type, takes
from gencli.registry import ModelSpec

DOCS = Path(__file__).parent
NOTE = "<!-- Written by docs/generate.py with Typer {typer}; do not edit. -->\n\n"
ABILITIES = {
    "log_prob": "exact likelihood",
    "bound": "bound on the likelihood",
    "energy": "energy",
    "log_partition": "likelihood by annealed importance sampling",
    "latent": "latent space (`interpolate`, `export --format onnx`)",
    "encoder": "encoder",
    "embedding": "walks between classes or captions (`interpolate --from-prompt`)",
    "assignments": "clusters",
    "log_weights": "importance sampling",
    "completion": "completion (`sample --complete`)",
}


def help_of(*command: str) -> str:
    """What `gencli COMMAND --help` prints, 100 columns wide, without colours and boxes."""
    ours = ("GENCLI_", "TYPER_", "GITHUB_", "FORCE_COLOR", "PY_COLORS", "COLORTERM")
    environment = {k: v for k, v in os.environ.items() if not k.startswith(ours)}
    environment |= {
        "COLUMNS": "100",
        "TERMINAL_WIDTH": "100",
        "TERM": "dumb",
        "NO_COLOR": "1",
        "PYTHONIOENCODING": "utf-8",
        "PYTHONPATH": os.pathsep.join([str(DOCS.parent), os.environ.get("PYTHONPATH", "")]),
    }
    done = subprocess.run(
        [sys.executable, "-m", "gencli", *command, "--help"],
        env=environment,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"gencli {' '.join(command)} --help failed:\n{done.stderr}")
    return without_boxes(done.stdout)


def without_boxes(text: str) -> str:
    """Help in panels as plain text: a panel's title with a colon, its lines indented."""
    lines = []
    for line in text.splitlines():
        if line.startswith("╭"):
            lines.append(line.strip("╭─╮ ") + ":")
        elif line.startswith("╰"):
            lines.append("")
        elif line.startswith("│"):
            lines.append(" " + line[1:-1].rstrip())
        elif line.strip() or (lines and lines[-1]):
            lines.append(line[1:].rstrip())
    return "\n".join(lines).strip()


def own_options(text: str) -> str:
    """The part of a training command's help that belongs to the model alone."""
    lines = text.splitlines()
    start = next((i for i, line in enumerate(lines) if line.startswith("Options of ")), None)
    return "" if start is None else "\n".join(takewhile(bool, lines[start:]))


def commands_in(text: str) -> list[str]:
    """Names of the commands that a help text lists."""
    _, _, listed = text.partition("\nCommands:\n")
    return re.findall(r"^  (\S+)", listed.partition("\n\n")[0], re.MULTILINE)


def reference() -> str:
    """The page of all commands."""
    models = list(registry.models())
    root = help_of()
    of_runs = commands_in(help_of("runs"))
    commands = [
        *((c,) for c in commands_in(root)),
        *(("train", name) for name in models),
        *(("runs", name) for name in of_runs),
    ]
    with ThreadPoolExecutor() as pool:
        texts = dict(zip(commands, pool.map(lambda c: help_of(*c), commands), strict=True))
    return "\n".join(_reference(root, texts, models))


def _reference(root: str, texts: dict[tuple[str, ...], str], models: list[str]) -> Iterator[str]:
    yield "# Commands\n\nWhat `--help` says. Results go to stdout, everything else to stderr.\n"
    yield _section("gencli", root)
    for command in commands_in(root):
        yield _section(f"gencli {command}", texts[(command,)])
        if command == "train":
            yield from _training(texts, models)
        if command == "runs":
            for name in commands_in(texts[("runs",)]):
                yield _section(f"gencli runs {name}", texts[("runs", name)], level=3)


def _training(texts: dict[tuple[str, ...], str], models: list[str]) -> Iterator[str]:
    first, *others = models
    yield (
        f"The options under *Run* and *Training* are the same for every model; the defaults of "
        f"*Training* are the model's own. Here with those of `{first}`:\n"
    )
    yield _section(f"gencli train {first}", texts[("train", first)], level=3)
    for name in others:
        yield _section(f"gencli train {name}", own_options(texts[("train", name)]), level=3)


def _section(title: str, text: str, level: int = 2) -> str:
    return f"{'#' * level} {title}\n\n```text\n{text}\n```\n"


def models_page() -> str:
    """The page of all models."""
    specs = list(registry.models().values())
    return "\n".join(_models_page(specs))


def _models_page(specs: list[ModelSpec]) -> Iterator[str]:
    yield "# Models\n\n`gencli train MODEL` trains one; `gencli info MODEL` says what is here.\n"
    yield table(
        ("Model", "What it is", "Family", "Can", "Source"),
        [
            (f"[`{s.name}`](#{s.name})", s.summary, s.family, _abilities(s), linked(s.paper))
            for s in specs
        ],
    )
    for spec in specs:
        config = spec.options()
        yield f"## {spec.name}\n"
        if spec.aliases:
            yield f"Also called {', '.join(f'`{alias}`' for alias in spec.aliases)}.\n"
        yield _docstring(spec.module) + "\n"
        yield from _pictures(spec, {s.name for s in specs})
        yield table(("Option", "Takes", "Default", "Meaning"), map(_option, fields_of(config)))
        for verb, options in (
            ("sample", config.Sampling),
            ("interpolate", config.Decoding),
            ("evaluate", config.Measuring),
        ):
            if fields_of(options):
                yield f"Of `gencli {verb}`:\n"
                yield table(
                    ("Option", "Takes", "Default", "Meaning"), map(_option, fields_of(options))
                )
        yield f"Of the common options, the defaults are `{_defaults(config)}`.\n"


def _pictures(spec: ModelSpec, models: set[str]) -> Iterator[str]:
    """Those in docs/images named MODEL or MODEL-SOMETHING, unless a longer model's name fits."""
    for path in sorted((DOCS / "images").glob("*.*")):
        names = (m for m in models if path.stem == m or path.stem.startswith(f"{m}-"))
        if max(names, key=len, default=None) == spec.name:
            what = path.stem.removeprefix(spec.name).strip("-").replace("-", " ")
            yield f"![{what or 'Samples'} of {spec.name}](images/{path.name})\n"


def linked(text: str) -> str:
    """Text with its arXiv ids as links."""
    return re.sub(r"arXiv:(\d{4}\.\d{4,5})", r"[arXiv:\1](https://arxiv.org/abs/\1)", text)


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """A Markdown table."""
    lines = [head, ("---",) * len(head), *rows]
    return "".join(
        "| " + " | ".join(cell.replace("|", r"\|") for cell in line) + " |\n" for line in lines
    )


def _abilities(spec: ModelSpec) -> str:
    known = [text for name, text in ABILITIES.items() if name in spec.abilities]
    return ", ".join(["samples", *known])


def _docstring(module: str) -> str:
    lines = (inspect.getdoc(importlib.import_module(module)) or "").splitlines()
    return "\n".join(line if line.startswith("    ") else linked(line) for line in lines)


def _option(field: Field) -> tuple[str, str, str, str]:
    wanted = takes(field)
    if field.min is not None or field.max is not None:
        wanted += f", {bounds(field)}"
    flag = f"`{field.flag}`"
    if required_type(field.type) is bool:
        flag += f", `--no-{field.flag[2:]}`"
    return (
        flag,
        wanted,
        f"`{_text(field.default)}`" if field.default is not None else "",
        field.help,
    )


def _text(value: object) -> str:
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)


def _defaults(config: type[Config]) -> str:
    training = config.training
    values = [(f.name, getattr(training, f.name)) for f in dataclasses.fields(training)]
    return " ".join(f"--{k.replace('_', '-')} {_text(v)}" for k, v in values if v is not None)


def results() -> str:
    """The page of figures, with the rows of recipes as the recipes have them."""
    page = (DOCS / "results.md").read_text(encoding="utf-8")
    return re.sub(r"^\|.*<!-- ([\w-]+):(\w+) -->.*$", lambda m: row(m[1], m[2]), page, flags=re.M)


def row(name: str, metric: str) -> str:
    """A row of the table of likelihoods: one figure of a recipe."""
    figures = recipe.find(name).figures
    if figures is None or metric not in [figure.metric for figure in figures.of]:
        raise SystemExit(f"docs/results.md: the recipe {name} has no figure {metric}")
    figure = next(figure for figure in figures.of if figure.metric == metric)
    first = figure is figures.of[0]
    how = figure.by or ("exact" if figure.kind == "exact" else "")
    took = f"{figures.training}, {figures.seconds:,} s {figures.beside}".strip()
    cells = [
        figures.title if first else "the same",
        figure.text,
        f"`{metric}`{f', {how}' if how else ''}",
        f"{figures.weights}, {figures.evaluate.get('checkpoint', 'last')}",
        str(figures.reads) if first else "",
        took if first else "",
        f"{figure.sources} <!-- {name}:{metric} -->".strip(),
    ]
    return f"| {' | '.join(cells)} |".replace("|  |", "| |").replace("|  |", "| |")


PAGES: dict[str, Callable[[], str]] = {
    "reference.md": reference,
    "models.md": models_page,
    "results.md": results,
}


def stale_pages() -> list[str]:
    """Names of the pages that are missing or out of date.

    Typer words and lays out the help, so the reference is compared only under the version that it
    was written with.
    """
    note, stale = NOTE.format(typer=version("typer")), []
    for name, write in PAGES.items():
        page = DOCS / name
        there = page.read_text(encoding="utf-8") if page.exists() else note
        if write is results:
            stale += [name] if there != write() else []
        elif write is reference and not there.startswith(note):
            print(f"{name} was written with another Typer than is installed: not compared.")
        elif there.partition("\n\n")[2] != write():
            stale.append(name)
    return stale


def main(arguments: list[str] | None = None) -> int:
    """Write or check the pages; 1 when a page is out of date."""
    parser = argparse.ArgumentParser(description="Write the generated pages of the documentation.")
    parser.add_argument("--check", action="store_true", help="write nothing; fail when out of date")
    if parser.parse_args(arguments).check:
        stale = stale_pages()
        for name in stale:
            print(f"{name} is out of date: run python docs/generate.py")
        return int(bool(stale))
    for name, write in PAGES.items():
        note = "" if write is results else NOTE.format(typer=version("typer"))
        text = note + write()
        (DOCS / name).write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
