"""The website: its checks find what they are for, and the pages built from this folder pass them."""

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
spec = importlib.util.spec_from_file_location("website_tool", ROOT / "tools" / "website.py")
tool = importlib.util.module_from_spec(spec)
spec.loader.exec_module(tool)

GOOD = """<html lang="en"><title>t</title>
<body><h1 id="a">A</h1><h2>B</h2><a href="#a">x</a><img src="p.png" alt="A digit."></body></html>"""
MISSING = [name for name in ("sphinx", "myst_nb", "furo") if importlib.util.find_spec(name) is None]
AXE = os.environ.get("AXE")  # the path of axe-core's axe.min.js
needs_axe = pytest.mark.skipif(
    not AXE or not tool.axe.browser(), reason="needs Chromium, and AXE=…/axe.min.js as `npm install axe-core` brings it"
)


def found_in(folder, page: str) -> list[str]:
    (folder / "p.png").touch()
    (folder / "page.html").write_text(page, "utf-8")
    return tool.faults(folder)


def test_a_good_page_has_no_fault(tmp_path):
    assert found_in(tmp_path, GOOD) == []


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        (' lang="en"', "", "no language"),
        ("<title>t</title>", "<svg><title></title></svg>", "no title"),
        ("h1", "p", "0 headings of the first level"),
        ("h2", "h1", "2 headings of the first level"),
        ("h2", "h3", "a heading of level 3 follows one of level 1"),
        (' alt="A digit."', "", "no alternative text"),
        ("A digit.", " ", "no alternative text"),
        ("A digit.", "p.png", "no alternative text"),
        ("#a", "#b", "leads to no place"),
        ("#a", "other.html", "leads nowhere"),
        ("#a", "../elsewhere.html", "leads nowhere"),
        ("p.png", "https://example.org/p.png", "fetched from elsewhere"),
    ],
)
def test_each_fault_is_found(tmp_path, old, new, fault):
    (tmp_path.parent / "elsewhere.html").touch()
    found = found_in(tmp_path, GOOD.replace(old, new))
    assert any(fault in line for line in found), found


def test_an_empty_folder_is_no_website(tmp_path):
    assert tool.faults(tmp_path)


def test_the_website_is_built_with_the_versions_of_the_course():
    course, site = (
        set(re.findall(r"^([\w.-]+)==(\S+)", (ROOT / name).read_text("utf-8"), re.M))
        for name in ("requirements.txt", "site/requirements.txt")
    )
    names = {name for name, _ in course}
    assert {pin for pin in site if pin[0] in names} <= course
    assert {"sphinx", "myst-nb", "furo"} <= {name for name, _ in site}


def test_the_menu_is_the_reading_order():
    listed = re.findall(r"^notebooks/\S+\.ipynb$", tool.index(), re.M)
    assert listed == [path.relative_to(ROOT).as_posix() for path in tool.course() + tool.solutions()]


def test_the_start_page_links_to_files_that_exist(monkeypatch, tmp_path):
    readme = tmp_path / "README.md"
    monkeypatch.setattr(tool, "README", readme)
    readme.write_text(
        "[licence](LICENSE) [start](notebooks/00_start_here.ipynb) [here](#here) [there](https://example.org)", "utf-8"
    )
    assert (
        f"[licence]({tool.repository()}/blob/main/LICENSE) [start](notebooks/00_start_here.ipynb) [here](#here)" in tool.index()
    )
    readme.write_text("[licence](LICENCE.txt)", "utf-8")
    with pytest.raises(SystemExit, match=r"LICENCE\.txt, which does not exist"):
        tool.index()


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """What the website is made of, in a folder of its own."""
    if MISSING:
        pytest.skip(f"{', '.join(MISSING)} not installed; `make site` installs what the website needs")
    folder = tmp_path_factory.mktemp("course")
    for name in ("site", "tools", "notebooks", "pictures"):
        shutil.copytree(ROOT / name, folder / name)
    text = (ROOT / "README.md").read_text("utf-8")
    for link in re.findall(r"\]\(([^)\s:#]+)", text):  # what the README links to must exist
        (folder / link).parent.mkdir(parents=True, exist_ok=True)
        (folder / link).touch()
    for name in ("README.md", "pyproject.toml"):
        shutil.copyfile(ROOT / name, folder / name)
    return folder


def build(folder, *options):
    command = [sys.executable, "tools/website.py", *options]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, encoding="utf-8")


def test_the_pages_of_this_folder_pass(copy):
    done = build(copy)
    assert done.returncode == 0, done.stderr
    pages = copy / "build" / "site"
    for path in tool.course() + tool.solutions():
        page = (pages / path.relative_to(ROOT)).with_suffix(".html").read_text("utf-8")
        images = [output["metadata"]["image/png"]["alt"] for output in outputs(path) if "image/png" in output.get("data", {})]
        assert [alternative for _, alternative in tool.Page(page).images] == images, path.name
        assert "Open in Colab" in page


def outputs(path):
    return [output for cell in json.loads(path.read_text("utf-8"))["cells"] for output in cell.get("outputs", [])]


@needs_axe
def test_axe_finds_nothing(copy):
    done = build(copy, "--axe", str(Path(AXE).resolve()))
    assert done.returncode == 0, done.stderr


@needs_axe
def test_axe_finds_pale_text_light_and_dark(tmp_path):
    style = "[data-theme=light] p { color: #ccc } [data-theme=dark] { background: #000; color: #fff; p { color: #333 } }"
    switch = "<script>document.body.dataset.theme = localStorage.theme</script>"
    page = f'<html lang="en"><title>t</title><style>{style}</style><body>{switch}<main><h1>Title</h1><p>Pale text.</p></main>'
    (tmp_path / "page.html").write_text(page, "utf-8")
    found = [line for line in tool.axe.violations(tmp_path, Path(AXE)) if "color-contrast, serious" in line]
    assert [line.partition(":")[0] for line in found] == [
        f"page.html ({theme}, {width} pixels)" for theme in tool.axe.THEMES for width in tool.axe.WIDTHS
    ]


def test_a_broken_link_between_notebooks_stops_the_build(copy):
    notebook = copy / "notebooks" / "00_start_here.ipynb"
    text = notebook.read_text("utf-8")
    notebook.write_text(text.replace("(solutions/00_start_here.ipynb)", "(solutions/00_gone.ipynb)"), "utf-8")
    done = build(copy)
    notebook.write_text(text, "utf-8")
    assert done.returncode != 0
    assert "00_gone" in done.stderr
