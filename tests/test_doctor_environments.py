"""The doctor, run as a student runs it, in environments that are really broken, each in another way."""

import json
import os
import re
import shutil
import subprocess
import sys
import venv
from functools import partial
from pathlib import Path

import pytest

from mnistlib import doctor

pytestmark = pytest.mark.slow
ROOT = Path(doctor.__file__).resolve().parents[1]
CHECKS = set(doctor.checks())
# Packages that have nothing to do with the fault are empty here: importing the real ones takes seconds.
EMPTY = ["anywidget", "onnx", "onnxruntime", "pandas", "seaborn", "sklearn", "tfrecord", "torchinfo"]
NO_NETWORK = "import socket\ndef no(*_, **__):\n    raise OSError(101, 'unreachable')\nsocket.getaddrinfo = no\n"
FULL = "import errno, os\ndef full(*_):\n    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))\nos.fsync = full\n"
MISSING = """import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition('.')[0] == {0!r}:
            raise ModuleNotFoundError("No module named {0!r}", name={0!r})
sys.meta_path.insert(0, Missing())
"""


class Broken:
    """An environment to be broken: files first on PYTHONPATH, settings, and the folder in which the doctor is run."""

    def __init__(self, folder):
        self.folder, self.first, self.cwd, self.settings = folder, folder / "first", folder / "work", {}
        self.cwd.mkdir()
        for name in EMPTY:
            self.file(f"first/{name}.py", "")

    def file(self, name, text):
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
        return path

    def run(self):
        """The doctor's exit status, {check: text} of what is well and of the faults, its last line, and its stderr."""
        environment = {key: value for key, value in os.environ.items() if not key.startswith(("JUPYTER", "PYTHON"))}
        environment |= {"PYTHONPATH": os.pathsep.join([str(self.first), str(ROOT)]), "PYTHONDONTWRITEBYTECODE": "1"}
        environment |= {"PYTHONIOENCODING": "utf-8", "JUPYTER_DATA_DIR": str(self.folder / "no-jupyter")}
        environment |= {"MNISTLIB_DATA": str(self.folder / "data"), "OMP_NUM_THREADS": "1", **self.settings}
        command = [sys.executable, "-m", "mnistlib", "doctor"]
        options = {"capture_output": True, "encoding": "utf-8", "timeout": 600}
        result = subprocess.run(command, cwd=self.cwd, env=environment, **options)
        body, _, last = result.stdout.rstrip("\n").rpartition("\n")
        before, *parts = re.split(r"^\[(ok|fail)\] +([^:\n]+): ", body, flags=re.MULTILINE)
        assert before == "", result.stdout + result.stderr  # nothing before the first line
        lines = list(zip(parts[::3], parts[1::3], parts[2::3], strict=True))
        well, failed = ({name: text for state, name, text in lines if state == kind} for kind in ("ok", "fail"))
        return result.returncode, well, failed, last, result.stderr


def damaged(broken, name):
    """A copy of the package in the working folder, with one bit of one file changed, and no network."""
    ignore = shutil.ignore_patterns("__pycache__")
    path = Path(shutil.copytree(ROOT / "mnistlib", broken.cwd / "mnistlib", ignore=ignore), name)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    broken.file(SITE, NO_NETWORK)


def old_packages_and_a_broken_one(broken):
    for name, version in (("torch", "2.0.1+cu118"), ("pandas", "1.5.3")):
        text = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        broken.file(f"first/{name}-{version}.dist-info/METADATA", text)
    broken.file("first/seaborn.py", "raise ImportError('numpy.core.multiarray failed to import')\n")


def another_mnistlib_in_a_folder(broken):
    broken.file("first/mnistlib/__init__.py", "raise RuntimeError('this is another mnistlib')\n")
    broken.cwd = ROOT  # elsewhere, Python would start the other one


def a_kernel_of_another_python(broken):
    venv.create(broken.folder / "other", symlinks=os.name != "nt", with_pip=False)
    python = broken.folder / "other" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    broken.file("kernels/python3/kernel.json", json.dumps({"argv": [str(python)], "display_name": "Python 3"}))
    broken.settings["JUPYTER_PATH"] = str(broken.folder)


SITE, FILE = "first/sitecustomize.py", "is not a folder.*MNISTLIB_DATA"
NMS = "import torch\ntorch.library.register_fake('torchvision::nms')(lambda *_: None)\n"  # as the real one does
LIBRARY = f"import ctypes\nctypes.CDLL({__file__!r})\n"
OLD = {"torch": "2.0.1.* is too old", "pandas": "1.5.3 is too old", "seaborn": "multiarray.*--force-reinstall"}
WITHOUT_TORCH = {name: "pip install" for name in ("torchvision", "MNIST", "trained network")}
MNIST = "datasets/MNIST/raw/t10k-images-idx3-ubyte.gz"
# {name: (how to break it, {check that fails: what its line says})}; every other check is well.
ENVIRONMENTS = {
    "no torch": (
        {SITE: MISSING.format("torch")},
        {"torch": r"No module named 'torch'\. .*install -r", **WITHOUT_TORCH},
    ),
    "broken torch": ({"first/torch/__init__.py": LIBRARY}, {"torch": "cannot be used.*--force", **WITHOUT_TORCH}),
    "other torchvision": ({"first/torchvision/__init__.py": NMS}, {"torchvision": "nms.*--force"}),
    "old packages and a broken one": (old_packages_and_a_broken_one, OLD),
    "another mnistlib": (another_mnistlib_in_a_folder, {"mnistlib": r"first.mnistlib\. Rename that folder"}),
    "a file torch.py": ({"work/torch.py": "print(1)"}, {"working folder": r"work.torch\.py: "}),
    "a file json.py": ({"work/json.py": "1 / 0"}, {"working folder": r"work.json\.py: "}),
    "a file for a data folder": ({"data": ""}, {"data folder": FILE, "MNIST": FILE}),
    "a full disk": ({SITE: FULL}, {"data folder": "No space left.*MNISTLIB_DATA"}),
    "no ipykernel": ({SITE: MISSING.format("ipykernel")}, {"ipykernel": "No module named 'ipykernel'.*install -r"}),
    "another kernel": (a_kernel_of_another_python, {"kernel": "another Python.*other.*Remove the folder .*ipyk"}),
    "damaged MNIST": (partial(damaged, name=MNIST), {"MNIST": "t10k-images.*damaged.*mnistlib data MNIST"}),
    "damaged weights": (partial(damaged, name="pretrained/lenet5.pt"), {"trained network": "lenet5.pt .*damaged"}),
    "nothing": ({}, {}),
}


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_the_doctor_finds_the_fault_and_names_the_remedy(name, tmp_path):
    (fault, expected), broken = ENVIRONMENTS[name], Broken(tmp_path)
    if callable(fault):
        fault(broken)
    else:
        [broken.file(path, text) for path, text in fault.items()]
    status, well, failed, last, errors = broken.run()
    assert set(failed) == set(expected)
    for check, pattern in expected.items():
        assert re.search(pattern, failed[check], re.DOTALL), failed[check]
    assert {*well, *expected, "working folder"} == CHECKS
    good = "Ready for the course."
    assert (status, errors, last == good) == (int(bool(expected)), "", not expected)


@pytest.mark.parametrize("name", ["python3.10", "python3.9", "python3.8"])
def test_a_real_old_python_without_any_package_says_so(name, tmp_path):
    python = shutil.which(name)
    if not python or subprocess.run([python, "-c", ""], capture_output=True).returncode:
        pytest.skip(f"no {name} on this machine")
    code = "import sys; sys.path.insert(0, sys.argv[1]); from mnistlib.cli import main; sys.exit(main(['doctor']))"
    command = [python, "-s", "-E", "-B", "-c", code, str(ROOT)]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=600)
    assert (result.returncode, result.stderr) == (1, "")
    assert re.match(r"\[fail\] Python: 3\.\d+\.\d+\S* is too old\. Install Python 3\.11", result.stdout)
    assert {"working folder", *re.findall(r"^\[(?:ok|fail)\] +([^:\n]+): ", result.stdout, re.M)} == CHECKS
