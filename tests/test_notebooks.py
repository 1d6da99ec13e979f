"""The notebooks as files: stored in a state in which nbval can compare them and a reader can use them."""

import importlib.util
import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
GLOSSARY = ROOT / "notebooks" / "GLOSSARY.md"
spec = importlib.util.spec_from_file_location("notebooks_tool", ROOT / "tools" / "notebooks.py")
tool = importlib.util.module_from_spec(spec)
spec.loader.exec_module(tool)

NOTEBOOKS = tool.course()
SOLUTIONS = tool.solutions()
NOT_COMPARED = {}  # notebook: number of code cells tagged nbval-ignore-output or nbval-skip
ALLOWED_TAGS = {"nbval-ignore-output", "nbval-skip", "raises-exception"}

lesson = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
solution = pytest.mark.parametrize("path", SOLUTIONS, ids=lambda path: f"solutions/{path.stem}")
every = pytest.mark.parametrize("path", NOTEBOOKS + SOLUTIONS, ids=lambda path: path.relative_to(ROOT / "notebooks").as_posix())


def source(cell) -> str:
    return "".join(cell["source"])


def code_cells(path) -> list[dict]:
    return [cell for cell in tool.read(path)["cells"] if cell["cell_type"] == "code"]


def outputs(path):
    """(cell, output) of every stored output."""
    return [(cell, output) for cell in code_cells(path) for output in cell["outputs"]]


def headings(path) -> list[str]:
    text = "\n".join(source(cell) for cell in tool.read(path)["cells"] if cell["cell_type"] == "markdown")
    return re.findall(r"^#+ +(.+)$", text, flags=re.MULTILINE)


@lesson
def test_numbers_give_one_order(path):
    numbers = [p.stem[:2] for p in NOTEBOOKS]
    assert numbers[0] == "00"
    assert numbers == sorted(set(numbers)), "two notebooks have the same number"


@every
def test_was_executed_from_top_to_bottom(path):
    assert [cell["execution_count"] for cell in code_cells(path)] == list(range(1, len(code_cells(path)) + 1))
    fewest = len(code_cells(path)) / (2 if path in NOTEBOOKS else 3)  # solutions have cells that only define a function
    assert len(outputs(path)) > fewest, "too few outputs stored for a comparison to mean something"


@every
def test_almost_every_code_cell_is_compared(path):
    left_out = [c for c in code_cells(path) if {"nbval-ignore-output", "nbval-skip"} & set(c["metadata"].get("tags", []))]
    assert len(left_out) == NOT_COMPARED.get(path.name, 0)
    assert len(left_out) * 20 <= len(code_cells(path)), "more than one code cell in twenty is not compared"


@every
def test_directives_are_tags_that_students_do_not_see(path):
    for cell in tool.read(path)["cells"]:
        assert set(cell["metadata"]) <= {"tags"}
        assert set(cell["metadata"].get("tags", [])) <= ALLOWED_TAGS
        assert "NBVAL" not in source(cell)
        assert "PYTEST_VALIDATE" not in source(cell)


@every
def test_kernel_is_python3_and_there_is_no_other_metadata(path):
    metadata = tool.read(path)["metadata"]
    assert metadata["kernelspec"]["name"] == "python3"
    assert set(metadata) == {"kernelspec", "language_info"}
    assert metadata["language_info"] == {"name": "python"}


@every
def test_nothing_is_stored_that_differs_from_run_to_run(path):
    for cell, output in outputs(path):
        assert output.get("name") != "stderr", source(cell)
        assert tool.WIDGET not in output.get("data", {}), source(cell)
        assert output["output_type"] != "error" or "raises-exception" in cell["metadata"].get("tags", [])
        text = json.dumps(output.get("data", output.get("text", "")))
        assert not re.search(r"/home/|/root|/Users/|[A-Z]:\\\\Users|0x[0-9a-f]{6,}", text), source(cell)


@every
def test_every_picture_has_a_text_alternative(path):
    pictures = 0
    for cell, output in outputs(path):
        for kind in output.get("data", {}):
            if kind.startswith("image/"):
                pictures += 1
                alt = output["metadata"].get(kind, {}).get("alt", "")
                assert len(alt) > 30, f"no text alternative: {source(cell)}"
                assert "".join(output["data"]["text/plain"]) == alt
    assert pictures >= 2 or path in SOLUTIONS
    for cell in tool.read(path)["cells"]:
        if cell["cell_type"] == "markdown":
            assert not re.search(r"!\[\s*\]\(|<img(?![^>]*\balt=\"[^\"]+\")", source(cell))


@every
def test_is_stamped(path):
    """The link to Colab matches the path, the neighbours are right, and the set-up cell is the one of all."""
    cells = tool.read(path)["cells"]
    assert source(cells[0]) == tool.header_source(path)
    assert source(cells[-1]) == tool.footer_source(path)
    assert f"/blob/main/{path.relative_to(ROOT).as_posix()})" in source(cells[0])
    setups = [cell for cell in cells if "google.colab" in source(cell)]
    assert [source(cell) for cell in setups] == [tool.setup_source()]
    assert setups[0] is next(cell for cell in cells if cell["cell_type"] == "code"), "the set-up cell comes first"


@lesson
def test_has_what_a_reader_looks_for(path):
    text = "\n".join(source(cell) for cell in tool.read(path)["cells"] if cell["cell_type"] == "markdown")
    assert re.search(r"\*\*\d+ minutes to read", text)
    assert "After this notebook you can" in text
    assert "**Predict, then run.**" in text
    assert headings(path)[-1] == "Summary"
    assert "**Questions to check yourself**" in text
    assert text.count("<details>") == text.count("</details>") >= 1


@solution
def test_a_solution_belongs_to_a_lesson(path):
    """It has the lesson's number, name and title, and the two lead to each other."""
    lesson = tool.lesson_of(path)
    assert lesson in NOTEBOOKS
    assert headings(path) == [f"{tool.title(lesson)}: solutions"]
    for cell in (tool.read(path)["cells"][0], tool.read(path)["cells"][-1]):
        assert f"(../{lesson.name})" in source(cell)
    texts = [source(cell) for cell in tool.read(lesson)["cells"] if cell["cell_type"] == "markdown"]
    assert [text.startswith("## Exercises") for text in texts if f"(solutions/{path.name})" in text] == [True]


@lesson
def test_exercises_come_right_before_the_summary(path):
    has_solutions = path.parent / "solutions" / path.name in SOLUTIONS
    assert headings(path).count("Exercises") == has_solutions
    assert not has_solutions or headings(path)[-2:] == ["Exercises", "Summary"]


@every
def test_ids_are_unique_and_valid(path):
    ids = [cell["id"] for cell in tool.read(path)["cells"]]
    assert len(ids) == len(set(ids))
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name) for name in ids)


@every
def test_local_links_lead_somewhere(path):
    for cell in tool.read(path)["cells"]:
        if cell["cell_type"] == "markdown":
            for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", source(cell)):
                if not target.startswith("http"):
                    assert (path.parent / target).exists(), target


@every
def test_cells_are_short(path):
    for cell in code_cells(path):
        lines = source(cell).splitlines()
        assert len(lines) <= 15, source(cell)
        if cell["id"] != "setup":  # its address may be long
            assert all(len(line) <= 100 for line in lines), source(cell)


@every
def test_numbers_that_depend_on_the_machine_are_guarded(path):
    """A cell that prints a number after ≈ from training or a clock is followed by, or holds, an assert."""
    cells = code_cells(path)
    for i, cell in enumerate(cells):
        if any("≈" in "".join(o.get("text", "")) and "%" in "".join(o.get("text", "")) for o in cell["outputs"]):
            near = "\n".join(source(c) for c in cells[max(i - 1, 0) : i + 4])
            assert "assert " in near, source(cell)


@every
def test_clean_changes_nothing(path):
    notebook = tool.read(path)
    tool.clean(notebook)
    assert notebook == tool.read(path)


def test_the_glossary_links_each_word_to_a_notebook_that_uses_it():
    rows = re.findall(r"^\| (?!word|-)(.+?) \| .+ \| \[.+\]\((.+)\) \|$", GLOSSARY.read_text("utf-8"), re.M)
    words = [word.lower() for word, _ in rows]
    assert len(rows) > 30
    assert words == sorted(words)
    for word, name in rows:
        text = " ".join(source(cell) for cell in tool.read(GLOSSARY.parent / name)["cells"]).lower()
        assert word.lower().removesuffix("s") in text, f"{word} is not in {name}"
