"""The first start on machines that are not like ours: no network, a new home, one that cannot be written, a full disk.

Namespaces of Linux make such a machine for one program; where they are not permitted, a test is skipped and says so.
"""

import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

LESSON = Path(__file__).resolve().parent.parent / "notebooks" / "00_start_here.ipynb"
# Runs a notebook as JupyterLab's server does.
EXECUTE = """
import sys, nbformat
from nbclient import NotebookClient
NotebookClient(nbformat.read(sys.argv[1], as_version=4), timeout=900, kernel_name="python3").execute()
"""
# What needs no file of its own: MNIST and the trained network are read from the package.
READ = "import mnistlib as m; print(m.evaluate(m.pretrained(), m.load('MNIST').test.take(1000).resized(32)).accuracy)"
DATA = ["-m", "mnistlib", "data"]

pytestmark = [pytest.mark.slow, pytest.mark.skipif(os.name == "nt", reason="Windows asks the registry for the home")]


def unshared(*options):
    """The words that put a command into namespaces of its own; skips the test where that is not permitted."""
    for user in (["--map-root-user"], []):  # without a user namespace root alone may do it
        words = ["unshare", *user, *options]
        if subprocess.run(["sh", "-c", '"$@" true', "sh", *words], capture_output=True).returncode == 0:
            return words
    pytest.skip("needs namespaces of its own")


def mounted(folder, options):
    """The words that run a command with an empty file system of its own at ``folder``, and list what it leaves."""
    script = (
        f'mount -t tmpfs -o {options} none "$0" && {{ "$@"; status=$?; find "$0" -type f >"$0.left"; exit $status; }}'
    )
    return [*unshared("--mount"), "sh", "-c", script, str(folder)]


def run(home, *arguments, before=(), **variables):
    """Run Python as on a machine where nobody has set anything, with this home; returns status, output and errors."""
    home.mkdir(parents=True, exist_ok=True)
    ours = ("XDG_", "JUPYTER", "IPYTHON", "MPL", "MNISTLIB_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    command = [*before, sys.executable, *map(str, arguments)]
    variables = {**kept, "HOME": str(home), **variables}
    done = subprocess.run(command, cwd=LESSON.parent, env=variables, capture_output=True, text=True, timeout=900)
    return done.returncode, done.stdout, done.stderr


def test_without_a_network_mnist_is_there_and_other_data_are_explained(tmp_path):
    status, out, err = run(tmp_path, "-c", READ, before=unshared("--net"))
    assert status == 0, err
    assert float(out) > 0.97
    status, out, err = run(tmp_path, *DATA, "KMNIST", before=unshared("--net"))
    assert (status, out) == (2, "")
    assert re.search("the download failed.*python -m mnistlib data KMNIST", err, re.S)
    assert "Traceback" not in err


def test_two_kernels_may_start_at_the_same_moment_in_a_new_home_with_spaces_and_umlauts(tmp_path):
    """The home is empty, so Jupyter, IPython, Matplotlib and mnistlib all make their folders in it twice."""
    home = tmp_path / "neu" / "ein Heim für Übungen"
    with ThreadPoolExecutor() as pool:
        for status, _, err in pool.map(lambda _: run(home, "-c", EXECUTE, LESSON), range(2)):
            assert status == 0, err


@pytest.mark.parametrize("options", ["ro", "size=1M"], ids=["cannot be written", "is full"])
def test_where_the_home_cannot_hold_data_reading_works_and_writing_says_what_to_do(tmp_path, options):
    home, elsewhere = tmp_path / "home", tmp_path / "elsewhere"
    home.mkdir()
    before = mounted(home, options)
    status, out, err = run(home, "-c", READ, before=before)
    assert status == 0, err
    assert float(out) > 0.97
    status, out, err = run(home, *DATA, "MNIST", before=before)
    assert (status, out) == (2, "")
    assert re.fullmatch(
        f"error: cannot write {re.escape(str(home))}.*(Read-only|No space left).*MNISTLIB_DATA.*\n", err
    )
    assert Path(f"{home}.left").read_text() == ""  # no half file
    status, _, err = run(home, *DATA, "MNIST", before=before, MNISTLIB_DATA=str(elsewhere))
    assert (status, err) == (0, "")
    assert len([path for path in elsewhere.rglob("*") if path.is_file()]) >= 4
