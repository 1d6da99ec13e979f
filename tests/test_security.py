"""What the course installs, downloads and reads: only what SECURITY.md says.

That actions are pinned by digest, and that no file recommends the package called mnistlib, is in test_project.py.
"""

import ast
import itertools
import json
import re

import pytest
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from test_project import PROJECT, ROOT, pins, texts, wanted

from mnistlib import datasets

# Beside requirements.txt and pyproject.toml, each with its reason.
ALSO = {"uv": "in test.yml: pip cannot choose the lowest versions", canonicalize_name(PROJECT["name"]): "the course itself"}
SYSTEM = {"make", "chromium", "fonts-dejavu-core", "python3-venv", "dataset-fashion-mnist"}  # packages of Debian
TAKES_A_VALUE = {
    "-r",
    "-c",
    "-e",
    "--requirement",
    "--constraint",
    "--editable",
    "--prefix",
    "--upgrade-strategy",
    "--resolution",
}
OTHER_INDEX = ("-i", "--index-url", "--extra-index-url", "--find-links", "-f", "--trusted-host")
COMMAND = re.compile(r"\b(pip3?|conda|mamba|apt|apt-get|npm)[ \t]+(?:env[ \t]+|-\w+[ \t]+)*(?:install|download|create)\b(.*)")


def cells(text):
    """The source of each cell of a notebook, by kind."""
    return [(cell["cell_type"], "".join(cell["source"])) for cell in json.loads(text)["cells"]]


@pytest.fixture(scope="module")
def sources():
    """{name: text} of what people and machines run or read: not the tests, and of notebooks the cells."""
    found = {name: text for name, text in texts().items() if not name.startswith("tests/")}
    return {name: "\n".join(part for _, part in cells(text)) if name.endswith(".ipynb") else text for name, text in found.items()}


@pytest.fixture(scope="module")
def programs():
    """{name: syntax tree} of every Python file outside the tests, and of the code cells of each notebook."""
    trees = {}
    for name, text in texts().items():
        if name.endswith(".ipynb"):
            code = "\n".join(part for kind, part in cells(text) if kind == "code")
            text = re.sub(r"^(\s*)[%!].*", r"\1pass", code, flags=re.M)  # Jupyter's own commands
        if name.endswith((".py", ".ipynb")) and not name.startswith("tests/"):
            trees[name] = ast.parse(text)
    return trees


def commands(text):
    """(program, words) of each command in a text that installs something."""
    text = re.sub(r"\\\n\s*", " ", text)
    for program, rest in COMMAND.findall(text):
        rest = re.split(r"[`;&|)]|\s#|\s>&|\\n", rest)[0]
        words = [next(filter(None, found)) for found in re.findall(r"\"([^\"]+)\"|'([^']+)'|([^\s\"']+)", rest)]
        yield program, [word.rstrip(".,:") or word for word in words]


def packages(words):
    """What is installed by name, without options and their values."""
    words = iter(words)
    for word in words:
        if word in TAKES_A_VALUE:
            next(words, None)
        elif not word.startswith("-") and word != ".":
            yield word


def name_of(package):
    """The canonical name of a package for pip; as it stands where that is none."""
    try:
        return canonicalize_name(Requirement(re.sub(r"@ git\+\S*", "", package).strip()).name)
    except InvalidRequirement:
        return package


def known():
    website = (ROOT / "site" / "requirements.txt").read_text("utf-8").splitlines()
    listed = [*pins(), *(Requirement(line) for line in website if line and not line.startswith("#"))]
    return {canonicalize_name(requirement.name) for requirement in listed} | set(wanted()) | set(ALSO)


def unknown(text):
    """What a text installs that is in none of the course's lists."""
    found = []
    for program, words in commands(text):
        if program in ("pip", "pip3"):
            found += [name for name in map(name_of, packages(words)) if name not in known()]
            found += [word for word in words if word.partition("=")[0] in OTHER_INDEX]
            files = [value for option, value in itertools.pairwise(words) if option in ("-r", "-c")]
            found += [file for file in files if not (ROOT / file).is_file()]
        elif program in ("apt", "apt-get"):
            found += [name for name in packages(words) if name not in SYSTEM and "$" not in name and "{" not in name]
        elif program == "npm":
            found += [name for name in packages(words) if name.partition("@")[0] != "axe-core"]
        elif words[:2] != ["-f", "environment.yml"]:  # conda and the like
            found += words
    return found


def test_every_package_that_a_command_installs_is_in_the_courses_lists(sources):
    assert {name: unknown(text) for name, text in sources.items() if unknown(text)} == {}


def test_the_search_for_commands_sees_those_that_there_are(sources):
    seen = {name for name, text in sources.items() if list(commands(text))}
    assert {"README.md", "Makefile", ".ci/run", ".github/workflows/test.yml", "environment.yml", "mnistlib/doctor.py"} <= seen
    assert {name for name in sources if name.endswith(".ipynb")} <= seen


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("python -m pip install numpy torchh", ["torchh"]),
        ("%pip install --quiet 'reqeusts>=2'", ["reqeusts"]),
        ("uv pip install --system numpy some-thing", ["some-thing"]),
        ("pip install -r requirements.txt \\\n    extra-thing", ["extra-thing"]),
        ("pip install --index-url=address numpy", ["--index-url=address"]),
        ("pip install -i address numpy", ["address", "-i"]),
        ("pip install -r requirement.txt", ["requirement.txt"]),
        ('pip install "other @ git+address"', ["other"]),
        ("pip install git+address", ["git+address"]),
        ("conda install -c other numpy", ["-c", "other", "numpy"]),
        ("conda env create -f environment.yml", []),
        ("sudo apt-get install -y curl make", ["curl"]),
        ("npm install left-pad", ["left-pad"]),
        ("Run `pip install numpy`, then `pip uninstall torchh`.", []),
    ],
)
def test_the_search_for_packages_finds_strangers(text, found):
    assert unknown(text) == found


def test_the_systems_packages_in_ci_are_known(sources):
    named = " ".join(re.findall(r"missing\+=\(([^)]*)\)", sources[".ci/run"])).split()
    assert named
    assert set(named) <= SYSTEM


def test_what_npm_brings_in_workflows_has_an_exact_version(sources):
    for name, text in sources.items():
        if name.startswith(".github/"):
            found = [package for program, words in commands(text) if program == "npm" for package in packages(words)]
            assert all(re.fullmatch(r"[\w-]+@\d+\.\d+\.\d+", package) for package in found), name


def test_nothing_is_piped_from_the_network_into_a_shell(sources):
    loose = re.compile(r"\b(curl|wget)\b[^\n]*\|\s*(sudo\s+)?(ba|z|da)?sh\b|\biwr\b[^\n]*\|\s*iex")
    assert [name for name, text in sources.items() if loose.search(text)] == []
    assert loose.search("curl -sSf address | sh")


# What programs do


def calls(tree):
    """(dotted name, call) of every call."""
    return [(ast.unparse(node.func), node) for node in ast.walk(tree) if isinstance(node, ast.Call)]


def imports(tree):
    """The modules that a program imports, with the names it takes from them."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def option(call, name):
    """The plain value of a keyword, or None."""
    values = [keyword.value for keyword in call.keywords if keyword.arg == name]
    return values[0].value if values and isinstance(values[0], ast.Constant) else None


RUN_CODE = {
    "eval",
    "exec",
    "compile",
    "__import__",
    "os.system",
    "os.popen",
    "runpy.run_path",
    "pd.read_pickle",
    "torch.hub.load",
}
UNPICKLE = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}


def dangers(tree):
    """What a program does that would run code from a file, or give a shell words to take apart."""
    found = [name for name in imports(tree) if name.partition(".")[0] in UNPICKLE]
    for name, call in calls(tree):
        if name in RUN_CODE or option(call, "shell") is True or option(call, "allow_pickle") is True:
            found.append(name)
        if name.endswith("torch.load") and option(call, "weights_only") is not True:
            found.append(f"{name} without weights_only=True")
        if name in ("yaml.load", "yaml.unsafe_load"):
            found.append(name)
    return found


def test_nothing_in_the_course_runs_code_from_files(programs):
    assert len(programs) > 30
    assert {name: dangers(tree) for name, tree in programs.items() if dangers(tree)} == {}


@pytest.mark.parametrize(
    "code",
    [
        "import pickle",
        "from joblib import load",
        "eval('1')",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "subprocess.run(words, shell=True)",
        "np.load(path, allow_pickle=True)",
        "os.system('ls')",
    ],
)
def test_the_search_for_dangers_finds_them(code):
    assert dangers(ast.parse(code))


@pytest.mark.parametrize(
    "code", ["net.eval()", "re.compile('a')", "torch.load(path, weights_only=True)", "subprocess.run(words)"]
)
def test_the_search_for_dangers_finds_no_others(code):
    assert not dangers(ast.parse(code))


NETWORK = ("urllib.request", "requests", "httpx", "aiohttp", "ftplib", "torch.hub", "torch.utils.model_zoo", "gdown", "kagglehub")
DOWNLOADERS = {"urlopen", "urlretrieve", "load_state_dict_from_url", "download_and_extract_archive", "create_connection"}


def test_the_package_downloads_through_torchvision_with_a_checksum_alone(programs):
    used = []
    for name, tree in programs.items():
        if not name.startswith("mnistlib/"):
            continue
        assert [module for module in imports(tree) if module.startswith(NETWORK)] == [], name
        for function, call in calls(tree):
            assert function.rpartition(".")[2] not in DOWNLOADERS, name
            assert option(call, "download") is not True, name
            if function.endswith("download_url"):
                used.append((name, [ast.unparse(argument) for argument in call.args][-1:], len(call.args)))
    assert used == [("mnistlib/datasets.py", ["md5"], 4)]


@pytest.mark.parametrize("name", datasets.CLASSES)
def test_every_file_that_may_be_downloaded_has_a_checksum(name):
    for _, filename, url, md5 in datasets._official_files(name):
        assert re.fullmatch(r"[0-9a-f]{32}", md5), filename
        assert re.match(r"https?://", url), filename


def test_stored_notebooks_hold_no_scripts():
    for name, text in texts().items():
        if name.endswith(".ipynb"):
            notebook = json.loads(text)
            outputs = [output for cell in notebook["cells"] for output in cell.get("outputs", [])]
            kinds = {kind for output in outputs for kind in output.get("data", {})}
            assert kinds <= {"text/plain", "text/html", "text/markdown", "image/png", "image/svg+xml"}, name
            assert not re.search(r"<script|<iframe|\bon(click|load|error)=|javascript:", text, re.I), name


# What SECURITY.md says


def test_security_is_short_and_named_where_people_look():
    text = (ROOT / "SECURITY.md").read_text("utf-8")
    assert len(text.splitlines()) <= 15
    for word in ("md5", "weights_only=True", "requirements.txt", "Colab", "Report a vulnerability"):
        assert word in text
    assert "](SECURITY.md)" in (ROOT / "README.md").read_text("utf-8")
