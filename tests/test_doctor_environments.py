"""The doctor, run as a student runs it, in environments that are really broken, each in another way.

Each is a folder first on PYTHONPATH, a setting, a working folder or a copy of the package; the tests' own environment stays.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from mnistlib import doctor

ROOT = Path(doctor.__file__).resolve().parents[1]
CHECKS = [name for name, _ in doctor.checks()]
# Packages that have nothing to do with the fault are empty here: importing the real ones takes seconds.
EMPTY = ("anywidget", "crc32c", "mistune", "onnx", "onnxruntime", "pandas", "seaborn", "sklearn", "tfrecord", "torchinfo")


class Broken:
    """An environment to be broken: files first on PYTHONPATH, settings, and the folder in which the doctor is run."""

    def __init__(self, folder):
        self.folder, self.first, self.cwd, self.settings = folder, folder / "first", folder / "work", {}
        self.cwd.mkdir()
        for name in EMPTY:
            self.file(f"{name}.py", "")

    def file(self, name, text):
        """A file on PYTHONPATH, before everything that is installed."""
        path = self.first / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
        return path

    def without(self, module):
        """As if this module had not been installed."""
        (self.first / f"{module}.py").unlink(missing_ok=True)
        self.file(
            "sitecustomize.py",
            "import sys\n"
            "class Missing:\n"
            "    def find_spec(self, name, path=None, target=None):\n"
            f"        if name.partition('.')[0] == {module!r}:\n"
            f'            raise ModuleNotFoundError("No module named {module!r}", name={module!r})\n'
            "sys.meta_path.insert(0, Missing())\n",
        )

    def kernel(self, python):
        """A kernel called python3 that starts this Python."""
        place = self.folder / "jupyter" / "kernels" / "python3"
        place.mkdir(parents=True)
        spec = {"argv": [str(python), "-m", "ipykernel_launcher", "-f", "{connection_file}"], "display_name": "Python 3"}
        (place / "kernel.json").write_text(json.dumps(spec), "utf-8")
        self.settings["JUPYTER_PATH"] = str(self.folder / "jupyter")

    def copy(self):
        """A copy of the course's package in the working folder, to be damaged; there is no network."""
        shutil.copytree(ROOT / "mnistlib", self.cwd / "mnistlib", ignore=shutil.ignore_patterns("__pycache__"))
        self.file(
            "sitecustomize.py",
            "import socket\ndef no(*_, **__):\n    raise OSError(101, 'unreachable')\nsocket.getaddrinfo = no\n",
        )
        return self.cwd / "mnistlib"

    def run(self):
        """The doctor's exit status, {check: text} of what is well and of the faults, its last line, and its stderr."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("JUPYTER", "PYTHON"))}
        environment |= {
            "PYTHONPATH": os.pathsep.join([str(self.first), str(ROOT)]),
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONIOENCODING": "utf-8",
            "JUPYTER_DATA_DIR": str(self.folder / "no-jupyter"),
            "MNISTLIB_DATA": str(self.folder / "data"),
            "OMP_NUM_THREADS": "1",
        }
        command = [sys.executable, "-m", "mnistlib", "doctor"]
        result = subprocess.run(
            command, cwd=self.cwd, env=environment | self.settings, capture_output=True, text=True, encoding="utf-8", timeout=120
        )
        body, _, last = result.stdout.rstrip("\n").rpartition("\n")
        before, *parts = re.split(r"^\[(ok|fail)\] +([^:\n]+): ", body, flags=re.MULTILINE)
        assert before == "", result.stdout + result.stderr  # nothing before the first line, such as the output of a foreign file
        lines = list(zip(parts[::3], parts[1::3], parts[2::3], strict=True))
        well, failed = ({name: text for state, name, text in lines if state == kind} for kind in ("ok", "fail"))
        return result.returncode, well, failed, last, result.stderr


def no_torch(broken):
    broken.without("torch")


def torch_with_a_broken_library(broken):
    library = broken.file("torch/libtorch.so", "this is no library")
    broken.file("torch/__init__.py", f"import ctypes\nctypes.CDLL({str(library)!r})\n")


def torchvision_of_another_torch(broken):
    """What the real one does when it is imported."""
    broken.file("torchvision/__init__.py", "import torch\ntorch.library.register_fake('torchvision::nms')(lambda *_: None)\n")


def old_packages_and_a_broken_one(broken):
    for name, version in (("torch", "2.0.1+cu118"), ("pandas", "1.5.3")):
        text = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        broken.file(f"{name}-{version}.dist-info/METADATA", text)
    broken.file("seaborn.py", "raise ImportError('numpy.core.multiarray failed to import')\n")


def another_mnistlib_in_a_folder(broken):
    broken.file("mnistlib/__init__.py", "raise RuntimeError('this is another mnistlib')\n")
    broken.cwd = ROOT  # elsewhere, Python would start the other one


def a_file_called_torch(broken):
    (broken.cwd / "torch.py").write_text("print('my first try with torch')\n")


def files_called_random_and_json(broken):
    (broken.cwd / "random.py").write_text("raise RuntimeError('this is a game of dice')\n")
    (broken.cwd / "json.py").write_text("print('hello')\n")
    (broken.cwd / "pandas").mkdir()
    (broken.cwd / "pandas" / "__init__.py").write_text("")
    (broken.cwd / "scipy").mkdir()  # without __init__.py it hides nothing
    (broken.cwd / "digits.py").write_text("")  # nor does this


def a_data_folder_that_is_a_file(broken):
    (broken.folder / "data").write_text("a file")


def a_data_folder_that_cannot_be_written(broken):
    folder = broken.folder / "data"
    folder.mkdir()
    folder.chmod(0o500)
    if os.access(folder, os.W_OK):  # root may write everywhere, but not there
        folder = Path("/proc/mnistlib-test")
        if not folder.parent.is_dir():
            pytest.skip("this user may write everywhere")
    broken.settings["MNISTLIB_DATA"] = str(folder)


def a_full_disk(broken):
    text = "import errno, os\ndef full(*_):\n    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))\nos.fsync = full\n"
    broken.file("sitecustomize.py", text)


def too_many_threads(broken):
    broken.settings["OMP_NUM_THREADS"] = "4096"


def no_ipykernel(broken):
    broken.without("ipykernel")


def a_kernel_of_another_python(broken):
    venv.create(broken.folder / "other", symlinks=os.name != "nt", with_pip=False)
    broken.kernel(broken.folder / "other" / ("Scripts/python.exe" if os.name == "nt" else "bin/python"))


def flip_a_byte(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def a_damaged_mnist(broken):
    flip_a_byte(broken.copy() / "data" / "MNIST" / "raw" / "t10k-images-idx3-ubyte.gz")


def damaged_weights(broken):
    flip_a_byte(broken.copy() / "weights" / "lenet5.pt")


REQUIREMENTS = r"pip install -r requirements\.txt"
# The fault, then {check that fails: what its line says, the remedy last}; every other check is well.
ENVIRONMENTS = {
    no_torch: {
        "torch": f"No module named 'torch'.*{REQUIREMENTS}",
        "torchvision": REQUIREMENTS,
        "MNIST": "",
        "trained network": "",
    },
    torch_with_a_broken_library: {
        "torch": r"cannot be imported: .*libtorch\.so.*pip install --force-reinstall -r requirements\.txt",
        "torchvision": "libtorch.*--force-reinstall",
        "MNIST": "",
        "trained network": "",
    },
    torchvision_of_another_torch: {
        "torchvision": r"does not match torch .*operator torchvision::nms does not exist.*two together.*--force-reinstall",
        "MNIST": "",
    },
    old_packages_and_a_broken_one: {
        "torch": rf"2\.0\.1 is too old; the course needs 2\.\d+ or newer.*{REQUIREMENTS}",
        "pandas": rf"1\.5\.3 is too old \(shows the tables\); the course needs 2\.2 or newer.*{REQUIREMENTS}",
        "seaborn": r"multiarray failed to import.*pip install --force-reinstall -r requirements\.txt",
    },
    another_mnistlib_in_a_folder: {
        "mnistlib": r"another package called mnistlib, .*first.mnistlib, is in the way\. Remove that folder"
    },
    a_file_called_torch: {"working folder": r"work.torch\.py: Python imports this in place of .*Rename it"},
    files_called_random_and_json: {"working folder": r"work.json\.py, .*work.pandas, .*work.random\.py: Python imports .*Rename"},
    a_data_folder_that_is_a_file: {
        "data folder": r"is a file.*Remove that file, or set .*MNISTLIB_DATA",
        "MNIST": "MNISTLIB_DATA",
    },
    a_data_folder_that_cannot_be_written: {"data folder": r"cannot write .*see that you may write to.*MNISTLIB_DATA"},
    a_full_disk: {"data folder": r"cannot write .*No space left on device\. Make room there.*MNISTLIB_DATA"},
    too_many_threads: {
        "processors": r"OMP_NUM_THREADS is 4096, but this machine has \d+ processors.*Set it to \d+, or remove it"
    },
    no_ipykernel: {"ipykernel": rf"No module named 'ipykernel'.*{REQUIREMENTS}", "kernel": REQUIREMENTS},
    a_kernel_of_another_python: {
        "kernel": r"belongs to another Python, .*other\. Remove the folder .*then: .*-m ipykernel install"
    },
    a_damaged_mnist: {"MNIST": r"t10k-images.*damaged .*connect to the internet and run: python -m mnistlib data MNIST"},
    damaged_weights: {"trained network": r"lenet5\.pt is not a checkpoint.*damaged.*git checkout -- mnistlib/weights"},
}


@pytest.mark.parametrize("fault", ENVIRONMENTS, ids=lambda fault: fault.__name__)
def test_the_doctor_finds_the_fault_and_names_the_remedy(fault, tmp_path):
    broken, expected = Broken(tmp_path), ENVIRONMENTS[fault]
    fault(broken)
    status, well, failed, last, errors = broken.run()
    assert set(failed) == set(expected)
    for name, pattern in expected.items():
        assert re.search(pattern, failed[name], re.DOTALL), failed[name]
    assert set(well) == set(CHECKS) - set(expected)
    assert last == f"{len(expected)} of the checks failed; each says what to do."
    assert (status, errors) == (1, "")


def test_nothing_is_wrong_where_nothing_was_broken(tmp_path):
    """So every fault above is found for its own sake."""
    status, well, failed, last, _ = Broken(tmp_path).run()
    assert (status, failed, last) == (0, {}, "Ready for the course.")
    assert list(well) == CHECKS


OLD = ("python3.10", "python3.9", "python3.8")


def test_a_python_that_is_too_old_says_so(tmp_path):
    """Simulated: the modules of this Python, which says that it is another. Packages may take it at its word."""
    broken = Broken(tmp_path)
    broken.file(
        "sitecustomize.py",
        "import collections, sys\n"
        "Info = collections.namedtuple('Info', 'major minor micro releaselevel serial')\n"
        "sys.version_info, sys.version = Info(3, 9, 1, 'final', 0), '3.9.1 (main)'\n",
    )
    status, well, failed, _, _ = broken.run()
    assert status == 1
    assert re.search(r"3\.9\.1 is too old\. Install Python 3\.11 or newer and make a new environment", failed["Python"])
    assert next(iter(failed)) == "Python"
    assert {*well, *failed} == set(CHECKS)


@pytest.mark.parametrize("name", OLD)
def test_a_real_old_python_without_any_package_says_so(name, tmp_path):
    """Its lines are all there: the doctor's own file must not need what a newer Python has."""
    python = shutil.which(name)
    code = "import sys; sys.path.insert(0, sys.argv[1]); from mnistlib import doctor; sys.exit(not doctor.run())"
    if not python or subprocess.run([python, "-c", ""], capture_output=True).returncode:
        pytest.skip(f"no {name} on this machine")
    command = [python, "-s", "-E", "-B", "-c", code, str(ROOT)]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert (result.returncode, result.stderr) == (1, "")
    assert re.match(rf"\[fail\] Python: {name.removeprefix('python')}\.\d+ is too old\. Install Python 3\.11", result.stdout)
    assert re.findall(r"^\[(?:ok|fail)\] +([^:\n]+): ", result.stdout, re.M) == CHECKS


def test_the_doctor_leaves_the_path_of_imports_as_it_was(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(doctor, "checks", lambda: iter([("path", lambda: str(str(tmp_path) in sys.path))]))
    before = sys.path[:]
    assert doctor.run()
    assert sys.path == before
    assert "path: False" in capsys.readouterr().out
