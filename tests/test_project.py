"""The files around the course agree, and the set-up installs the PyTorch that the machine needs."""

import json
import re
import subprocess
import sys
import threading
import tomllib
import zipfile
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import course

ROOT = Path(__file__).resolve().parent.parent
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
PROJECT = PYPROJECT["project"]
TESTED = PYPROJECT["tool"]["mnistlib"]
BY_PIP = ["tfrecords", "draw", "onnx"]  # the extras that pip brings into the conda environment
# Written in parts, so that this file does not contain what it forbids.
FORBIDDEN = ["py" + "pi.org", "python" + "hosted.org", "npm" + "js.org", "conda." + "anaconda.org", "OWNER" + "/"]
FORBIDDEN += [f"pip install {'mnist'}lib\n", f"pip install {'mnist'}lib`"]  # somebody else's package


def wanted() -> dict[str, Requirement]:
    """What the course and its extras ask for."""
    extras = PROJECT["optional-dependencies"].values()
    found = [Requirement(line) for line in PROJECT["dependencies"] + [line for extra in extras for line in extra]]
    return {canonicalize_name(requirement.name): requirement for requirement in found}


def pins(name="requirements.txt") -> list[Requirement]:
    lines = (ROOT / name).read_text("utf-8").splitlines()
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


def test_every_dependency_is_pinned_to_a_version_inside_its_bounds():
    versions = [(canonicalize_name(pin.name), str(pin.specifier).removeprefix("==")) for pin in pins()]
    for name, requirement in wanted().items():
        mine = [version for other, version in versions if other == name]
        assert mine, f"{name} is missing in requirements.txt"
        assert all(requirement.specifier.contains(version) for version in mine), name
    for pin in pins("site/requirements.txt"):
        mine = [version for other, version in versions if other == canonicalize_name(pin.name)]
        assert not mine or str(pin.specifier).removeprefix("==") in mine, f"{pin} is another version than the course's"


def test_conda_asks_for_the_same_as_pip():
    *lines, by_pip = yaml.safe_load((ROOT / "environment.yml").read_text("utf-8"))["dependencies"]
    assert by_pip["pip"][0] == f"-e .[{','.join(BY_PIP)}]"
    asked = {line.name: str(line.specifier) for line in map(Requirement, [*lines, *by_pip["pip"][1:]])}
    assert asked.pop("python") == PROJECT["requires-python"]
    brought = {Requirement(line).name for extra in BY_PIP for line in PROJECT["optional-dependencies"][extra]}
    mine = {name: str(requirement.specifier) for name, requirement in wanted().items() if name not in brought}
    mine |= {"pytorch": mine.pop("torch"), "pip": ""}
    assert asked == mine


@pytest.mark.parametrize("name", ["torch", "torchvision"])
def test_bounds_and_pins_are_the_versions_tested(name):
    oldest, newest = TESTED[f"tested-{name}"]
    assert str(wanted()[name].specifier) == f">={oldest}".removesuffix(".0")
    assert [str(pin.specifier) for pin in pins() if pin.name == name] == [f"=={newest}"]


def test_no_file_names_a_package_registry_or_an_address_that_does_not_exist():
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True)
    paths = [ROOT / name for name in listed.stdout.splitlines()]
    texts = {path: path.read_bytes().decode("utf-8", "replace") for path in paths if path.is_file()}
    assert len(texts) > 100 or listed.returncode
    assert [(path.name, word) for path, text in texts.items() for word in FORBIDDEN if word in text] == []


def test_make_and_course_py_have_the_same_commands():
    commands = re.search(r"^COMMANDS = (.+)$", (ROOT / "Makefile").read_text("utf-8"), re.M)[1].split()
    assert commands == list(course.COMMANDS)
    said = subprocess.run(["make", "VENV=x y", "--dry-run", "lab"], cwd=ROOT, capture_output=True, text=True).stdout
    assert '--venv "x y" --torch "auto"' in said


def test_the_guide_for_teachers_answers_every_prediction():
    guide = (ROOT / "docs" / "teachers.md").read_text("utf-8").partition("## The predictions")[2].split("\n### ")
    answers = {part[:2]: len(re.findall(r"^\d+\. ", part, re.M)) for part in guide[1:]}
    texts = {path.name[:2]: path.read_text("utf-8") for path in (ROOT / "notebooks").glob("[0-9]*.ipynb")}
    asked = {name: text.count("**Predict, then ") - (name == "00") for name, text in texts.items()}  # 00 explains
    assert answers == asked


@pytest.fixture
def index(tmp_path, monkeypatch):
    """On the loopback, an index with stand-ins for PyTorch's CPU build."""
    handler = type("Quiet", (SimpleHTTPRequestHandler,), {"log_message": lambda *_: None})
    for pin in (pin for pin in pins() if pin.name in ("torch", "torchvision")):
        version = f"{str(pin.specifier)[2:]}+cpu"
        info, wheel = f"{pin.name}-{version}.dist-info", f"{pin.name}-{version}-py3-none-any.whl"
        folder = tmp_path / "cpu" / pin.name
        folder.mkdir(parents=True)
        (folder / "index.html").write_text(f'<a href="{wheel}">{wheel}</a>')
        with zipfile.ZipFile(folder / wheel, "w") as file:
            file.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {pin.name}\nVersion: {version}\n")
            file.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            file.writestr(f"{info}/RECORD", "")
    monkeypatch.setattr(sys, "platform", "linux")
    with ThreadingHTTPServer(("127.0.0.1", 0), lambda *args: handler(*args, directory=tmp_path)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setattr(course, "torch_index", lambda kind: f"http://127.0.0.1:{server.server_port}/{kind}")
        yield server
        server.shutdown()


@pytest.mark.slow
def test_without_a_gpu_pytorch_comes_from_its_cpu_index(tmp_path, index, capfd):
    course.make(tmp_path / "venv")
    pip = [str(course.python_of(tmp_path / "venv")), "-m", "pip"]
    course.install_torch(pip, "cpu")
    versions = {
        each["name"]: each["version"] for each in json.loads(subprocess.check_output([*pip, "list", "--format=json"]))
    }
    assert versions["torch"] == TESTED["tested-torch"][1] + "+cpu"
    assert versions["torchvision"] == TESTED["tested-torchvision"][1] + "+cpu"
    (pin,) = (str(pin) for pin in pins() if pin.name == "torch")  # what is there is all that it asks for
    assert subprocess.run([*pip, "install", "--no-index", "--no-deps", pin]).returncode == 0
    assert "ordinary" not in capfd.readouterr().out


def test_where_the_cpu_index_does_not_answer_one_sentence_says_so(monkeypatch, capfd):
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(course, "torch_index", lambda kind: "http://127.0.0.1:9/cpu")
    course.install_torch(["pip is not run"], "cpu")
    (line,) = capfd.readouterr().out.splitlines()
    assert "the ordinary one, which brings CUDA" in line
