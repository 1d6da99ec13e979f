"""The doctor: one line a check, every fault named with its remedy, and never a traceback."""

import json
import os
import re
import subprocess
import sys
import types
import venv
from pathlib import Path

import pytest

from mnistlib import datasets, doctor

REMEDY = re.compile(r"\b(run|install|set|make|remove|copy|train)\b", re.IGNORECASE)
CHECKS = [name for name, _ in doctor.checks()]


@pytest.fixture(autouse=True)
def clean_environment(tmp_path, monkeypatch):
    """No kernels or settings of whoever runs the tests."""
    for name in ("JUPYTER_PATH", "OMP_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "jupyter"))


def run_doctor(**environment):
    """Run the doctor as a student does; give its exit status, its lines, and what it said beside them."""
    command = [sys.executable, "-m", "mnistlib", "doctor"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, env={**os.environ, **environment})
    return result.returncode, result.stdout.splitlines(), result.stderr


def fake_modules(folder, **modules):
    """Files that stand in the way of installed packages; the folder for PYTHONPATH."""
    folder.mkdir()
    for name, source in modules.items():
        (folder / f"{name}.py").write_text(source)
    return str(folder)


def kernel_spec(folder, text):
    """A kernel called python3 in a folder for JUPYTER_PATH."""
    place = folder / "kernels" / "python3"
    place.mkdir(parents=True)
    (place / "kernel.json").write_text(text)
    return str(folder)


def starts(command):
    return json.dumps({"argv": [str(command), "-m", "ipykernel_launcher", "-f", "{connection_file}"], "display_name": "Python 3"})


def checks_in(lines):
    """[(ok or fail, check, text)] of what the doctor printed; a text may go on in the lines below."""
    found = re.split(r"^\[(ok|fail)\] +([^:\n]+): ", "\n".join(lines[:-1]), flags=re.MULTILINE)
    assert found[0] == ""  # nothing stands before the first check, such as a traceback
    return list(zip(found[1::3], found[2::3], found[3::3], strict=True))


def failures(lines):
    """{check: text} of the faults."""
    return {check: text for state, check, text in checks_in(lines) if state == "fail"}


def diagnosis(capsys):
    """What the doctor finds in this program: {check: text} of the faults."""
    well = doctor.run()
    lines = capsys.readouterr().out.splitlines()
    found = failures(lines)
    assert well == (not found)
    assert [check for _, check, _ in checks_in(lines)] == CHECKS
    return found


# The whole command


def test_all_is_well_here():
    status, lines, errors = run_doctor()
    assert failures(lines) == {}
    assert lines[-1] == "Ready for the course."
    assert (status, errors) == (0, "")
    assert len(lines) == len(CHECKS) + 1
    assert "60,000 training and 10,000 test images" in "\n".join(lines)
    assert "61,706 parameters" in "\n".join(lines)


NO_TORCH = "raise ModuleNotFoundError(\"No module named 'torch'\", name='torch')"
BROKEN_TORCH = "raise OSError('libcudart.so.13: cannot open shared object file: No such file or directory')"


@pytest.mark.parametrize("source", [NO_TORCH, BROKEN_TORCH], ids=["missing", "broken"])
def test_without_torch_every_line_says_what_to_do(source, tmp_path):
    status, lines, errors = run_doctor(PYTHONPATH=fake_modules(tmp_path / "fake", torch=source))
    found = failures(lines)
    assert (status, errors) == (1, "")
    assert {"torch", "torchvision"} <= set(found)
    assert "requirements.txt" in found["torch"]
    assert "ipywidgets" not in found  # what does not need torch is looked at all the same
    assert "data folder" not in found
    assert [name for name, text in found.items() if not REMEDY.search(text)] == []
    assert lines[-1] == f"{len(found)} of the checks failed; each says what to do."


def test_a_torchvision_built_for_another_torch_is_called_so(tmp_path):
    source = "raise RuntimeError('operator torchvision::nms does not exist')"
    status, lines, errors = run_doctor(PYTHONPATH=fake_modules(tmp_path / "fake", torchvision=source))
    found = failures(lines)
    assert (status, errors) == (1, "")
    assert "torch" not in found
    assert re.search(r"torchvision \S+ does not match torch \S+ \(operator torchvision::nms", found["torchvision"])
    assert "--force-reinstall -r requirements.txt" in found["torchvision"]
    assert [name for name, text in found.items() if not REMEDY.search(text)] == []


def test_many_faults_at_once_have_a_line_each(tmp_path):
    """Another package called mnistlib, no ipykernel, no ipywidgets, too many threads, a file for a data folder."""
    fake = fake_modules(tmp_path / "fake", ipykernel="raise ImportError('broken')", ipywidgets="raise ImportError('broken')")
    other = tmp_path / "fake" / "mnistlib-9.9.dist-info"
    other.mkdir()
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: mnistlib\nVersion: 9.9\n")
    (tmp_path / "file").write_text("a file")
    environment = {"PYTHONPATH": fake, "OMP_NUM_THREADS": "4096", "MNISTLIB_DATA": str(tmp_path / "file")}
    status, lines, errors = run_doctor(**environment)
    found = failures(lines)
    assert (status, errors) == (1, "")
    assert found.pop("anywidget")  # it needs ipywidgets
    assert set(found) == {"ipykernel", "ipywidgets", "kernel", "mnistlib", "processors", "data folder", "MNIST"}
    assert "another package called mnistlib, 9.9, is in the way" in found["mnistlib"]
    assert "pip uninstall mnistlib" in found["mnistlib"]
    assert "OMP_NUM_THREADS is 4096" in found["processors"]
    assert [name for name, text in found.items() if not REMEDY.search(text)] == []


# One fault at a time, in this program


def test_nothing_is_wrong_in_this_program(capsys):
    assert diagnosis(capsys) == {}


@pytest.mark.parametrize("package", [*doctor.PACKAGES, "ipywidgets"])
def test_a_missing_package_is_named_with_its_purpose_and_remedy(package, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, package, None)  # importing it now fails
    found = diagnosis(capsys)
    assert package in found
    assert "pip install" in found[package]
    assert doctor.PACKAGES.get(package, "progress bars") in found[package]


def test_a_package_that_breaks_in_another_way_has_a_remedy_too(tmp_path, monkeypatch, capsys):
    """Such as a library file that is missing, or one built for another NumPy."""
    monkeypatch.syspath_prepend(fake_modules(tmp_path / "fake", seaborn="raise AttributeError('_ARRAY_API not found')"))
    monkeypatch.delitem(sys.modules, "seaborn", raising=False)
    found = diagnosis(capsys)
    assert set(found) == {"seaborn"}
    assert "_ARRAY_API not found" in found["seaborn"]
    assert "pip install" in found["seaborn"]


def test_an_old_python_is_named(monkeypatch):
    monkeypatch.setattr(sys, "version_info", (3, 9, 1))
    monkeypatch.setattr(sys, "version", "3.9.1 (main)")
    with pytest.raises(doctor.Problem, match=r"3\.9\.1 is too old. Install Python 3\.11 or newer"):
        doctor.python_version()


def test_a_torchvision_that_is_missing_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchvision", None)
    with pytest.raises(doctor.Problem, match=r"is not installed\. .*requirements\.txt"):
        doctor.torchvision_version()


def test_a_torchvision_whose_operators_do_not_run_is_named(monkeypatch):
    """It can be imported where its compiled part cannot be loaded."""

    def nms(*_):
        raise RuntimeError("Couldn't load custom C++ ops.\nThis can happen if …")

    monkeypatch.setitem(sys.modules, "torchvision", types.SimpleNamespace(ops=types.SimpleNamespace(nms=nms), __version__="0"))
    with pytest.raises(
        doctor.Problem, match=r"does not match torch .*Couldn't load custom C\+\+ ops\.\)\. Install the two together"
    ):
        doctor.torchvision_version()


def test_the_course_without_its_installation_says_how_to_install_it(monkeypatch):
    def version(name):
        raise doctor.importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(doctor.importlib.metadata, "version", version)
    with pytest.raises(doctor.Problem, match=r"is not installed.*pip install -e \."):
        doctor.course()


def test_more_threads_than_processors_are_named(monkeypatch, capsys):
    monkeypatch.setenv("OMP_NUM_THREADS", "4096")
    found = diagnosis(capsys)
    assert set(found) == {"processors"}
    assert "4096" in found["processors"]
    assert "Set it to" in found["processors"]


@pytest.mark.parametrize("count", ["1", "", "many"])
def test_other_thread_settings_are_no_fault(count, monkeypatch, capsys):
    monkeypatch.setenv("OMP_NUM_THREADS", count)
    assert diagnosis(capsys) == {}


# The kernel


def test_a_kernel_that_starts_this_python_is_right(tmp_path, monkeypatch):
    monkeypatch.setenv("JUPYTER_PATH", kernel_spec(tmp_path / "kernels", starts(sys.executable)))
    assert doctor.kernel() == "python3"


@pytest.mark.parametrize("name", ["python", "python3", f"python3.{sys.version_info.minor}"])
def test_a_bare_name_that_jupyter_replaces_by_its_own_python_is_right(name, tmp_path, monkeypatch):
    monkeypatch.setenv("JUPYTER_PATH", kernel_spec(tmp_path / "kernels", starts(name)))
    assert doctor.kernel() == "python3"


@pytest.fixture
def other_python(tmp_path):
    """Another environment's Python, without any package."""
    venv.create(tmp_path / "other", symlinks=os.name != "nt", with_pip=False)
    return tmp_path / "other" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def test_a_kernel_of_another_python_is_named(tmp_path, monkeypatch, capsys, other_python):
    monkeypatch.setenv("JUPYTER_PATH", kernel_spec(tmp_path / "kernels", starts(other_python)))
    found = diagnosis(capsys)
    assert set(found) == {"kernel"}
    assert f"belongs to another Python, {tmp_path / 'other'}" in found["kernel"]
    assert f"{sys.executable} -m ipykernel install --sys-prefix --name python3" in found["kernel"]


def not_executable(tmp_path):
    path = tmp_path / "python"
    path.write_text("no program")
    return starts(path)


def not_a_python(tmp_path):
    path = tmp_path / "python"
    path.write_text("#!/bin/sh\nexit 3\n")
    path.chmod(0o755)
    return starts(path)


def speaks_nonsense(tmp_path):
    path = tmp_path / "python"
    path.write_text("#!/bin/sh\necho hello\n")
    path.chmod(0o755)
    return starts(path)


BAD_KERNELS = {
    "removed": lambda tmp_path: starts(tmp_path / "removed" / "python"),
    "not a program": not_executable,
    "not a Python": not_a_python,
    "says something else": speaks_nonsense,
    "without a command": lambda tmp_path: json.dumps({"argv": [], "display_name": "Python 3"}),
    "damaged": lambda tmp_path: "{ half a file",
}


@pytest.mark.skipif(os.name == "nt", reason="needs shell scripts")
@pytest.mark.parametrize("kind", BAD_KERNELS)
def test_a_kernel_that_cannot_start_is_named_with_the_remedy(kind, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("JUPYTER_PATH", kernel_spec(tmp_path / "kernels", BAD_KERNELS[kind](tmp_path)))
    found = diagnosis(capsys)
    assert set(found) == {"kernel"}
    assert "ipykernel install" in found["kernel"]


def test_the_remedy_for_a_wrong_kernel_says_where_it_is(tmp_path, monkeypatch, other_python):
    """A new kernel in the environment's folder does not help while Jupyter finds the wrong one first."""
    folder = kernel_spec(tmp_path / "kernels", starts(other_python))
    monkeypatch.setenv("JUPYTER_PATH", folder)
    with pytest.raises(doctor.Problem) as caught:
        doctor.kernel()
    assert str(Path(folder) / "kernels" / "python3") in str(caught.value)


# The data folder


def test_the_data_folder_is_named(data_folder):
    assert doctor.data_folder_is_writable() == str(data_folder)
    assert list(data_folder.iterdir()) == []


def test_a_data_folder_in_the_users_own_is_shortened_and_no_other(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "home"))
    monkeypatch.setenv("MNISTLIB_DATA", str(tmp_path / "home" / "data"))
    assert doctor.data_folder_is_writable() == str(Path("~", "data"))
    monkeypatch.setenv("MNISTLIB_DATA", str(tmp_path / "home2" / "data"))
    assert doctor.data_folder_is_writable() == str(tmp_path / "home2" / "data")


def test_a_data_folder_that_is_a_file_is_named(tmp_path, monkeypatch, capsys):
    (tmp_path / "file").write_text("a file")
    monkeypatch.setenv("MNISTLIB_DATA", str(tmp_path / "file"))
    found = diagnosis(capsys)
    assert set(found) == {"data folder", "MNIST"}
    assert str(tmp_path / "file") in found["data folder"]
    assert "MNISTLIB_DATA" in found["data folder"]


def below_a_file(tmp_path):
    (tmp_path / "file").write_text("a file")
    return tmp_path / "file" / "data"


UNUSABLE = {
    "below a file": below_a_file,
    "in a folder of the system": lambda tmp_path: Path("/proc/mnistlib-test"),
    "with too long a name": lambda tmp_path: tmp_path / ("long" * 100),
}


@pytest.mark.parametrize("kind", UNUSABLE)
def test_a_data_folder_that_cannot_be_written_is_named(kind, tmp_path, monkeypatch, capsys):
    folder = UNUSABLE[kind](tmp_path)
    if folder.parent == Path("/proc") and not folder.parent.exists():
        pytest.skip("no /proc on this system")
    monkeypatch.setenv("MNISTLIB_DATA", str(folder))
    found = diagnosis(capsys)
    assert "data folder" in found
    assert str(folder) in found["data folder"]
    assert "MNISTLIB_DATA" in found["data folder"]


# The course's own files


def test_a_damaged_package_without_a_network_is_named(tmp_path, monkeypatch, no_network, capsys):
    monkeypatch.setattr(datasets, "PACKAGE_DATA", tmp_path / "nothing")
    found = diagnosis(capsys)
    assert set(found) == {"MNIST"}
    assert "python -m mnistlib data MNIST" in found["MNIST"]


def test_missing_weights_are_named_with_a_remedy(tmp_path, monkeypatch, capsys):
    from mnistlib import checkpoints

    monkeypatch.setattr(checkpoints, "WEIGHTS", tmp_path)
    found = diagnosis(capsys)
    assert set(found) == {"trained network"}
    assert "python -m mnistlib train --network lenet5" in found["trained network"]
