"""What no file of the package may use: code from text, its own parsing of code, pickle, and names
that others keep to themselves."""

import ast
from pathlib import Path

import pytest

import gencli

CALLS = {"exec", "eval", "compile"}
MODULES = {"ast", "pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"}
TORCH = {"torch.load", "torch.save", "torch.jit.load", "torch.hub.load"}  # these pickle

OTHERS_OWN = {
    "_asdict", "_replace", "_exit",  # documented, of named tuples and of os
    "_foreach_add_", "_foreach_div_", "_foreach_lerp_", "_foreach_norm", "_foreach_zero_",  # torch
    "_is_amx_tile_supported", "_is_avx512_bf16_supported",  # torch has no public name for these
    "_buffers", "_non_persistent_buffers_set", "_parameters",  # nor for the last of these
    "_Decompress",  # zlib has none for this type
}  # fmt: skip
"""Those that are used all the same."""


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


def private(code: str) -> set[str]:
    """Attributes with a leading underscore of anything but the object itself or its class."""
    return {
        node.attr
        for node in ast.walk(ast.parse(code))
        if isinstance(node, ast.Attribute)
        and node.attr.startswith("_")
        and not node.attr.startswith("__")
        and ast.unparse(node.value) not in ("self", "cls")
    }


def test_what_others_keep_to_themselves_is_not_used() -> None:
    assert private("network._compiled_call_impl") == {"_compiled_call_impl"}
    used = {
        (file.name, name)
        for file in Path(gencli.__file__).parent.rglob("*.py")
        for name in private(file.read_text()) - OTHERS_OWN
    }
    assert not used
