"""Is this machine ready for the course? ``python -m mnistlib doctor`` prints a line a check, with the remedy.

Uses the standard library alone until it has looked whether a package can be imported, so that it
works where the rest does not. Introduced in notebook 00.
"""

from __future__ import annotations  # for the Pythons that are too old, and must be told so

import os
import sys


def _without_working_folder(path: list[str]) -> list[str]:
    return [folder for folder in path if os.path.abspath(folder) != os.getcwd()]


_path = sys.path[:]
sys.path[:] = _without_working_folder(
    _path
)  # a file random.py there would be imported below, and break them; see `foreign_files`
import importlib  # noqa: E402
import importlib.machinery  # noqa: E402
import importlib.metadata  # noqa: E402
import json  # noqa: E402
import re  # noqa: E402
import subprocess  # noqa: E402
from collections.abc import Callable, Iterator  # noqa: E402
from pathlib import Path  # noqa: E402

sys.path[:] = _path

REINSTALL = "In the course's folder run: python -m pip install -r requirements.txt"
REPAIR = REINSTALL.replace("install -r", "install --force-reinstall -r")  # what is there already, but broken, would stay
PACKAGES = {  # what each is for
    "torchinfo": "counts parameters in notebook 02",
    "seaborn": "draws the figures",
    "pandas": "shows the tables",
    "sklearn": "confusion matrices and ROC curves",
    "tqdm": "progress bars",
    "mistune": "the web page of notebook 08's report",
    "tfrecord": "TFRecords, in notebook 08",
    "crc32c": "their checksums",
    "anywidget": "the pad to draw on, in notebook 09",
    "onnx": "takes networks out of PyTorch, in notebook 09",
    "onnxruntime": "runs them",
    "platformdirs": "finds the data folder",
    "ipykernel": "runs notebooks",
}


class Problem(Exception):
    """What is wrong, and the remedy."""


def foreign_files() -> list[str]:
    """Files that hide a module: with a file torch.py beside it, a notebook imports that one in place of PyTorch."""
    modules = {
        "torch",
        "torchvision",
        "numpy",
        "scipy",
        "matplotlib",
        "PIL",
        "IPython",
        "ipywidgets",
        "jupyter_client",
        *PACKAGES,
    }
    modules |= set(getattr(sys, "stdlib_module_names", ["random"])) - {"test"}  # nobody imports Python's own tests
    found = []
    for folder in {Path.cwd(), Path(__file__).resolve().parents[1] / "notebooks"}:
        found += [path for path in folder.glob("*.py") if path.stem in modules]
        found += [path.parent for path in folder.glob("*/__init__.py") if path.parent.name in modules]
    return sorted(map(str, found))


def working_folder() -> str:
    if files := foreign_files():
        raise Problem(f"{', '.join(files)}: Python imports this in place of the module of that name. Rename it, or move it away.")
    return "hides no module"


def python_version() -> str:
    if sys.version_info < (3, 11):  # noqa: UP036 — from a checkout, any Python can start the doctor
        raise Problem(f"{sys.version.split()[0]} is too old. Install Python 3.11 or newer and make a new environment.")
    return sys.version.split()[0]


def torch_version() -> str:
    _check_version("torch")
    torch = _import("torch")
    cuda, mps = torch.cuda.is_available(), torch.backends.mps.is_available()
    return f"{torch.__version__}, {'CUDA' if cuda else 'MPS' if mps else 'CPU'}, {torch.get_num_threads()} threads"


def torchvision_version() -> str:
    """A torchvision built for another torch imports with "operator torchvision::nms does not exist", or not at all."""
    torch = _import("torch")
    _check_version("torchvision")
    try:
        torchvision = importlib.import_module("torchvision")
        torchvision.ops.nms(torch.tensor([[0.0, 0.0, 1.0, 1.0]]), torch.tensor([1.0]), 0.5)
    except ModuleNotFoundError:
        raise Problem(f"is not installed. {REINSTALL}") from None
    except Exception as error:
        found = f"torchvision {_version('torchvision')} does not match torch {_version('torch')}"
        raise Problem(
            f"{found} ({str(error).splitlines()[0]}). Install the two together, from the same place. {REPAIR}"
        ) from None
    return torchvision.__version__


def course() -> str:
    """The package index has another package called mnistlib; it would hide this one."""
    try:
        other = importlib.metadata.version("mnistlib")
    except importlib.metadata.PackageNotFoundError:
        pass
    else:
        raise Problem(f"another package called mnistlib, {other}, is in the way. Run: python -m pip uninstall mnistlib")
    first = importlib.machinery.PathFinder.find_spec("mnistlib", _without_working_folder(sys.path))
    if first and first.origin and not Path(first.origin).with_name("doctor.py").is_file():
        raise Problem(
            f"another package called mnistlib, {Path(first.origin).parent}, is in the way. Remove that folder, or rename it."
        )
    try:
        return importlib.metadata.version("mnist-lenet5-course")
    except importlib.metadata.PackageNotFoundError:
        raise Problem("is not installed. In the course's folder run: python -m pip install -e .") from None


def threads() -> str:
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    there = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    if wanted.isdecimal() and int(wanted) > there:
        raise Problem(
            f"OMP_NUM_THREADS is {wanted}, but this machine has {there} processors; training can be fifty times slower. "
            f"Set it to {there}, or remove it."
        )
    return f"{there} processors"


def kernel() -> str:
    """Jupyter starts the kernel that the notebooks name, ``python3``; it must be this Python."""
    _import("ipykernel")
    from jupyter_client.kernelspec import KernelSpecManager

    remedy = f"Make one: {sys.executable} -m ipykernel install --sys-prefix --name python3"
    try:
        found = KernelSpecManager().get_kernel_spec("python3")
    except Exception as error:  # there is none, or its file is damaged
        raise Problem(f"there is no usable kernel named python3 ({error}). {remedy}") from None
    remedy = f"Remove the folder {found.resource_dir}, then: {sys.executable} -m ipykernel install --sys-prefix --name python3"
    command = found.argv[0] if found.argv else ""
    if command in ("python", "python3", f"python3.{sys.version_info.minor}"):
        return "python3"  # Jupyter replaces a bare name by the Python it runs in
    ask = [command, "-I", "-c", "import json, sys; print(json.dumps(sys.prefix))"]
    try:
        prefix = Path(json.loads(subprocess.run(ask, capture_output=True, text=True, check=True).stdout))
    except (OSError, ValueError, subprocess.CalledProcessError):
        raise Problem(f"the kernel python3 starts {command!r}, which is not a working Python. {remedy}") from None
    if prefix.resolve() != Path(sys.prefix).resolve():
        raise Problem(f"the kernel python3 belongs to another Python, {prefix}. {remedy}")
    return "python3"


def widgets() -> str:
    try:
        return importlib.import_module("ipywidgets").__version__
    except ImportError:
        raise Problem("is missing, so progress bars will not show. Install it: python -m pip install ipywidgets") from None


def data_folder_is_writable() -> str:
    from mnistlib.files import DataError, check_writable, data_folder

    try:
        folder = data_folder()
        check_writable(folder)
    except DataError as error:
        raise Problem(str(error)) from None
    return str(Path("~", folder.relative_to(Path.home()))) if folder.is_relative_to(Path.home()) else str(folder)


def mnist() -> str:
    from mnistlib import datasets

    found = datasets.load("MNIST")
    return f"{len(found.train):,} training and {len(found.test):,} test images"


def weights() -> str:
    from mnistlib import checkpoints
    from mnistlib.files import DataError

    try:
        net = checkpoints.pretrained("lenet5")
    except DataError as error:
        raise Problem(f"{error} Or get the course's own back, in its folder: git checkout -- mnistlib/weights") from None
    return f"LeNet-5 with {sum(p.numel() for p in net.parameters()):,} parameters"


def checks() -> Iterator[tuple[str, Callable[[], str]]]:
    """(name, check) in order. A check returns what it found or raises `Problem` with the remedy."""
    yield "Python", python_version
    if foreign_files():  # only then a line of its own
        yield "working folder", working_folder
    yield "torch", torch_version
    yield "torchvision", torchvision_version
    for package, purpose in PACKAGES.items():
        yield package, lambda package=package, purpose=purpose: _installed(package, purpose)
    yield "ipywidgets", widgets
    yield "kernel", kernel
    yield "mnistlib", course
    yield "processors", threads
    yield "data folder", data_folder_is_writable
    yield "MNIST", mnist
    yield "trained network", weights


def run() -> bool:
    """Print a line for each check, ``[ok]`` or ``[fail]`` with the remedy; True when all is well."""
    failed, path = 0, sys.path[:]
    sys.path[:] = _without_working_folder(path)  # files there have their own line, and must not break the others
    try:
        for name, check in checks():
            try:
                print(f"[ok]   {name}: {check()}")
            except Exception as error:  # whatever breaks must become a line, not a traceback
                failed += 1
                clear = isinstance(error, Problem) or type(error).__name__ == "DataError"
                text = str(error) if clear else f"{type(error).__name__}: {error}. {REINSTALL}"
                print(f"[fail] {name}: {text}")
    finally:
        sys.path[:] = path
    print("Ready for the course." if not failed else f"{failed} of the checks failed; each says what to do.")
    return not failed


def _installed(package: str, purpose: str) -> str:
    distribution = {"sklearn": "scikit-learn"}.get(package, package)
    _check_version(distribution, purpose)  # first, for an old package often cannot be imported either
    _import(package, purpose)
    return _version(distribution)


def _check_version(distribution: str, purpose: str = "") -> None:
    """Raise `Problem` when a package is older than the course's pyproject.toml asks for."""
    try:
        bounds = importlib.metadata.requires("mnist-lenet5-course") or []
    except importlib.metadata.PackageNotFoundError:
        return  # see `course`
    for bound in bounds:
        asked = re.match(r"([\w.-]+)>=([\d.]+)", bound)
        there = re.match(r"[\d.]+", _version(distribution))
        if asked and there and asked[1] == distribution and _numbers(there[0]) < _numbers(asked[2]):
            what = f" ({purpose})" if purpose else ""
            raise Problem(f"{there[0]} is too old{what}; the course needs {asked[2]} or newer. {REINSTALL}")


def _numbers(version: str) -> list[int]:
    return [int(number) for number in version.split(".") if number]


def _import(package: str, purpose: str = ""):
    try:
        return importlib.import_module(package)
    except Exception as error:  # a package that is broken raises whatever it likes
        what = f" ({purpose})" if purpose else ""
        remedy = REINSTALL if isinstance(error, ModuleNotFoundError) else REPAIR
        raise Problem(f"cannot be imported{what}: {error}. {remedy}") from None


def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return "(unknown version)"
