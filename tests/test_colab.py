"""The notebooks as on Colab: each alone in a folder, its set-up cell fetching the course beside a PyTorch that is there.

Slow, and pip needs a package index; so this runs only with the environment variable COURSE_COLAB=1:

    COURSE_COLAB=1 python -m pytest tests/test_colab.py -k 02_count

A new environment sees what the running one has, PyTorch above all, but neither this course nor what the set-up cell
brings. A stub stands for the module google.colab, and git is told that the repository's address means these files.
"""

import importlib.metadata
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import venv
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
spec = importlib.util.spec_from_file_location("notebooks_tool", ROOT / "tools" / "notebooks.py")
tool = importlib.util.module_from_spec(spec)
spec.loader.exec_module(tool)

COURSE = "mnist-lenet5-course"
ASKED = re.search(rf'"{COURSE}\[([\w,]+)\] @ git\+', tool.setup_source())[1].split(",")
EXTRAS = tomllib.loads(tool.PYPROJECT.read_text("utf-8"))["project"]["optional-dependencies"]
BROUGHT = {canonicalize_name(Requirement(line).name) for extra in ASKED for line in EXTRAS[extra]}  # by the set-up cell

pytestmark = pytest.mark.skipif(
    os.environ.get("COURSE_COLAB") != "1", reason="slow, and needs a package index: set COURSE_COLAB=1 to run it"
)
every = pytest.mark.parametrize(
    "path", tool.course() + tool.solutions(), ids=lambda path: path.relative_to(ROOT / "notebooks").with_suffix("").as_posix()
)

# What is installed, as pip sees it, and every file of PyTorch with its size and time.
STATE = """
import json, os, torch, torchvision
from importlib import metadata
from pathlib import Path
folders = [Path(module.__file__).resolve().parent for module in (torch, torchvision)]
files = [path for folder in folders for path in folder.rglob("*") if path.suffix != ".pyc" and path.is_file()]
print(json.dumps({
    "installed": sorted({(d.metadata["Name"].lower(), d.version) for d in metadata.distributions() if d.metadata["Name"]}),
    "torch": [torch.__version__, torch.__file__, torchvision.__version__, torchvision.__file__],
    "files": sorted((str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in files),
}))
"""
# Colab's kernel has this module loaded before the first cell; IPython runs the files of this folder first.
STUB = "import sys, types\nsys.modules['google.colab'] = types.ModuleType('google.colab')\n"


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    """A git repository of the files of this folder as they are now, committed or not."""
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        names = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("needs a git checkout")
    folder = tmp_path_factory.mktemp("repository")
    for name in filter(None, names):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, folder / name)
    who = ["-c", "user.name=course", "-c", "user.email=course@example.org", "-c", "core.autocrlf=false"]
    for command in (["init", "--quiet"], ["add", "--all", "--force"], ["commit", "--quiet", "--message", "as it is now"]):
        subprocess.run(["git", *who, *command], cwd=folder, check=True, capture_output=True)
    return folder


@pytest.fixture
def colab(tmp_path, repository):
    """A function that runs Python as on a fresh Colab machine, and returns what it printed."""
    own = tmp_path / "venv"
    venv.create(own, with_pip=False)
    paths = sysconfig.get_paths("venv", vars={"base": str(own), "platbase": str(own), "installed_base": str(own)})
    there = tmp_path / "already there"
    there.mkdir()
    hidden = hidden_names()
    for entry in Path(sysconfig.get_paths()["purelib"]).iterdir():
        if entry.name not in hidden:
            (there / entry.name).symlink_to(entry)
    Path(paths["purelib"], "colab.pth").write_text(f"{there}\n", "utf-8")
    python = Path(paths["scripts"]) / Path(sys.executable).name

    startup = tmp_path / "ipython" / "profile_default" / "startup"
    startup.mkdir(parents=True)
    (startup / "00-colab.py").write_text(STUB, "utf-8")
    settings = {f"url.{repository.as_uri()}.insteadOf": tool.repository(), "safe.directory": "*"}
    git = {"GIT_CONFIG_COUNT": str(len(settings))}
    for i, (key, value) in enumerate(settings.items()):
        git |= {f"GIT_CONFIG_KEY_{i}": key, f"GIT_CONFIG_VALUE_{i}": value}
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "JUPYTER", "MNISTLIB_"))}
    variables = {**kept, **git, "IPYTHONDIR": str(tmp_path / "ipython"), "MNISTLIB_DATA": str(tmp_path / "data")}
    variables |= {"JUPYTER_DATA_DIR": str(tmp_path / "jupyter"), "PIP_DISABLE_PIP_VERSION_CHECK": "1"}

    def run(*arguments):
        command = [str(python), *map(str, arguments)]
        done = subprocess.run(command, cwd=tmp_path, env=variables, capture_output=True, text=True, timeout=1200)
        assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-6000:]}"
        return done.stdout

    return run


def hidden_names():
    """The entries of the running environment that Colab has not: this course, and what the set-up cell brings."""
    names = set()
    for found in importlib.metadata.distributions():
        name = canonicalize_name(found.metadata["Name"] or "")
        if name == COURSE or name in BROUGHT:
            names |= {path.parts[0] for path in found.files or ()}
    return names | {"mnistlib", "__pycache__"}


@every
def test_the_notebook_runs_twice_and_leaves_pytorch_as_it_is(path, colab, tmp_path):
    before = json.loads(colab("-c", STATE))
    names = {name for name, _ in before["installed"]}
    assert "torch" in names
    assert names.isdisjoint({COURSE, *BROUGHT})

    for time in ("first", "second"):
        folder = tmp_path / time
        folder.mkdir()
        shutil.copy(path, folder)
        execute = ["-m", "nbconvert", "--to", "notebook", "--inplace", "--execute", "--ExecutePreprocessor.timeout=600"]
        colab(*execute, folder / path.name)
        code = [cell for cell in tool.read(folder / path.name)["cells"] if cell["cell_type"] == "code"]
        assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
        said = "".join("".join(output.get("text", "")) for output in code[0]["outputs"])
        assert "ERROR" not in said  # a pip that fails does not end the cell

        after = json.loads(colab("-c", STATE))
        assert after["torch"] == before["torch"]
        assert after["files"] == before["files"]
        kept = [pair for pair in before["installed"] if pair not in after["installed"]]
        assert kept == [], "the set-up cell replaced these"
        assert {name for name, _ in after["installed"]} >= {COURSE, *BROUGHT}
