"""The lessons as on Colab: each alone in a folder, its set-up cell installing the course beside Colab's PyTorch.

A new environment sees what the running one has, PyTorch above all, but neither this course nor what the set-up cell
brings. A stub stands for the module google.colab, and git is told that the course's address means the files here.
"""

import importlib.metadata
import json
import os
import shutil
import subprocess
import sysconfig
import tomllib
import venv
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import notebooks as tool

pytestmark = [pytest.mark.slow, pytest.mark.skipif(os.name == "nt", reason="Colab is Linux")]
COURSE, ADDRESS = "mnist-lenet5-course", "https://github.com/course/course"
EXTRAS = tomllib.loads(tool.PYPROJECT.read_text("utf-8"))["project"]["optional-dependencies"]
BROUGHT = {COURSE} | {Requirement(line).name for extra in ("tfrecords", "draw", "onnx") for line in EXTRAS[extra]}
STATE = """
import json
from importlib import metadata
found = [each for each in metadata.distributions() if each.metadata["Name"]]
print(json.dumps({each.metadata["Name"].lower(): [each.version, str(each.locate_file(""))] for each in found}))
"""
STUB = "import sys, types\nsys.modules['google.colab'] = types.ModuleType('google.colab')\n"


@pytest.fixture(scope="module")
def colab(tmp_path_factory):
    """A function that runs Python as on a fresh Colab machine, and returns what it printed."""
    base = tmp_path_factory.mktemp("colab")
    repository = base / "repository"
    ignore = shutil.ignore_patterns(".git", ".venv*", "build", "*.egg-info", "__pycache__")
    shutil.copytree(tool.ROOT, repository, ignore=ignore)
    commit = ["-c", "user.name=course", "-c", "user.email=course@example.org", "commit", "--quiet", "--message", "now"]
    for command in (["init", "--quiet"], ["add", "--all", "--force"], commit):
        subprocess.run(["git", *command], cwd=repository, check=True)

    own, there = base / "venv", base / "already there"
    venv.create(own, with_pip=False)
    there.mkdir()
    hidden = {"mnistlib", "__pycache__"}
    for found in importlib.metadata.distributions():
        if canonicalize_name(found.metadata["Name"] or "") in BROUGHT:
            hidden |= {path.parts[0] for path in found.files or ()}
    for entry in Path(sysconfig.get_paths()["purelib"]).iterdir():
        if entry.name not in hidden and not entry.name.startswith("__editable__"):
            (there / entry.name).symlink_to(entry)
    (packages,) = own.glob("lib/python*/site-packages")
    (packages / "colab.pth").write_text(f"{there}\n", "utf-8")
    startup = base / "ipython" / "profile_default" / "startup"
    startup.mkdir(parents=True)
    (startup / "00-colab.py").write_text(STUB, "utf-8")

    (base / ".gitconfig").write_text(f'[url "{repository.as_uri()}"]\ninsteadOf = {ADDRESS}\n[safe]\ndirectory = *\n')
    ours = ("PYTHON", "JUPYTER", "MNISTLIB_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    kept |= {"HOME": str(base), "IPYTHONDIR": str(base / "ipython"), "MNISTLIB_DATA": str(base / "data")}

    def run(*arguments):
        command = [str(own / "bin" / "python"), *map(str, arguments)]
        done = subprocess.run(command, cwd=base, env=kept, capture_output=True, text=True, timeout=1200)
        assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-6000:]}"
        return done.stdout

    return run


@pytest.mark.parametrize("path", tool.lessons(), ids=lambda path: path.stem)
def test_the_lesson_runs_and_leaves_pytorch_as_it_is(path, colab, tmp_path):
    before = json.loads(colab("-c", STATE))
    notebook = tool.read(path)
    (setup,) = (cell for cell in notebook["cells"] if cell["id"] == "setup")
    setup["source"] = tool.SETUP + tool.INSTALL.format(ADDRESS)
    (tmp_path / path.name).write_text(tool.as_text(notebook), "utf-8")
    command = ["-m", "nbconvert", "--to", "notebook", "--inplace", "--execute", "--ExecutePreprocessor.timeout=600"]
    colab(*command, tmp_path / path.name)
    said = json.dumps([cell["outputs"] for cell in tool.read(tmp_path / path.name)["cells"] if cell["id"] == "setup"])
    assert "ERROR" not in said  # a pip that fails does not end the cell
    after = json.loads(colab("-c", STATE))
    assert {name: after.get(name) for name in before} == before, "the set-up cell replaced something, perhaps PyTorch"
    assert after.keys() >= BROUGHT
