"""The first start on machines that are not like ours: no network, a new home, one that cannot be written, a full disk.

Cells of notebooks 00 and 01 run in a program of their own: they load MNIST, evaluate the trained LeNet-5, and
put the files where torchvision looks. They must run, or end in one line that says what to do. Namespaces of
Linux make such a machine for one program; where they are not permitted, a test is skipped and says so.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).resolve().parent.parent
CELLS = {"00_start_here": ("setup", "code-03", "code-04", "code-06"), "01_explore_mnist": ("code-05", "code-06")}
RIGHT = ["predictions: [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]", "same images: True", "same labels: True"]
ANSI = re.compile(r"\x1b\[[0-9;]*m")
DATA = ("-m", "mnistlib", "data")

# Runs a notebook as JupyterLab's server does, prints what its cells print, and ends as its first error does.
EXECUTE = """
import sys, nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
notebook = nbformat.read(sys.argv[1], as_version=4)
try:
    NotebookClient(notebook, timeout=300, kernel_name="python3").execute()
except CellExecutionError as error:
    sys.exit(str(error))
finally:
    for output in (output for cell in notebook.cells for output in cell.get("outputs", [])):
        print(output.get("text", "") if output.get("name") == "stdout" else "")
"""
# The kernel talks through the loopback, which is down in a new network namespace (0x8914 is SIOCSIFFLAGS, 1 IFF_UP).
LOOPBACK = """
import fcntl, os, socket, struct, sys
with socket.socket() as any:
    fcntl.ioctl(any, 0x8914, struct.pack("16sh14x", b"lo", 1))
os.execv(sys.argv[1], sys.argv[1:])
"""

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows asks the registry, not HOME, where files belong")


@pytest.fixture
def notebook(tmp_path):
    """The path of a notebook with the cells of `CELLS`."""
    cells = []
    for name, ids in CELLS.items():
        of_id = {cell["id"]: cell for cell in json.loads((ROOT / "notebooks" / f"{name}.ipynb").read_text("utf-8"))["cells"]}
        cells += [nbformat.v4.new_code_cell("".join(of_id[key]["source"])) for key in ids]
    path = tmp_path / "folder" / "first.ipynb"
    path.parent.mkdir()
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    return path


@pytest.fixture
def home(tmp_path):
    """A new, empty home."""
    folder = tmp_path / "home"
    folder.mkdir()
    return folder


def unshared(*options, then=()):
    """The words that put a command into namespaces of its own; skips the test where that, or ``then``, is not permitted."""
    said = "there is no unshare"
    for user in (["--map-root-user"], []):  # without a user namespace root alone may do it
        words = ["unshare", *user, *options]
        try:
            tried = subprocess.run([*words, *then, sys.executable, "-c", ""], capture_output=True, text=True)
        except OSError:
            break
        if tried.returncode == 0:
            return words
        said = tried.stderr.strip()
    pytest.skip(f"needs namespaces of its own: {said}")


def mounted(folder, options):
    """The words that run a command with an empty file system of its own at ``folder``; what it leaves is copied to `left`."""
    script = f'mount -t tmpfs -o {options} none "$0" && {{ "$@"; status=$?; cp -R "$0" "{left(folder)}"; exit $status; }}'
    trial = ["sh", "-c", 'mount -t tmpfs none "$0" && exec "$@"', str(folder)]
    return [*unshared("--mount", then=trial), "sh", "-c", script, str(folder)]


def left(folder):
    return folder.with_name(f"{folder.name}-left")


def start(home, *arguments, before=(), **variables):
    """Start Python as on a machine where nobody has set anything, with this home."""
    ours = ("XDG_", "JUPYTER", "IPYTHON", "MPL", "MNISTLIB_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    command = [*before, sys.executable, *map(str, arguments)]
    folder = Path(arguments[-1]).parent if str(arguments[-1]).endswith(".ipynb") else ROOT
    variables = {**kept, "HOME": str(home), **variables}
    return subprocess.Popen(command, cwd=folder, env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(process):
    """(status, what it printed, what it said on stderr, without colours)"""
    out, err = process.communicate(timeout=300)
    return process.returncode, out, ANSI.sub("", err)


def runs(process):
    status, out, err = finish(process)
    assert status == 0, err
    assert [line for line in RIGHT if line not in out] == []


def wholes(folder):
    """The names of the files below a folder, each of which must be as long as a file of MNIST."""
    packed = {path.name: path for path in (ROOT / "mnistlib" / "data" / "MNIST" / "raw").glob("*.gz")}
    sizes = {name: path.stat().st_size for name, path in packed.items()}
    sizes |= {name.removesuffix(".gz"): int.from_bytes(path.read_bytes()[-4:], "little") for name, path in packed.items()}
    found = {path.name: path.stat().st_size for path in folder.rglob("*") if path.is_file()}
    assert found.items() <= sizes.items()
    return set(found)


def says_what_to_do(line, folder):
    assert re.search(f"(DataError|error): cannot write {re.escape(str(folder))}", line)
    assert re.search("Read-only file system|Permission denied|No space left on device", line)
    assert "MNISTLIB_DATA" in line


@pytest.fixture
def read_only(home):
    """The words that run a command while the home cannot be written."""
    if os.geteuid() == 0:  # permissions do not hold for root
        yield mounted(home, "ro")
        return
    home.chmod(0o555)
    yield []
    home.chmod(0o755)


def test_without_a_network_the_notebook_runs(notebook, home):
    before = [*unshared("--net"), sys.executable, "-c", LOOPBACK]
    runs(start(home, "-c", EXECUTE, notebook, before=before))


def test_without_a_network_the_command_line_says_how_to_come_by_other_data(home):
    status, out, err = finish(start(home, *DATA, "KMNIST", before=unshared("--net")))
    assert (status, out) == (2, "")
    assert err.startswith("error: KMNIST: train-images-idx3-ubyte.gz is not on this machine and could not be downloaded.\n")
    assert "connect to the internet and run: python -m mnistlib data KMNIST" in err
    assert "Traceback" not in err
    assert wholes(home) == set()


def test_two_kernels_may_start_in_the_same_moment_in_a_new_home_with_spaces_and_umlauts(notebook, tmp_path):
    """The home is not there yet, so Jupyter, IPython, Matplotlib and mnistlib all make their folders in it twice."""
    home = tmp_path / "neu" / "ein Heim für Übungen"
    processes = [start(home, "-c", EXECUTE, notebook) for _ in range(2)]
    for process in processes:
        runs(process)
    (raw,) = home.rglob("MNIST/raw")
    assert len(wholes(raw)) == 8


def test_in_a_home_that_cannot_be_written_the_notebook_goes_as_far_as_it_can(notebook, home, read_only):
    status, out, err = finish(start(home, "-c", EXECUTE, notebook, before=read_only))
    assert RIGHT[0] in out  # MNIST and the network are read from the package
    assert status == 1
    says_what_to_do(err.strip().splitlines()[-1], home)


def test_in_a_home_that_cannot_be_written_the_command_line_says_what_to_do_and_that_helps(home, read_only, tmp_path):
    status, out, err = finish(start(home, *DATA, "MNIST", before=read_only))
    assert (status, out) == (2, "")
    (line,) = err.splitlines()
    says_what_to_do(line, home)

    status, out, err = finish(start(home, *DATA, "MNIST", before=read_only, MNISTLIB_DATA=str(tmp_path / "elsewhere")))
    assert (status, err) == (0, "")
    assert len(wholes(tmp_path / "elsewhere")) == 8


def test_on_a_full_disk_the_notebook_goes_as_far_as_it_can(notebook, home, tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    before = mounted(data, "size=20M")  # as much as two of the eight files
    status, out, err = finish(start(home, "-c", EXECUTE, notebook, before=before, MNISTLIB_DATA=str(data)))
    assert RIGHT[0] in out
    assert status == 1
    says_what_to_do(err.strip().splitlines()[-1], data)
    assert wholes(left(data)) == {"train-images-idx3-ubyte.gz"}


def test_on_a_full_disk_the_command_line_says_what_to_do(home):
    status, out, err = finish(start(home, *DATA, "MNIST", before=mounted(home, "size=1M")))
    assert (status, out) == (2, "")
    (line,) = err.splitlines()
    says_what_to_do(line, home)
    assert wholes(left(home)) == set()
