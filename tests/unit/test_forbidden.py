"""What no file of the package may use: code from text, its own parsing of code, and pickle."""

import ast
from pathlib import Path

import pytest

import gencli

CALLS = {"exec", "eval", "compile"}
MODULES = {"ast", "pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"}
TORCH = {"torch.load", "torch.save", "torch.jit.load", "torch.hub.load"}  # these pickle


def forbidden(code: str) -> list[str]:
    """The forbidden names that a file's code uses."""
    found = []
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            found += [called] if called in CALLS | TORCH else []
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        found += [name for name in names if name.partition(".")[0] in MODULES]
    return found


@pytest.mark.parametrize(
    "code",
    [
        "exec('1')", "eval('1')", "def f():\n    import pickle", "from ast import parse",
        "import torch\ntorch.load('x')",
    ],
)  # fmt: skip
def test_is_found(code: str) -> None:
    assert forbidden(code)


def test_methods_of_the_same_name_are_not_meant() -> None:
    assert not forbidden("model.eval()\nmodule.compile()\nre.compile('x')")


def test_no_file_of_the_package_uses_any() -> None:
    files = sorted(Path(gencli.__file__).parent.rglob("*.py"))
    assert len(files) > 100
    assert {file.name: names for file in files if (names := forbidden(file.read_text()))} == {}
