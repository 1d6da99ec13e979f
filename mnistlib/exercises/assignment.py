"""Turn the exercises of lessons into assignments for nbgrader or Otter-Grader, and grade them there."""

import re
from pathlib import Path

from mnistlib import exercises

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"
POINTS = 10  # for each exercise; every case of its check counts alike
HEAD = """# {title}: assignment

Replace each `raise NotImplementedError` by your answer. Tasks speak of sections and variables of the lesson {name}."""
SOLUTION = {  # what stands around the solution of an exercise, and leaves students a line that raises
    "nbgrader": "    ### BEGIN SOLUTION\n{}\n    ### END SOLUTION",
    "otter": '    """ # BEGIN PROMPT\n    raise NotImplementedError\n    """ # END PROMPT\n'
    "    # BEGIN SOLUTION NO PROMPT\n{}\n    # END SOLUTION",
}
CHECK = "from mnistlib import exercises\n\nexercises.check_{0}({0})"
NO_POINTS = '""" # BEGIN TEST CONFIG\npoints: 0\n""" # END TEST CONFIG'
SCORE = 'from mnistlib.exercises.assignment import cases_right\n\nright = cases_right("{0}", {0})\n'


def run_assignment(format="nbgrader", notebooks=None, out="assignments"):
    """Write the exercises of lessons, such as 01 and 02 (without names, of all), as assignments into a new folder.

    For nbgrader the folder is a course, in which `nbgrader generate_assignment NAME` works. For Otter-Grader it has a
    notebook for `otter assign` in a folder for each lesson. Raises ValueError for an unknown format or lesson, and for
    a folder that exists.
    """
    import nbformat

    lessons = {path.stem[:2]: path for path in sorted(NOTEBOOKS.glob("[0-9][0-9]_*.ipynb"))}
    if format not in SOLUTION:
        raise ValueError(f"unknown format {format!r}; there are {' and '.join(SOLUTION)}.")
    if not lessons:
        raise ValueError(f"there are no notebooks in {NOTEBOOKS}: run this in a copy of the whole course.")
    if unknown := [name for name in notebooks or () if name not in lessons]:
        raise ValueError(f"unknown notebook {unknown[0]!r}; there are {', '.join(lessons)}.")
    if Path(out).exists():
        raise ValueError(f"{out} exists already, and nothing in it is replaced: name a folder that does not exist.")
    for path in [lessons[name] for name in dict.fromkeys(notebooks or lessons)]:
        lesson, solved = (nbformat.read(file, 4) for file in (path, path.parent / "solutions" / path.name))
        lesson.cells = assignment(format, path.stem, lesson.cells, {cell.id: cell for cell in solved.cells})
        folder = Path(out, "source" if format == "nbgrader" else "", path.stem)
        folder.mkdir(parents=True)
        nbformat.write(lesson, folder / path.name)
        print(folder / path.name)


def cases_right(name: str, function) -> list[bool]:
    """Say for each case of an exercise's check whether the function gives the right answer; graders call this."""
    check = getattr(exercises, f"check_{name}")
    return [not check.problem(function, case) for case in check.cases]


def assignment(format: str, name: str, lesson: list, solved: dict) -> list:
    """Return the cells of an assignment: what the solutions prepare, then each exercise of the lesson."""
    from nbformat import v4

    made, by_id = [], {cell.id: cell for cell in lesson}

    def add(kind, source, id, outputs=(), **marks):
        cell = getattr(v4, f"new_{kind}_cell")(source, id=id)
        if format == "nbgrader":
            marks = {"grade": False, "solution": False, "locked": True, "task": False, **marks}
            cell.metadata["nbgrader"] = {**marks, "grade_id": id, "schema_version": 3, "cell_type": kind}
        if outputs:
            cell.outputs = outputs
        made.append(cell)

    def mark(text, id):
        if format == "otter":
            add("raw", f"# {text}", id)

    mark(f"ASSIGNMENT CONFIG\nname: {name}\nexport_cell:\n  pdf: false", "configuration")
    add("markdown", HEAD.format(title=by_id["text-01"].source.split("\n")[0][2:], name=name), "introduction")
    for cell in list(solved.values())[: list(solved).index("exercise-01-task")]:
        if cell.cell_type == "code":
            add("code", cell.source, cell.id)
    for key in [id.removesuffix("-check") for id in by_id if re.fullmatch(r"exercise-\d\d-check", id)]:
        task, code = (by_id[f"{key}-{part}"] for part in ("task", "code"))
        head, stub = code.source.split("\n", 1)
        comments, solution = stub.rpartition("    raise")[0], solved[f"{key}-code"].source.split("\n", 1)[1]
        function = head[4 : head.index("(")]
        check, score = CHECK.format(function), SCORE.format(function)
        mark(f"BEGIN QUESTION\nname: {function}\npoints: {POINTS}", f"{key}-begin")
        add("markdown", task.source, f"{key}-task")
        for cell in lesson[lesson.index(task) + 1 : lesson.index(code)]:  # they draw what the task is about
            for data in [output.get("data", {}) for output in cell.get("outputs", [])]:
                if "image/png" in data:
                    add("markdown", f"![{data['text/plain']}](attachment:figure.png)", f"{key}-figure")
                    made[-1].attachments = {"figure.png": {"image/png": data["image/png"]}}
        mark("BEGIN SOLUTION", f"{key}-solution")
        source = f"{head}\n{comments}{SOLUTION[format].format(solution)}"
        add("code", source, f"{key}-code", solution=True, locked=False)
        mark("END SOLUTION", f"{key}-solved")
        mark("BEGIN TESTS", f"{key}-tests")
        if format == "nbgrader":
            hidden = f"### BEGIN HIDDEN TESTS\n{score}{POINTS} * sum(right) / len(right)\n### END HIDDEN TESTS"
            add("code", f"{check}\n{hidden}", f"{key}-check", grade=True, points=POINTS)
        else:
            add("code", f"{NO_POINTS}\n{check}", f"{key}-check", solved[f"{key}-check"].outputs)
            for case in range(len(getattr(exercises, f"check_{function}").cases)):
                true = v4.new_output("execute_result", {"text/plain": "True"}, execution_count=1)
                add("code", f"# HIDDEN\n{score}right[{case}]", f"{key}-case-{case}", [true])
        mark("END TESTS", f"{key}-tested")
        mark("END QUESTION", f"{key}-end")
    return made
