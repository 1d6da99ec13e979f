"""The doctor, in this program: one line per check, every fault named with its remedy, and never a traceback."""

import json
import os
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from mnistlib import data, doctor, weights


@pytest.fixture(autouse=True)
def clean_environment(tmp_path, monkeypatch):
    """No kernels, settings or files of whoever runs the tests."""
    for name in ("JUPYTER_PATH", "OMP_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "jupyter"))
    monkeypatch.chdir(tmp_path)


def diagnosis(capsys):
    """Run the doctor; return {check: text} of what is well, and of the faults."""
    well = doctor.run()
    body, _, last = capsys.readouterr().out.rstrip("\n").rpartition("\n")
    before, *parts = re.split(r"^\[(ok|fail)\] +([^:\n]+): ", body, flags=re.MULTILINE)
    lines = list(zip(parts[::3], parts[1::3], parts[2::3], strict=True))
    good, bad = ({name: text.strip() for state, name, text in lines if state == kind} for kind in ("ok", "fail"))
    assert before == ""
    assert {*good, *bad, "working folder"} == set(doctor.checks())
    assert well == (not bad)
    assert last == (f"{len(bad)} of the checks failed; each says what to do." if bad else "Ready for the course.")
    return good, bad


def problem(check, *arguments):
    with pytest.raises(doctor.Problem) as caught:
        check(*arguments)
    return str(caught.value)


def test_nothing_is_wrong_here(capsys):
    good, bad = diagnosis(capsys)
    assert bad == {}
    assert good["MNIST"] == "60,000 training and 10,000 test images"
    assert good["trained network"] == "LeNet-5 with 61,706 parameters"


def test_faults_of_files_have_a_line_each(tmp_path, monkeypatch, no_network, capsys):
    (tmp_path / "file").write_text("a file")
    (tmp_path / "torch.py").write_text("print('my first try')")
    monkeypatch.setenv("MNISTLIB_DATA", str(tmp_path / "file"))
    monkeypatch.setattr(data, "PACKAGE_DATA", tmp_path / "nothing")
    monkeypatch.setattr(weights, "SHIPPED", tmp_path)
    path = sys.path[:]
    _, bad = diagnosis(capsys)
    assert set(bad) == {"working folder", "data folder", "MNIST", "trained network"}
    assert "torch.py: Python imports this instead of the module of that name. Rename it" in bad["working folder"]
    assert "MNISTLIB_DATA" in bad["data folder"]
    assert "python -m mnistlib train --network lenet5" in bad["trained network"]
    assert sys.path == path


def test_packages_that_are_missing_broken_or_old_are_named(monkeypatch):
    for error, words in (
        (ModuleNotFoundError("No module"), "install -r"),
        (OSError("libc"), "install --force-reinstall -r"),
    ):
        monkeypatch.setattr(doctor, "import_module", lambda name, error=error: (_ for _ in ()).throw(error))
        for name in doctor.PACKAGES:
            assert re.search(rf"cannot be used: {error}\. .*{words} requirements\.txt", problem(doctor.package, name))
    monkeypatch.setattr(doctor.metadata, "version", lambda name: "1.5.3")
    for name in ("pandas", "torch"):
        assert re.match(r"1\.5\.3 is too old; the course needs >=2\.\d\. ", problem(doctor.package, name))


def test_a_torchvision_whose_operators_do_not_run_is_named(monkeypatch):
    def nms(*_):
        raise RuntimeError("operator torchvision::nms does not exist\nThis can happen if …")

    monkeypatch.setitem(sys.modules, "torchvision", SimpleNamespace(ops=SimpleNamespace(nms=nms)))
    words = (
        "cannot be used: operator torchvision::nms does not exist. In the course's folder run: python -m pip install --"
    )
    assert words in problem(doctor.package, "torchvision")


def test_an_old_python_another_mnistlib_and_a_missing_installation_are_named(monkeypatch):
    installed = [SimpleNamespace(metadata={"Name": "mnistlib"}, version="9.9")]
    monkeypatch.setattr(doctor.metadata, "distributions", lambda: installed)
    assert "another package called mnistlib is installed. Run: python -m pip uninstall mnistlib" in problem(
        doctor.course
    )
    installed.clear()
    assert "is not installed. In the course's folder run: python -m pip install -e ." in problem(doctor.course)
    monkeypatch.setattr(sys, "version_info", (3, 9, 1))
    monkeypatch.setattr(sys, "version", "3.9.1 (main)")
    assert problem(doctor.python).startswith("3.9.1 is too old. Install Python 3.11 or newer")


def test_only_more_threads_than_cores_are_a_fault(monkeypatch):
    for count in ("1", "", "many"):
        monkeypatch.setenv("OMP_NUM_THREADS", count)
        assert "CPU cores" in doctor.cores()
    monkeypatch.setenv("OMP_NUM_THREADS", "4096")
    assert re.search(r"is 4096, but there are \d+ CPU cores.* Set it to \d+, or remove it", problem(doctor.cores))


def test_the_data_folder_is_shortened_in_the_users_own(tmp_path, monkeypatch, data_folder):
    assert doctor.data_folder() == str(data_folder)
    assert list(data_folder.iterdir()) == []
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    assert doctor.data_folder() == str(Path("~", "data"))


@pytest.mark.skipif(os.name == "nt", reason="needs shell scripts")
def test_the_kernel_must_start_this_python(tmp_path, monkeypatch):
    place, python = tmp_path / "kernels" / "python3", tmp_path / "python"
    place.mkdir(parents=True)
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    for command in (sys.executable, "python", "python3", f"python3.{sys.version_info.minor}"):
        (place / "kernel.json").write_text(json.dumps({"argv": [command], "display_name": "Python 3"}))
        assert doctor.kernel() == "python3"
    for argv in ([str(python)], []):
        (place / "kernel.json").write_text(json.dumps({"argv": argv, "display_name": "Python 3"}))
        for script in (
            "",
            "#!/bin/sh\nexit 3\n",
            "#!/bin/sh\necho hello\n",
            "#!/bin/sh\necho 3",
            "#!/bin/sh\necho '\"/\"'",
        ):
            python.write_text(script)
            python.chmod(0o755 if script else 0o644)
            words = rf"starts another Python, or none: .*\. Remove the folder {re.escape(str(place))}, then run: "
            assert re.search(words + r".* -m ipykernel install --sys-prefix --name python3", problem(doctor.kernel))
    (place / "kernel.json").write_text("{ half a file")
    assert "ipykernel install --sys-prefix --name python3" in problem(doctor.kernel)
