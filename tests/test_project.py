"""The files around the course agree: bounds and pins, workflows, the Makefile and the README."""

import json
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parent.parent
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
PROJECT = PYPROJECT["project"]
TESTED = PYPROJECT["tool"]["mnistlib"]
BY_PIP = ["tfrecords", "draw", "onnx"]  # the extras that pip brings into the conda environment
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
# Written in parts, so that this file does not contain what it forbids.
INDEX_HOSTS = ["py" + "pi.org", "python" + "hosted.org", "download." + "pytorch.org", "conda." + "anaconda.org"]
NOT_OURS = re.compile(r"\bpip3?\s+install\b[^\n`\"';#|&]*\s" + "mnist" + r"lib(?![\w/.-])")  # somebody else's package


def wanted() -> dict[str, Requirement]:
    """What the course and its extras ask for."""
    extras = PROJECT["optional-dependencies"].values()
    found = [Requirement(line) for line in PROJECT["dependencies"] + [line for extra in extras for line in extra]]
    return {canonicalize_name(requirement.name): requirement for requirement in found}


def pins() -> list[Requirement]:
    lines = (ROOT / "requirements.txt").read_text("utf-8").splitlines()
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


def conda_lines() -> list[tuple[str, str]]:
    """(package and bounds, comment) of each line of environment.yml below `dependencies`."""
    _, _, text = (ROOT / "environment.yml").read_text("utf-8").partition("\ndependencies:\n")
    parts = (line.partition("#") for line in text.splitlines() if line.strip())
    return [(package.strip().removeprefix("- "), comment.strip()) for package, _, comment in parts]


def texts() -> dict[str, str]:
    """The text files of the repository, by name; what git ignores is left out."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, encoding="utf-8", check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("needs a git checkout")
    found = {}
    for name in filter(None, listed.split("\0")):
        path = ROOT / name
        if path.is_file() and b"\0" not in (content := path.read_bytes()):
            found[name] = content.decode("utf-8", "replace")
    return found


def steps(workflow: Path) -> list[dict]:
    jobs = yaml.safe_load(workflow.read_text("utf-8"))["jobs"]
    return [step for job in jobs.values() for step in job["steps"]]


@pytest.mark.parametrize("name", sorted(wanted()))
def test_each_dependency_is_pinned_inside_its_bounds(name):
    versions = [pin.specifier for pin in pins() if canonicalize_name(pin.name) == name]
    assert versions, f"{name} is missing in requirements.txt; the first lines there say how to make it again"
    for version in versions:
        assert wanted()[name].specifier.contains(str(version).removeprefix("==")), version


def test_requirements_are_exact_and_public():
    for pin in pins():
        (specifier,) = pin.specifier
        assert specifier.operator == "==", pin
        assert Version(specifier.version).local is None, f"{pin} is a local build that nobody else has"
        assert not pin.url, pin
    assert "uv" not in {pin.name for pin in pins()}


def test_environment_asks_for_the_same_as_pyproject():
    there = [Requirement(package) for package, _ in conda_lines() if not package.startswith(("pip", "-e"))]
    conda = {{"pytorch": "torch"}.get(line.name, line.name): line.specifier for line in there}
    assert conda.pop("python") == PROJECT["requires-python"]
    extras = PROJECT["optional-dependencies"]
    by_pip = {Requirement(line).name for extra in BY_PIP for line in extras[extra]}  # with the package itself
    assert conda == {name: requirement.specifier for name, requirement in wanted().items() if name not in by_pip}


def test_environment_installs_the_package_from_this_folder():
    dependencies = yaml.safe_load((ROOT / "environment.yml").read_text("utf-8"))["dependencies"]
    (by_pip,) = [line for line in dependencies if isinstance(line, dict)]
    assert dependencies[-2:] == ["pip", by_pip]
    assert by_pip["pip"][0] == f"-e .[{','.join(BY_PIP)}]"


def test_each_line_of_the_environment_says_what_it_is_for():
    silent = [package for package, comment in conda_lines() if not comment and package != "pip:"]
    assert silent == []


@pytest.mark.parametrize("name", ["torch", "torchvision"])
def test_bounds_and_pins_are_the_versions_tested(name):
    oldest, newest = (Version(version) for version in TESTED[f"tested-{name}"])
    (bound,) = wanted()[name].specifier  # one bound: an upper one would make pip replace the torch of Colab
    assert bound.operator == ">="
    assert Version(bound.version) == oldest
    (pin,) = (pin for pin in pins() if pin.name == name)
    assert str(pin.specifier) == f"=={newest}"


@pytest.mark.parametrize("host", INDEX_HOSTS)
def test_no_file_names_a_package_index(host):
    assert [name for name, text in texts().items() if host in text] == []


def test_no_file_recommends_the_other_mnistlib():
    assert [name for name, text in texts().items() if NOT_OURS.search(text)] == []


@pytest.mark.parametrize("command", ["pip install ", "pip install -U ", "python -m pip install numpy ", "%pip install --quiet "])
def test_the_search_for_the_other_mnistlib_finds_it(command):
    name = "mnist" + "lib"
    assert NOT_OURS.search(command + name)
    assert not NOT_OURS.search(command.replace("install", "uninstall") + name)
    assert not NOT_OURS.search(command + f"-e .  # brings {name}")


@pytest.mark.parametrize("name", ["uv.lock", "package-lock.json", "poetry.lock", "Pipfile.lock"])
def test_there_is_no_second_list_of_versions(name):
    assert name not in {Path(path).name for path in texts()}


def test_the_repositorys_address_stands_in_pyproject_alone():
    """Beside it only where `tools/notebooks.py stamp` writes it: first and set-up cells, and the README's badges and clone."""
    names = ["OWNER/" + PROJECT["name"], "/".join(PROJECT["urls"]["Repository"].rstrip("/").split("/")[-2:])]
    found = texts()
    del found["pyproject.toml"]
    for name in [name for name in found if re.fullmatch(r"notebooks/(solutions/)?[^/]+\.ipynb", name)]:
        cells = json.loads(found[name])["cells"]
        found[name] = "\n".join("".join(cell["source"]) for cell in cells if cell.get("id") not in ("header", "setup"))
    stamped = r"\[!\[Open \S+ in Colab\]\([^)]*\)\]\([^)]*\)|git clone \S+\ncd \S+"
    found["README.md"] = re.sub(stamped, "", found["README.md"])
    address = re.compile(rf"(?<![\w.-])({'|'.join(map(re.escape, names))})(?![\w-])", re.I)
    assert [name for name, text in found.items() if address.search(text)] == []


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_workflow_is_limited(path):
    """It parses, says what it may do, ends, and uses actions by digest: a tag can be moved."""
    workflow = yaml.safe_load(path.read_text("utf-8"))
    assert workflow["name"]
    assert workflow["permissions"] in ({}, {"contents": "read"})  # more, if need be, in the job that needs it
    assert "concurrency" in workflow
    assert all("timeout-minutes" in job for job in workflow["jobs"].values())
    loose = [step["uses"] for step in steps(path) if "uses" in step and not re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", step["uses"])]
    assert loose == []


def test_an_action_has_one_digest_everywhere():
    used = {step["uses"] for path in WORKFLOWS for step in steps(path) if "uses" in step}
    assert len(used) == len({name.partition("@")[0] for name in used}), used


@pytest.mark.parametrize("name", [".github/dependabot.yml", ".github/ISSUE_TEMPLATE/bug.yml", "environment.yml"])
def test_other_yaml_parses(name):
    assert yaml.safe_load((ROOT / name).read_text("utf-8"))


def test_the_bug_form_asks_for_the_doctor():
    assert "python -m mnistlib doctor" in (ROOT / ".github" / "ISSUE_TEMPLATE" / "bug.yml").read_text("utf-8")


@pytest.mark.parametrize("name", ["README.md", ".ci/run", ".github/ISSUE_TEMPLATE/bug.yml"])
def test_make_targets_that_are_named_exist(name):
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text("utf-8"), re.M))
    text = (ROOT / name).read_text("utf-8")
    if name == "README.md":  # prose has lines that begin with "make" too
        text = "\n".join(re.findall(r"^```.*?^```|`[^`\n]+`", text, re.M | re.S))
    commands = re.findall(r"(?:^|[`\"]|&& )[ $]*make((?: +[\w.=/-]+)+)", text, re.M)
    named = {word for command in commands for word in command.split() if "=" not in word and not word.startswith("-")}
    assert named <= targets, f"{name} names {sorted(named - targets)}; the Makefile has {sorted(targets)}"
