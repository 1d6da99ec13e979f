"""The notebooks as files: stored in a state in which nbval can compare them and a reader can use them."""

import json
import re

import pytest

import notebooks as tool

ROOT = tool.ROOT
ALLOWED_TAGS = {"raises-exception", "hide-input"}
ANSWERED = 2  # cells whose source answers the prediction above it; fewer are better, more are not allowed

every = pytest.mark.parametrize(
    "path", tool.lessons() + tool.solutions(), ids=lambda path: path.relative_to(ROOT / "notebooks").as_posix()
)


def source(cell) -> str:
    return "".join(cell["source"])


def code_cells(path) -> list[dict]:
    return [cell for cell in tool.read(path)["cells"] if cell["cell_type"] == "code"]


def texts(path) -> list[str]:
    return [source(cell) for cell in tool.read(path)["cells"] if cell["cell_type"] == "markdown"]


def outputs(path) -> list[tuple[dict, dict]]:
    """(cell, output) of every stored output."""
    return [(cell, output) for cell in code_cells(path) for output in cell["outputs"]]


@every
def test_is_stored_as_jupyter_executed_it(path):
    """From top to bottom, cleaned, and with the address and the neighbours that it should have."""
    code = code_cells(path)
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    assert len(outputs(path)) > len(code) / (3 if path in tool.solutions() else 2), "too few outputs to compare"
    assert tool.clean(tool.read(path)) == tool.read(path)
    assert tool.as_text(tool.stamped_notebook(path)) == path.read_text("utf-8"), "run: python tools/notebooks.py stamp"


@every
def test_every_code_cell_is_compared(path):
    for cell in tool.read(path)["cells"]:
        assert set(cell["metadata"].get("tags", [])) <= ALLOWED_TAGS
        assert not re.search("NBVAL|PYTEST_VALIDATE", source(cell))


@every
def test_nothing_is_stored_that_differs_from_run_to_run_or_that_a_page_would_run(path):
    for cell, output in outputs(path):
        assert output["output_type"] != "error" or "raises-exception" in cell["metadata"].get("tags", [])
        data = output.get("data", {"text/plain": output.get("text", "")})
        assert set(data) <= {"text/plain", "text/html", "text/markdown", "image/png", "image/svg+xml"}
        text = json.dumps({kind: content for kind, content in data.items() if kind != "image/png"})
        assert not re.search(r"/home/|/root|/Users/|[A-Z]:\\\\Users|0x[0-9a-f]{6,}", text), source(cell)
        assert not re.search(r"<script|<iframe|\bon(click|load|error)=|javascript:", text, re.I), source(cell)


@every
def test_every_picture_has_a_text_alternative(path):
    for cell, output in outputs(path):
        for kind in output.get("data", {}):
            if kind.startswith("image/"):
                alt = output["metadata"].get(kind, {}).get("alt", "")
                assert len(alt) > 30, f"no text alternative: {source(cell)}"
                assert "".join(output["data"]["text/plain"]) == alt
    assert not re.search(r"!\[\s*\]\(|<img(?![^>]*\balt=\"[^\"]+\")", "\n".join(texts(path)))


def test_few_cells_answer_the_prediction_above_them():
    """What is asked must not stand in the visible source: not as text alternative, not as an assert."""
    found = []
    for path in tool.lessons():
        cells = tool.read(path)["cells"]
        for i, cell in enumerate(cells):
            if cell["cell_type"] == "markdown" and "**Predict, then run.**" in source(cell):
                after = next(cell for cell in cells[i:] if cell["cell_type"] == "code")
                hidden = "hide-input" in after["metadata"].get("tags", [])
                if not hidden and re.search(r"\balt=|\bshow\(|^assert ", source(after), re.M):
                    found.append((path.name, after["id"]))
    assert len(found) <= ANSWERED, found


def test_local_links_lead_somewhere():
    pages = {path: "\n".join(texts(path)) for path in tool.lessons() + tool.solutions()}
    for pattern in ("*.md", "notebooks/*.md", "docs/**/*.md"):
        pages |= {path: path.read_text("utf-8") for path in ROOT.glob(pattern)}
    for path, text in pages.items():
        targets = re.findall(r"\]\(([^)#\s]+)[^)]*\)", text)
        assert [name for name in targets if ":" not in name and not (path.parent / name).exists()] == [], path
    assert all(f"pictures/{path.name}" in "".join(pages.values()) for path in (ROOT / "pictures").glob("*.[pw][ne]*"))


@every
def test_cells_are_short(path):
    for cell in code_cells(path):
        lines = source(cell).splitlines()
        assert len(lines) <= 15, source(cell)
        assert cell["id"] == "setup" or all(len(line) <= 100 for line in lines), source(cell)


@every
def test_numbers_that_depend_on_the_machine_are_guarded(path):
    """No percentage after ≈ is printed below the last assert, or rather the cell after it."""
    cells = code_cells(path)
    guarded = max((i + 2 for i, cell in enumerate(cells) if re.search("^ *assert ", source(cell), re.M)), default=0)
    for cell in cells[guarded:]:
        printed = "".join("".join(output.get("text", "")) for output in cell["outputs"])
        assert not re.search("≈.*%", printed), source(cell)


def test_a_kernel_that_dies_at_its_start_is_started_again(pytestconfig):
    (conftest,) = (plugin for plugin in pytestconfig.pluginmanager.get_plugins() if hasattr(plugin, "started_again"))
    said = ["Kernel died before replying to kernel_info"] * 2  # jupyter_client's words

    def start(**options):
        if said:
            raise RuntimeError(said.pop())
        return options["env"]

    assert conftest.started_again(start, {"A": "1"})() == {"A": "1"}
    said += ["Kernel didn't respond in 60 seconds"]
    with pytest.raises(RuntimeError, match="respond"):
        conftest.started_again(start, {})()
