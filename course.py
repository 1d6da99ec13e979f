"""Set the course up, then use it: ``python course.py lab``, or ``py course.py lab`` on Windows.

The first command makes an environment in .venv with all that the course needs, which takes a few minutes; later ones
start at once. `make lab` is the same as ``python course.py lab``. This needs Python 3.11 or newer and nothing else.
"""

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent
WINDOWS = sys.platform == "win32"
PYTEST = ["pytest", "--nbval", "-n", "2", "--dist", "loadscope", "--no-loadscope-reorder"]
TEST = [["ruff", "check"], ["ruff", "format", "--check", "--quiet"], PYTEST]
WEIGHTS = ["--network", "lenet5", "--epochs", "10", "--seed", "0", "--save", "mnistlib/pretrained/lenet5.pt"]
PAGES = ["pip", "install", "--quiet", "-r", "site/requirements.txt"]
COMMANDS = {  # what each does, and the modules and scripts that it runs
    "setup": ("make the environment, or bring it up to date", [["pip", "check"]]),
    "lab": ("open JupyterLab on the course", [["jupyterlab", "notebooks"]]),
    "test": ("check the code, and run the tests and every notebook: about four minutes", TEST),
    "test-all": ("the same, and everything that takes long", [*TEST, [*PYTEST, "-m", "slow"]]),
    "notebooks": (
        "execute the notebooks without a browser and store their outputs",
        [["tools/notebooks.py", "execute"]],
    ),
    "pictures": ("draw the README's picture of predictions again", [["pictures/draw.py"]]),
    "weights": ("train the LeNet-5 that comes with the course again", [["mnistlib", "train", *WEIGHTS]]),
    "site": ("build the website in build/site from the stored notebooks", [PAGES, ["tools/website.py"]]),
    "slides": ("make slides of the notebooks in build/slides, for teachers", [PAGES, ["site/slides.py"]]),
    "bench": ("measure how fast the course is: ten minutes", [["benchmarks/bench.py"], ["benchmarks/bench_live.py"]]),
    "lines": ("count the lines of each part", [["tools/lines.py"]]),
}
USABLE = "import sys, pip; sys.exit(sys.version_info < (3, 11))"


def python_of(venv):
    return venv / ("Scripts/python.exe" if WINDOWS else "bin/python")


def works(python, code):
    """Whether that Python runs the code without an error."""
    try:
        return subprocess.run([str(python), "-c", code], stderr=subprocess.DEVNULL).returncode == 0
    except OSError:
        return False


def setup(venv, torch):
    """Make the environment ready, unless it is. Exits with what to do where that cannot be.

    The file .course-ready holds what the environment was made for. While this is at work, .course-unfinished stands in
    its place: found at the start, it means that a set-up was interrupted and may have left half a package, so it begins
    again. An environment that somebody made by other means is used as it is and never removed.
    """
    python, ready, unfinished = python_of(venv), venv / ".course-ready", venv / ".course-unfinished"
    found = ready.read_text("utf-8").splitlines() if ready.exists() else []
    usable = works(python, USABLE)
    if usable and found[:2] == state() and torch in ("auto", *found[2:]):
        return
    if unfinished.exists() or (found and not usable):
        print("The last set-up was interrupted, or its Python has gone: beginning again.", flush=True)
        shutil.rmtree(venv)
    if not venv.exists():
        make(venv)
    elif not usable:
        sys.exit(
            f"error: {venv} is no environment with pip and Python 3.11 or newer. "
            "Move it away, or choose another: --venv .venv2 (make VENV=.venv2)"
        )
    unfinished.touch()
    ready.unlink(missing_ok=True)
    pip = [str(python), "-m", "pip"]
    if torch == "auto":
        torch = found[2] if len(found) > 2 else best_torch()
    elif found[2:] != [torch]:
        subprocess.run([*pip, "uninstall", "--quiet", "--yes", "torch", "torchvision"], check=True)
    install(pip, torch)
    subprocess.run([str(python), "tools/notebooks.py", "stamp", "--first"], check=True)
    ready.write_text("\n".join([*state(), torch]), "utf-8")
    unfinished.unlink()


def state():
    """What an environment is made for: this folder, and these files in it."""
    files = b"".join((ROOT / name).read_bytes() for name in ("pyproject.toml", "requirements.txt"))
    return [str(ROOT), hashlib.sha256(files).hexdigest()]


def make(venv):
    """Make a new environment with the Python that runs this."""
    if sys.version_info < (3, 11):  # noqa: UP036
        sys.exit(
            "error: this is Python {}.{}; the course needs 3.11 or newer. If you have one, name it: "
            "python3.13 course.py lab (make PYTHON=python3.13 lab)".format(*sys.version_info)
        )
    if not works(sys.executable, "import venv, ensurepip"):
        sys.exit("error: this Python has no venv. On Debian and Ubuntu install it: sudo apt install python3-venv")
    venv.mkdir(parents=True)
    (venv / ".course-unfinished").touch()
    subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)


def install(pip, torch):
    """Install the course and all that it needs, in the versions that were tested; torch is "cpu" or "cuda"."""
    install_torch(pip, torch)
    subprocess.run([*pip, "install", "-r", "requirements.txt"], check=True)
    subprocess.run([*pip, "install", "--no-deps", "-e", "."], check=True)


def best_torch():
    nvidia = shutil.which("nvidia-smi") or Path("/proc/driver/nvidia/version").exists()
    return "cuda" if sys.platform == "linux" and nvidia else "cpu"


def install_torch(pip, kind):
    """Install PyTorch from its own index where the ordinary one has another kind: with CUDA for Linux only."""
    if kind != {"linux": "cpu", "win32": "cuda"}.get(sys.platform):
        return
    url = torch_index(kind)
    pins = dict(line.strip().split("==") for line in (ROOT / "requirements.txt").open() if line.startswith("torch"))
    build = url.rpartition("/")[2]  # such as cpu, in torch==2.15.0+cpu
    packages = [f"{name}=={pins[name]}+{build}" for name in ("torch", "torchvision")]
    if not (
        answers(f"{url}/torch/")
        and subprocess.run([*pip, "install", "--no-deps", "--index-url", url, *packages]).returncode == 0
    ):
        brings = "brings CUDA: about 5 GB more on disk" if kind == "cpu" else "is for the CPU"
        print(
            f"PyTorch's index for {kind} cannot be reached, so PyTorch comes from the ordinary one, which {brings}.",
            flush=True,
        )


def torch_index(kind):
    """The address of PyTorch's index for that kind, from pyproject.toml."""
    import tomllib  # older Pythons have none, and must get as far as the message that they are too old

    uv = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["uv"]
    return next(index["url"] for index in uv["index"] if index["name"] == f"pytorch-{kind}")


def answers(url, seconds=8):
    """Whether there is a page at the address, within that time."""
    code = f"import urllib.request; urllib.request.urlopen({url!r}, timeout=5).close()"
    try:
        return subprocess.run([sys.executable, "-c", code], stderr=subprocess.DEVNULL, timeout=seconds).returncode == 0
    except subprocess.TimeoutExpired:
        return False


def main():
    commands = "\n".join(f"  {name:<10} {what}" for name, (what, _) in COMMANDS.items())
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog=f"commands:\n{commands}\n\nFurther options go to the program that the command runs.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("command", choices=COMMANDS, metavar="command")
    parser.add_argument("--venv", default=".venv", help="the environment's folder (default: %(default)s)")
    parser.add_argument(
        "--torch",
        choices=["auto", "cpu", "cuda"],
        default="auto",
        help="which PyTorch to install; auto: cuda where there is an NVIDIA GPU on Linux, else cpu",
    )
    if len(sys.argv) == 1:
        sys.exit(parser.print_help())
    options, more = parser.parse_known_args()
    os.chdir(ROOT)
    os.environ["PIP_DISABLE_PIP_VERSION_CHECK"] = "1"
    venv = Path(options.venv)
    try:
        setup(venv, options.torch)
    except subprocess.CalledProcessError as error:
        sys.exit(f"error: the set-up stopped, with status {error.returncode}; the lines above say why.")
    *first, last = COMMANDS[options.command][1]
    for program in [*first, [*last, *more]]:
        script = program[0].endswith(".py")
        status = subprocess.run([str(python_of(venv)), *([] if script else ["-m"]), *program]).returncode
        if status:
            sys.exit(status)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
