"""Is this machine ready for the course? ``python -m mnistlib doctor`` prints one line per check, with the remedy.

It needs only the standard library until a check tries the rest, so it works where the rest does not. Notebook 00.
"""

from __future__ import annotations  # for the Pythons that are too old, and must be told so

import os
import sys
from importlib import import_module, metadata
from importlib.machinery import PathFinder
from pathlib import Path

COURSE = "mnist-lenet5-course"
REINSTALL = "In the course's folder run: python -m pip install -r requirements.txt"
REPAIR = REINSTALL.replace("install -r", "install --force-reinstall -r")  # else pip leaves a broken package as it is
PACKAGES = "torch torchvision torchinfo seaborn pandas sklearn tqdm mistune tfrecord crc32c anywidget onnx onnxruntime "
PACKAGES = (PACKAGES + "platformdirs ipykernel ipywidgets").split()
MODULES = {*PACKAGES, "numpy", "scipy", "matplotlib", "PIL", "IPython", "jupyter_client", "random"}
MODULES |= set(getattr(sys, "stdlib_module_names", [])) - {"test"}  # nobody imports Python's own tests


class Problem(Exception):
    """What is wrong, and the remedy."""


def run() -> bool:
    """Print a line for each check, ``[ok]`` or ``[fail]`` with the remedy, and return whether all is well."""
    failed = 0
    for name, check in checks().items():
        try:
            if (found := check()) is not None:
                print(f"[ok]   {name}: {found}")
        except Exception as error:  # whatever breaks must become a line, not a traceback
            failed += 1
            clear = isinstance(error, Problem) or type(error).__name__ == "DataError"
            print(f"[fail] {name}: {error if clear else f'{type(error).__name__}: {error}. {REINSTALL}'}")
    print(f"{failed} of the checks failed; each says what to do." if failed else "Ready for the course.")
    return not failed


def checks() -> dict:
    """Return {name: check}. A check returns what it found (None: print nothing), or raises `Problem`."""
    packages = {name: lambda name=name: package(name) for name in PACKAGES}
    rest = {"kernel": kernel, "mnistlib": course, "processors": cores, "data folder": data_folder, "MNIST": mnist}
    return {"Python": python, "working folder": working_folder, **packages, **rest, "trained network": network}


def python() -> str:
    version = sys.version.split()[0]
    if sys.version_info < (3, 11):  # noqa: UP036 — from a checkout, any Python can start the doctor
        raise Problem(f"{version} is too old. Install Python 3.11 or newer and make a new environment.")
    return version


def working_folder() -> None:
    """With a file torch.py beside it, a notebook imports that file instead of PyTorch."""
    folders = {Path.cwd(), Path(__file__).resolve().parents[1] / "notebooks"}
    specs = [PathFinder.find_spec(name, [str(folder)]) for folder in folders for name in MODULES]
    if names := ", ".join(sorted(spec.origin for spec in specs if spec and spec.origin)):
        raise Problem(f"{names}: Python imports this instead of the module of that name. Rename it, or move it away.")


def package(name: str) -> str:
    """Import a package and return its version. It may be missing, broken, or older than the course needs."""
    distribution, version = {"sklearn": "scikit-learn"}.get(name, name), ""
    try:
        from packaging.requirements import Requirement

        version = metadata.version(distribution)
        for needed in map(Requirement, metadata.requires(COURSE) or []):
            if needed.name == distribution and not needed.specifier.contains(version, prereleases=True):
                raise Problem(f"{version} is too old; the course needs {needed.specifier}. {REINSTALL}")
    except (ImportError, metadata.PackageNotFoundError):
        pass  # the import below says what is missing
    try:
        module = import_module(name)
        if name == "torch":
            device = "CUDA" if module.cuda.is_available() else "MPS" if module.backends.mps.is_available() else "CPU"
            version += f", {device}, {module.get_num_threads()} threads"
        if name == "torchvision":  # one that was built for another torch can sometimes be imported, and fails here
            boxes = import_module("torch").zeros(1, 4)
            module.ops.nms(boxes, boxes[:, 0], 0.5)
    except Exception as error:  # a package that is broken raises whatever it likes
        remedy = REINSTALL if isinstance(error, ModuleNotFoundError) else REPAIR
        raise Problem(f"{version} cannot be used: {str(error).splitlines()[0]}. {remedy}".strip()) from None
    return version


def kernel() -> str:
    """Jupyter starts the kernel that the notebooks name, ``python3``; it must be this Python."""
    remedy = f"{sys.executable} -m ipykernel install --sys-prefix --name python3"
    try:
        found = import_module("jupyter_client.kernelspec").KernelSpecManager().get_kernel_spec("python3")
    except ImportError as error:
        raise Problem(f"{error}. {REINSTALL}") from None
    except Exception as error:  # there is none, or its file is damaged
        raise Problem(f"there is no usable kernel named python3 ({error}). Run: {remedy}") from None
    command = (found.argv or ["nothing"])[0]  # Jupyter replaces a bare name by the Python that it runs in
    places = {(Path(file).parent.resolve(), Path(file).resolve()) for file in (command, sys.executable)}
    if command not in ("python", "python3", f"python3.{sys.version_info.minor}") and len(places) > 1:
        remedy = f"Remove the folder {found.resource_dir}, then run: {remedy}"
        raise Problem(f"the kernel python3 starts another Python, or none: {command}. {remedy}")
    return "python3"


def course() -> str:
    """The package index has another package called mnistlib, which would hide this one."""
    installed = {found.metadata["Name"]: found.version for found in metadata.distributions()}
    if "mnistlib" in installed:
        raise Problem("another package called mnistlib is installed. Run: python -m pip uninstall mnistlib")
    first = PathFinder.find_spec("mnistlib", sys.path)
    if first and first.origin and not Path(first.origin).with_name("doctor.py").is_file():
        raise Problem(f"another package called mnistlib is in {Path(first.origin).parent}. Rename that folder.")
    if COURSE not in installed:
        raise Problem("is not installed. In the course's folder run: python -m pip install -e .")
    return installed[COURSE]


def cores() -> str:
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    there = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    if wanted.isdecimal() and int(wanted) > there:
        slow = f"OMP_NUM_THREADS is {wanted}, but there are {there} CPU cores; training can be fifty times slower."
        raise Problem(f"{slow} Set it to {there}, or remove it.")
    return f"{there} CPU cores"


def data_folder() -> str:
    from mnistlib.base import files

    folder = files.data_folder()
    files.check_target(folder / "test")
    return str(Path("~", folder.relative_to(Path.home())) if folder.is_relative_to(Path.home()) else folder)


def mnist() -> str:
    found = import_module("mnistlib").load("MNIST")
    return f"{len(found.train):,} training and {len(found.test):,} test images"


def network() -> str:
    net = import_module("mnistlib").pretrained("lenet5")
    return f"LeNet-5 with {sum(parameter.numel() for parameter in net.parameters()):,} parameters"
