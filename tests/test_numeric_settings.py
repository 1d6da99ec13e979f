"""The runs of the course in many numeric settings: the script that makes them, on tiny notebooks, and what it found."""

import importlib.util
import json
import re
import shutil
import tomllib
from pathlib import Path

import nbformat
import nbval.kernel
import pytest

ROOT = Path(__file__).resolve().parent.parent
spec = importlib.util.spec_from_file_location("numeric_settings_tool", ROOT / "tools" / "numeric_settings.py")
tool = importlib.util.module_from_spec(spec)
spec.loader.exec_module(tool)

STORED = tool.OUT
VERSIONS = {"python": "3.11.0", "torch": "2.6.0", "nbval": "0.11.0"}
BEST = {"capability": "AVX512", "threads": 2, "xdist": "3.8.0", "versions": VERSIONS, "onednn": "Intel AVX-512"}


@pytest.fixture
def course(tmp_path, monkeypatch):
    """A course of one notebook, with this course's rules of comparison."""
    root = tmp_path / "course"
    (root / "notebooks").mkdir(parents=True)
    shutil.copy(ROOT / "conftest.py", root)
    shutil.copy(ROOT / "notebooks" / "sanitize.cfg", root / "notebooks")
    monkeypatch.setattr(tool, "ROOT", root)
    monkeypatch.setattr(tool, "OUT", root / "results" / "numeric_settings.json")
    write(root, "9\n")
    return root


def write(root, stored, name="00_tiny.ipynb"):
    """A notebook whose second cell prints 9, and the first something after ≈ that differs from run to run."""
    sources = {"import os\nprint('≈', os.getpid())": "≈ 1\n", "print(3**2)": stored}
    cells = [
        nbformat.v4.new_code_cell(source, execution_count=i, outputs=[nbformat.v4.new_output("stream", name="stdout", text=text)])
        for i, (source, text) in enumerate(sources.items(), 1)
    ]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), root / "notebooks" / name)


def pretend(monkeypatch, **found):
    """PyTorch says this of itself in every setting, and no notebook is run: returns the list of the settings asked for."""
    asked = []

    def one(key, notebooks, python, native, jobs):
        asked.append(key)
        measured = {"seconds": 1.0, "cells": 2, "compared": 2, "failed": 0, "failures": []}
        parts = {name: {"digest": tool.checksum(path), **measured} for name, path in notebooks.items()}
        row = {"setting": key, "environment": tool.SETTINGS[key], "versions": native["versions"]}
        return {**row, "settings at once": jobs, "by notebook": parts}

    monkeypatch.setattr(tool, "probe", lambda python, setting: {**BEST, **found})
    monkeypatch.setattr(tool, "one", one)
    return asked


def rows():
    return json.loads(tool.OUT.read_text("utf-8"))["rows"]


def test_there_are_twelve_settings_and_xdist():
    places = [tuple(sorted(setting.items())) for key, setting in tool.SETTINGS.items() if key != "xdist"]
    assert len(places) == len(set(places)) == 12


def test_a_run_is_a_row_and_is_not_done_twice(course, monkeypatch, capsys):
    assert tool.main(["--settings", "1-default-full"]) == 0
    (row,) = rows()
    assert row["environment"] == {"OMP_NUM_THREADS": "1", "ATEN_CPU_CAPABILITY": "default"}
    assert (row["cells"], row["compared"], row["failed"], row["failures"]) == (2, 2, 0, [])
    assert row["seconds"] > 0
    assert re.search(r"^1-default-full +2 +0 +\d+\.\d$", capsys.readouterr().out, re.M)

    monkeypatch.setattr(tool, "one", lambda *_: pytest.fail("the run was done again"))
    assert tool.main(["--settings", "1-default-full"]) == 0
    assert rows() == [row]
    assert "1 of 1 settings as stored" in capsys.readouterr().out


def test_a_cell_that_shows_something_else_fails_is_named_and_run_again(course, monkeypatch, capsys):
    write(course, "10\n")
    assert tool.main(["--settings", "1-default-full"]) == 1
    assert "0 of 1 settings as stored" in capsys.readouterr().out
    (row,) = rows()
    assert (row["cells"], row["compared"], row["failed"]) == (2, 2, 1)
    assert row["failures"] == ["notebooks.00_tiny.ipynb: Cell 1: Cell outputs differ"]

    asked = pretend(monkeypatch, versions=row["versions"])
    assert tool.main(["--settings", "1-default-full"]) == 0
    assert asked == ["1-default-full"]
    assert rows()[0]["failed before"] == row["failures"]


def test_the_runs_go_on_where_they_were(course, monkeypatch):
    asked = pretend(monkeypatch)
    assert tool.main(["--settings", "1-avx2-full", "2-avx2-full"]) == 0
    assert tool.main(["--jobs", "3"]) == 0
    assert sorted(asked) == sorted(tool.SETTINGS)
    assert sorted(row["setting"] for row in rows()) == sorted(tool.SETTINGS)


def test_another_torch_adds_rows_beside_the_old(course, monkeypatch):
    for version in ("2.6.0", "2.15.0"):
        pretend(monkeypatch, versions={**VERSIONS, "torch": version})
        assert tool.main(["--settings", "1-avx2-full"]) == 0
    assert [row["versions"]["torch"] for row in rows()] == ["2.6.0", "2.15.0"]


def test_only_a_changed_notebook_is_run_again(course, monkeypatch):
    write(course, "9\n", "01_more.ipynb")
    assert tool.main(["--settings", "1-default-full"]) == 0
    assert (rows()[0]["cells"], rows()[0]["compared"]) == (4, 4)
    write(course, "10\n", "01_more.ipynb")
    shutil.copy(course / "notebooks" / "00_tiny.ipynb", course / "notebooks" / "02_new.ipynb")
    ran, real = [], tool.one
    monkeypatch.setattr(tool, "one", lambda key, notebooks, *rest: ran.extend(notebooks) or real(key, notebooks, *rest))
    assert tool.main(["--settings", "1-default-full"]) == 1
    assert ran == ["notebooks/01_more.ipynb", "notebooks/02_new.ipynb"]
    (row,) = rows()
    assert list(row["by notebook"]) == ["notebooks/00_tiny.ipynb", *ran]
    assert (row["cells"], row["compared"], row["failed"]) == (6, 6, 1)

    (course / "notebooks" / "01_more.ipynb").unlink()  # what is gone counts no more
    assert tool.main(["--settings", "1-default-full"]) == 0
    (course / "notebooks" / "00_tiny.ipynb").unlink()
    assert tool.main(["--settings", "1-default-full"]) == 0
    assert len(ran) == 2


def test_another_mnistlib_begins_anew(course, monkeypatch, capsys):
    pretend(monkeypatch)
    assert tool.main(["--settings", "1-avx2-full"]) == 0
    (course / "mnistlib").mkdir()
    (course / "mnistlib" / "new.py").touch()
    assert tool.main(["--settings", "2-avx2-full"]) == 0
    assert "beginning anew" in capsys.readouterr().out
    assert [row["setting"] for row in rows()] == ["2-avx2-full"]


def test_notebooks_that_change_during_a_run_make_it_count_for_nothing(course, monkeypatch, capsys):
    pretend(monkeypatch)
    quick = tool.one
    monkeypatch.setattr(tool, "one", lambda *arguments: write(course, "nine\n") or quick(*arguments))
    assert tool.main(["--settings", "1-avx2-full"]) == 2
    assert "changed during a run" in capsys.readouterr().err
    assert not tool.OUT.exists()


@pytest.mark.parametrize(
    ("key", "found", "reason"),
    [
        ("1-avx512-full", {"capability": "AVX2"}, "AVX2 at most, not AVX512"),
        ("1-avx2-full", {"capability": "NO AVX"}, "NO AVX at most, not AVX2"),
        ("1-avx2-full", {}, "PyTorch uses AVX512, not AVX2"),  # it does not follow the variable
        ("1-avx512-full", {}, "PyTorch uses 2 threads"),
        ("2-avx512-limited", {}, "with this limit and without, oneDNN uses Intel AVX-512"),
        ("xdist", {"xdist": None}, "pytest-xdist is not installed"),
    ],
)
def test_what_cannot_be_had_is_never_called_passed(course, monkeypatch, capsys, key, found, reason):
    real = tool.one
    pretend(monkeypatch, **found)
    monkeypatch.setattr(tool, "one", real)
    assert tool.main(["--settings", key]) == 0
    (row,) = rows()
    assert reason in row["not possible here"]
    assert not tool.green(row)
    assert "0 of 1 settings as stored, 1 not possible here" in capsys.readouterr().out


@pytest.mark.parametrize("change", [{"compared": 1}, {"failed": 1}, {"cells": 0, "compared": 0}])
def test_green_needs_every_cell(change):
    row = {"setting": "1-avx2-full", "seconds": 1.0, "cells": 2, "compared": 2, "failed": 0, "failures": []}
    assert tool.green(row)
    assert not tool.green(row | change)


def test_other_variables_that_change_numbers_are_left_out(monkeypatch):
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "SSE41")
    monkeypatch.setenv("MKL_NUM_THREADS", "7")
    variables = tool.environment("2-avx2-full")
    assert variables.keys().isdisjoint({"ONEDNN_MAX_CPU_ISA", "MKL_NUM_THREADS"})
    assert variables["OMP_NUM_THREADS"] == "2"


@pytest.mark.parametrize("content", ["", '{"rows": [', "[]", "{}", '{"rows": [{"setting": "1-avx2-full"}]}', "\xff"])
def test_a_damaged_file_is_one_clear_error_and_stays(course, monkeypatch, capsys, content):
    pretend(monkeypatch)
    tool.OUT.parent.mkdir()
    tool.OUT.write_text(content, "latin-1")
    assert tool.main(["--settings", "1-avx2-full"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {tool.OUT} is damaged")
    assert "Remove it" in line
    assert tool.OUT.read_text("latin-1") == content


def test_a_python_that_is_not_there_is_one_clear_error(course, capsys):
    assert tool.main(["--python", str(course / "no-python")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert "no-python" in line


def test_a_pytest_that_does_not_come_to_its_end_is_no_row(course, monkeypatch, capsys):
    monkeypatch.setattr(tool, "probe", lambda python, setting: {**BEST, "versions": VERSIONS})
    monkeypatch.setitem(tool.OPTIONS, "xdist", ["--no-such-option"])
    assert tool.main(["--settings", "xdist"]) == 2
    assert "did not come to its end in setting xdist" in capsys.readouterr().err
    assert not tool.OUT.exists()


@pytest.mark.parametrize("arguments", [["--settings", "3-avx9"], ["--notebooks", "*.ipynb"], ["--jobs", "0"]])
def test_bad_options_are_refused(course, capsys, arguments):
    with pytest.raises(SystemExit) as caught:
        tool.main(arguments)
    assert caught.value.code == 2
    assert "error: " in capsys.readouterr().err


def test_the_course_shows_the_same_in_twelve_settings():
    stored = json.loads(STORED.read_text("utf-8"))
    assert {"command", "digest", "hardware"} <= stored.keys()
    run = [row for row in stored["rows"] if tool.IMPOSSIBLE not in row]
    assert [row["setting"] for row in run if not tool.green(row)] == []
    assert len({row["setting"] for row in run}) >= 12
    tested = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["mnistlib"]["tested-torch"]
    assert {row["versions"]["torch"].partition("+")[0] for row in run} == set(tested)
    assert len(stored["notebooks"]) >= 16
    assert all(list(row["by notebook"]) == stored["notebooks"] for row in run)
    assert tool.table(stored) in (ROOT / "README.md").read_text("utf-8")


class DeadKernels:
    """nbval's start of a kernel, of which some die."""

    def __init__(self, *said):
        self.said = list(said)

    def __call__(self, **options):
        if self.said:
            raise RuntimeError(self.said.pop(0))
        return options["kernel_name"]


DIED = "Kernel died before replying to kernel_info"  # jupyter_client's words


def test_a_kernel_that_dies_at_its_start_is_started_again(pytestconfig):
    (conftest,) = (plugin for plugin in pytestconfig.pluginmanager.get_plugins() if hasattr(plugin, "started_again"))
    assert conftest.started_again(DeadKernels(DIED, DIED))(kernel_name="python3") == "python3"
    with pytest.raises(RuntimeError, match=DIED):
        conftest.started_again(DeadKernels(*[DIED] * 3))(kernel_name="python3")
    other = DeadKernels("Kernel didn't respond in 60 seconds")
    with pytest.raises(RuntimeError, match="respond"):
        conftest.started_again(other)(kernel_name="python3")
    assert nbval.kernel.start_new_kernel.__wrapped__.__module__ == "nbval.kernel"


def test_the_table_has_the_newest_pytorch_first_and_a_column_for_each_number_of_threads():
    versions = {"torch": "2.6.0+cpu"}
    rows = [
        {"setting": key, "versions": versions, "compared": 7, "failed": failed}
        for key, failed in (("xdist", 0), ("2-avx2-limited", 1), ("1-avx2-limited", 0), ("1-default-full", 0))
    ]
    rows.append({"setting": "1-avx512-full", "versions": versions, tool.IMPOSSIBLE: "no such processor"})
    rows.append({"setting": "1-avx2-full", "versions": {"torch": "2.15.0"}, "compared": 8, "failed": 0})
    assert tool.table({"rows": rows}).splitlines()[2:] == [
        "| 2.15.0 | AVX2, oneDNN all | 8, 0 failed |  |",
        "| 2.6.0 | no AVX, oneDNN all | 7, 0 failed |  |",
        "| 2.6.0 | AVX2, oneDNN less | 7, 0 failed | 7, 1 failed |",
        "| 2.6.0 | two notebooks at once | 7, 0 failed |  |",
    ]
