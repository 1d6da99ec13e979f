"""Assignments: what is written, and that nbgrader's and Otter-Grader's own graders give each submission its points."""

import json
import os
import re
import subprocess
import sysconfig
import venv
from pathlib import Path

import nbformat
import pytest

from mnistlib import exercises
from mnistlib.exercises.assignment import NOTEBOOKS, POINTS, cases_right, run_assignment

LESSONS = sorted(path.stem for path in NOTEBOOKS.glob("[0-9][0-9]_*.ipynb"))
EXERCISE = r"exercise-\d\d-(task|code|check)"
NAME = "06_many_seeds"  # its preparations are two imports
ANSWERS = {  # of three submissions: what stands in place of the stubs; the second rounds to 0.9967 and 0.99
    "solved": {"welch_error": None, "expected_best": None, "seed_sd": None},
    "partial": {"welch_error": None, "expected_best": "def expected_best(accuracies, k):\n    return max(accuracies)"},
    "blank": {},
}
NBGRADER = """
import json
from nbgrader.api import Gradebook
with Gradebook("sqlite:///gradebook.db") as book:
    found = {each["student"]: [each["score"], each["max_score"]] for each in book.submission_dicts(NAME)}
print("\\n" + json.dumps(found))
"""
OTTER = """
import glob, json
from otter.api import grade_submission
(zipped,) = glob.glob("dist/autograder/*.zip")
found = {}
for who in ("solved", "partial", "blank"):
    graded = grade_submission(f"{who}.ipynb", ag_path=zipped, quiet=True)
    found[who] = [graded.total, graded.possible]
print("\\n" + json.dumps(found))
"""


def read(path):
    """A notebook, valid and with a different id for each cell."""
    notebook = nbformat.read(path, 4)
    nbformat.validate(notebook)
    assert len({cell.id for cell in notebook.cells}) == len(notebook.cells)
    return notebook


@pytest.mark.parametrize("format", ["nbgrader", "otter"])
def test_all_lessons_are_written_with_every_exercise_and_its_points(format, tmp_path, capsys):
    run_assignment(format, None, tmp_path / "course")
    written = sorted((tmp_path / "course").rglob("*.ipynb"))
    assert [path.stem for path in written] == [path.parent.name for path in written] == LESSONS
    assert capsys.readouterr().out.split() == [str(path) for path in written]
    for path in written:
        ids = [cell.id for cell in read(NOTEBOOKS / path.name).cells if re.fullmatch(EXERCISE, cell.id)]
        found = read(path).cells
        assert [cell.id for cell in found if re.fullmatch(EXERCISE, cell.id)] == ids
        names = [cell.source.split("check_")[1].split("(")[0] for cell in found if cell.id.endswith("-check")]
        cases = sum(len(getattr(exercises, f"check_{name}").cases) for name in names)
        begin, hidden = ("points: 10", cases) if format == "otter" else ("10 * sum(right) / len(right)", len(names))
        assert sum(begin in cell.source for cell in found) == len(names)
        assert sum("HIDDEN" in cell.source for cell in found) == hidden
        assert sum(cell.metadata.get("nbgrader", {}).get("points", 0) for cell in found) in (0, POINTS * len(names))
    (figure,) = [cell for cell in read(written[3]).cells if cell.id.endswith("figure")]  # the five patients
    assert figure.attachments["figure.png"]["image/png"]


def test_a_case_counts_when_its_answer_is_right():
    assert cases_right("mirrored", lambda images: images.flip(3)) == [True]
    assert cases_right("mirrored", lambda images: 1 / 0) == [False]
    right = cases_right("mcnemar_p", lambda only_first, only_second: 1.0)
    assert True in right
    assert False in right


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"format": "moodle"}, "unknown format 'moodle'; there are nbgrader and otter."),
        ({"notebooks": ["01", "1"]}, "unknown notebook '1'; there are 00, 01, 02, 03, 04, 05, 06, 07, 08, 09."),
        ({"out": "."}, ". exists already, and nothing in it is replaced: name a folder that does not exist."),
    ],
)
def test_bad_options_are_one_sentence(options, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r"^\S.*\.$") as error:
        run_assignment(**options)
    assert str(error.value) == said
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def graders(tmp_path_factory):
    """A function that runs Python beside both graders, in a new environment that also sees all that this one has."""
    base = tmp_path_factory.mktemp("graders")
    venv.create(base / "venv", with_pip=True)
    programs = base / "venv" / ("Scripts" if os.name == "nt" else "bin")
    packages = sysconfig.get_path("purelib", "venv", {"base": str(base / "venv"), "platbase": str(base / "venv")})
    mine = f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n"
    Path(packages, "course.pth").write_text(mine, "utf-8")
    kept = {name: value for name, value in os.environ.items() if not name.startswith("JUPYTER")}
    kept |= {"PATH": f"{programs}{os.pathsep}{os.environ['PATH']}", "HOME": str(base), "OMP_NUM_THREADS": "1"}

    def run(*arguments, cwd=NOTEBOOKS):
        command = [str(programs / "python"), *map(str, arguments)]
        done = subprocess.run(command, cwd=cwd, env=kept, capture_output=True, text=True, timeout=600)
        if done.returncode:
            raise RuntimeError(f"{done.stdout[-3000:]}\n{done.stderr[-6000:]}")
        return done.stdout

    try:
        run("-m", "pip", "install", "--quiet", "--disable-pip-version-check", "nbgrader", "otter-grader")
    except RuntimeError as error:
        pytest.skip(f"pip cannot install nbgrader and otter-grader here: {str(error).strip().splitlines()[-1]}")
    return run


def submit(student, path, answers):
    """Write what a student hands in: the student's notebook with these answers; None is the solution."""
    notebook, solved = read(student), read(NOTEBOOKS / "solutions" / student.name)
    for cell in notebook.cells:
        name = cell.source.removeprefix("def ").partition("(")[0]
        if cell.source.startswith("def ") and name in answers:
            (solution,) = [other.source for other in solved.cells if other.source.startswith(f"def {name}(")]
            cell.source = answers[name] or solution
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, path)


@pytest.mark.slow
@pytest.mark.parametrize("format", ["nbgrader", "otter"])
def test_the_graders_give_each_submission_its_points(format, graders, tmp_path):
    run_assignment(format, ["06"], tmp_path / "course")
    if format == "nbgrader":
        folder, make, student = tmp_path / "course", ["nbgrader", "generate_assignment", NAME], f"release/{NAME}"
        place, grade = f"submitted/{{}}/{NAME}/{NAME}.ipynb", ["-c", f"NAME = {NAME!r}{NBGRADER}"]
    else:
        folder, make, student = tmp_path / "course" / NAME, ["otter", "assign", f"{NAME}.ipynb", "dist"], "dist/student"
        place, grade = "{}.ipynb", ["-c", OTTER]
    graders("-m", *make, cwd=folder)  # otter runs the tests on the solutions, too
    text = (folder / student / f"{NAME}.ipynb").read_text("utf-8")
    assert [word for word in ("cases_right", "statistics.variance(group)") if word in text] == []
    for who, answers in ANSWERS.items():
        submit(folder / student / f"{NAME}.ipynb", folder / place.format(who), answers)
    if format == "nbgrader":
        graders("-m", "nbgrader", "autograde", NAME, cwd=folder)
    best = cases_right("expected_best", lambda accuracies, k: max(accuracies))
    assert 0 < sum(best) < len(best)  # right in some cases and wrong in others
    got = {"solved": 3 * POINTS, "partial": POINTS + POINTS * sum(best) / len(best), "blank": 0}
    printed = json.loads(graders(*grade, cwd=folder).splitlines()[-1])
    assert printed == {who: pytest.approx([points, 3 * POINTS]) for who, points in got.items()}
