"""The package as a whole: its names, and that imports go one way."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import mnistlib

FOLDER = Path(mnistlib.__file__).parent
LEVELS = {  # a module imports only modules of a lower level
    "augmentation": 0,
    "checks": 0,
    "files": 0,
    "runs": 1,
    "datasets": 1,
    "lenet1998": 1,
    "networks": 2,
    "tfrecords": 2,
    "counting": 3,
    "checkpoints": 3,
    "evaluation": 3,
    "tracing": 3,
    "training": 4,
    "ensembles": 5,
    "plots": 5,
    "comparisons": 6,
    "diagrams": 6,
    "drawing": 6,
    "experiments": 6,
    "hiragana": 6,
    "reports": 6,
    "exercises": 7,
    "sweeps": 7,
    "pictures": 8,
}


def imported_modules(path):
    """The modules of mnistlib that a file imports, also inside functions."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[2] for alias in node.names if alias.name.split(".")[0] == "mnistlib"}
        elif isinstance(node, ast.ImportFrom) and (node.level or node.module.split(".")[0] == "mnistlib"):
            inside = (node.module or "") if node.level else node.module.partition(".")[2]
            found |= {inside} if inside else {alias.name for alias in node.names}
    return found


@pytest.mark.parametrize("name", mnistlib.__all__)
def test_every_public_name_resolves(name):
    assert getattr(mnistlib, name) is not None
    assert name in dir(mnistlib)


def test_every_public_name_is_documented():
    undocumented = [name for name in mnistlib.__all__ if name != "NETWORKS" and not getattr(mnistlib, name).__doc__]
    assert undocumented == []


def test_an_unknown_name_says_which_there_are():
    with pytest.raises(AttributeError, match="has no attribute 'lode'; it has load, fetch"):
        mnistlib.lode  # noqa: B018


def test_import_is_quick_since_it_leaves_torch_out():
    code = "import sys, mnistlib; print([m for m in ('torch', 'numpy', 'pandas', 'matplotlib') if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_every_module_has_its_place_in_the_order():
    modules = {path.stem for path in FOLDER.glob("*.py")} - {"__init__", "__main__", "doctor"}
    assert modules == set(LEVELS)


@pytest.mark.parametrize("module", LEVELS)
def test_imports_go_one_way(module):
    imported = imported_modules(FOLDER / f"{module}.py")
    assert imported <= set(LEVELS)
    assert [name for name in imported if LEVELS[name] >= LEVELS[module]] == []


def test_only_the_command_line_imports_the_doctor_and_nothing_imports_the_command_line():
    importers = {path.stem: imported_modules(path) for path in FOLDER.glob("*.py")}
    assert [name for name, imported in importers.items() if "doctor" in imported] == ["__main__"]
    assert [name for name, imported in importers.items() if "__main__" in imported] == []


def test_the_data_ships_with_the_package():
    shipped = sorted(path.name for path in (FOLDER / "data" / "MNIST" / "raw").glob("*.gz"))
    assert shipped == [
        "t10k-images-idx3-ubyte.gz",
        "t10k-labels-idx1-ubyte.gz",
        "train-images-idx3-ubyte.gz",
        "train-labels-idx1-ubyte.gz",
    ]
    assert sorted(path.name for path in (FOLDER / "data" / "FashionMNIST" / "sample").glob("*.gz")) == shipped
    assert (FOLDER / "data" / "FashionMNIST" / "LICENSE").is_file()
    assert (FOLDER / "weights" / "lenet5.pt").is_file()
