"""The package as a whole: its names, its size, that imports go one way, and that a wheel holds all of it."""

import ast
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import lines
import pytest

import mnistlib

FOLDER = Path(mnistlib.__file__).parent
ROOT = FOLDER.parent
COMMANDS = {"cli", "doctor", "__main__"}
MAY_IMPORT = {  # a part of the package, and the parts that it may import beside itself
    "base": set(),
    "core": {"base"},
    "exercises": {"base", "core"},
    "live": {"base", "core"},
    "lab": {"base", "core"},
    "show": {"base", "core", "lab"},
    "session": {"base", "core", "lab", "show"},
    "commands": {"base", "core", "exercises", "live", "lab", "show", "session"},
}


def part_of(module: str) -> str:
    """The part that a module's name belongs to: mnistlib.lab.sweep to lab, mnistlib.data to core."""
    name = module.split(".")[1] if "." in module else ""
    return "commands" if name in COMMANDS else name if name in MAY_IMPORT else "core"


def imported(path: Path) -> set[str]:
    """The modules of mnistlib that a file imports, also inside functions."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: imports in the package are absolute"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in found if name.split(".")[0] == "mnistlib"}


def test_imports_go_one_way():
    wrong = []
    for path in FOLDER.rglob("*.py"):
        part = part_of("mnistlib." + ".".join(path.relative_to(FOLDER).with_suffix("").parts))
        wrong += [(path.name, name) for name in imported(path) if part_of(name) not in MAY_IMPORT[part] | {part}]
    assert wrong == []


def test_no_part_is_longer_than_its_limit():
    limits = lines.LIMITS | {"mnistlib": 5003}  # the aim is 3,500; lower this number whenever a room gets smaller
    assert {part: count for part, count in lines.counts().items() if count > limits[part]} == {}


def test_every_public_name_resolves_and_is_documented():
    assert [name for name in mnistlib.__all__ if name not in dir(mnistlib)] == []
    assert [name for name in mnistlib.__all__ if name != "NETWORKS" and not getattr(mnistlib, name).__doc__] == []


def test_import_is_quick_since_it_leaves_torch_out():
    code = "import sys, mnistlib; print([m for m in ('torch', 'numpy', 'pandas', 'matplotlib') if m in sys.modules])"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


def test_without_torchvision_networks_are_counted_and_mnist_is_loaded_resized_and_read():
    code = """
import sys
sys.modules["torchvision"] = None  # an import of it fails
import mnistlib
net = mnistlib.pretrained("lenet5")
assert mnistlib.layer_table(net, (1, 32, 32)).loc["total", "parameters"] == 61706
print(mnistlib.evaluate(net, mnistlib.load("MNIST").test.take(100).resized(32)).accuracy)
try:
    mnistlib.load("KMNIST")
except mnistlib.DataError as error:
    assert "torchvision" in str(error), error
"""
    assert float(subprocess.check_output([sys.executable, "-c", code], text=True)) > 0.95


@pytest.mark.slow
def test_a_wheel_holds_every_file_of_the_package(tmp_path):
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", f"--wheel-dir={tmp_path / 'wheel'}"]
    ignore = shutil.ignore_patterns(".git", ".venv*", "build", "notebooks", "*.egg-info", "__pycache__")
    source = tmp_path / "course"
    shutil.copytree(ROOT, source, ignore=ignore)  # setuptools writes beside what it builds
    subprocess.run([*pip, str(source)], check=True)
    (wheel,) = (tmp_path / "wheel").iterdir()
    held = set(zipfile.ZipFile(wheel).namelist())
    own = [path for path in (source / "mnistlib").rglob("*") if path.is_file() and path.name != "README.md"]
    wanted = {path.relative_to(source).as_posix() for path in own}
    wanted |= {f"mnistlib/results/{path.name}" for path in (ROOT / "results").glob("*.json*")}
    assert wanted - held == set()
