"""Keep the notebooks in order: ``python tools/notebooks.py stamp | execute | clean [NOTEBOOK …]``.

stamp    writes the Colab link, the links to the neighbours and the one set-up cell into each
         notebook, the Colab badges and `git clone` into the README. The repository's address comes from
         pyproject.toml; --repository URL puts another one there first. Standard library only.
execute  runs notebooks from top to bottom in a fresh kernel each and stores what they show.
clean    takes out of stored notebooks what would differ from run to run (execute does this too).

Without names, all notebooks are meant: the lessons, and after them the solutions of their exercises.
"""

import argparse
import json
import re
import sys
import time
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PYPROJECT = ROOT / "pyproject.toml"
README = ROOT / "README.md"
BADGE = "https://colab.research.google.com/assets/colab-badge.svg"
WIDGET = "application/vnd.jupyter.widget-view+json"
SETUP = """\
# On Colab: fetch the course's helper package. Anywhere else this cell does nothing.
import sys

if "google.colab" in sys.modules:
    %pip install --quiet "mnist-lenet5-course[tfrecords,draw,onnx] @ git+{repository}" "onnx<1.22"\
"""


def course() -> list[Path]:
    """The lessons in reading order."""
    return sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))


def solutions() -> list[Path]:
    """The worked exercises: each has the name of its lesson."""
    return sorted((ROOT / "notebooks" / "solutions").glob("[0-9][0-9]_*.ipynb"))


def lesson_of(solution: Path) -> Path:
    """The lesson that a notebook with solutions belongs to."""
    return solution.parent.parent / solution.name


def repository() -> str:
    """The repository's address, which stands in pyproject.toml alone."""
    return tomllib.loads(PYPROJECT.read_text("utf-8"))["project"]["urls"]["Repository"].removesuffix("/")


def colab_link(path: Path) -> str:
    """The address at which Colab opens a notebook of the repository's main branch."""
    owner_and_name = "/".join(repository().split("/")[-2:])
    return f"https://colab.research.google.com/github/{owner_and_name}/blob/main/{path.relative_to(ROOT).as_posix()}"


def setup_source() -> str:
    """The set-up cell, the same in every notebook."""
    return SETUP.format(repository=repository())


def header_source(path: Path) -> str:
    """The first cell: the link to Colab and the neighbours."""
    return f"[Open in Colab]({colab_link(path)}) | {_neighbours(path)}"


def footer_source(path: Path) -> str:
    """The last cell."""
    return f"---\n{_neighbours(path)}"


def _neighbours(path: Path) -> str:
    if path in solutions():
        return f"← [{title(lesson_of(path))}](../{path.name})"
    notebooks = course()
    place = notebooks.index(path)
    links = []
    if place > 0:
        links.append(f"← [{title(notebooks[place - 1])}]({notebooks[place - 1].name})")
    if place + 1 < len(notebooks):
        links.append(f"[{title(notebooks[place + 1])}]({notebooks[place + 1].name}) →")
    return " | ".join(links)


def title(path: Path) -> str:
    """A notebook's first heading."""
    for cell in read(path)["cells"]:
        heading = re.match(r"# (.+)", "".join(cell["source"])) if cell["cell_type"] == "markdown" else None
        if heading:
            return heading[1]
    raise SystemExit(f"error: {path.name} has no heading; start its first text cell with '# '.")


def read(path: Path) -> dict:
    """The notebook as JSON; each source is one string or a list of lines."""
    return json.loads(path.read_text("utf-8"))


def write(path: Path, notebook: dict) -> bool:
    """Write under a temporary name and rename, in the layout that Jupyter uses; False when nothing changed."""
    for cell in notebook["cells"]:
        cell["source"] = "".join(cell["source"]).splitlines(keepends=True)
    text = json.dumps(notebook, indent=1, ensure_ascii=False, sort_keys=True) + "\n"
    if path.exists() and path.read_text("utf-8") == text:
        return False
    temporary = path.with_suffix(".tmp")
    temporary.write_text(text, "utf-8", newline="\n")
    temporary.replace(path)
    return True


def stamp(paths: list[Path]) -> None:
    for path in paths:
        notebook = read(path)
        stamped = {
            "header": {"cell_type": "markdown", "id": "header", "metadata": {}, "source": header_source(path)},
            "footer": {"cell_type": "markdown", "id": "footer", "metadata": {}, "source": footer_source(path)},
        }
        cells = [cell for cell in notebook["cells"] if cell.get("id") not in stamped]
        setup = [cell for cell in cells if cell.get("id") == "setup"]
        if not setup:
            setup = [{"cell_type": "code", "execution_count": None, "id": "setup", "metadata": {}, "outputs": []}]
            after_title = next(i for i, cell in enumerate(cells) if "".join(cell["source"]).startswith("# ")) + 1
            cells[after_title:after_title] = setup
        setup[0]["source"] = setup_source()
        notebook["cells"] = [stamped["header"], *cells, stamped["footer"]]
        report(path, write(path, notebook))
    readme = README.read_text("utf-8")
    mark = re.compile(r"\[!\[Open (\S+) in Colab\]\([^)]*\)\]\([^)]*\)")
    new = mark.sub(lambda found: f"[![Open {found[1]} in Colab]({BADGE})]({colab_link(ROOT / 'notebooks' / found[1])})", readme)
    new = re.sub(r"git clone \S+\ncd \S+", f"git clone {repository()}\ncd {repository().rpartition('/')[2]}", new)
    README.write_text(new, "utf-8", newline="\n")
    report(README, new != readme)


def set_repository(address: str) -> None:
    if not re.fullmatch(r"https://[^\s/]+/[^\s/]+/[^\s/]+?/?", address):
        raise SystemExit(f"error: {address!r} is not a repository's address; give one like https://github.com/OWNER/NAME.")
    text = PYPROJECT.read_text("utf-8")
    PYPROJECT.write_text(text.replace(f'"{repository()}"', f'"{address.removesuffix("/")}"'), "utf-8", newline="\n")


def clean(notebook: dict) -> None:
    """Take out what changes from run to run: widgets, warnings on stderr, times, versions."""
    notebook["metadata"] = {
        "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    notebook["nbformat"], notebook["nbformat_minor"] = 4, 5
    for cell in notebook["cells"]:
        cell["metadata"] = {k: v for k, v in cell["metadata"].items() if k == "tags"}
        if cell["cell_type"] == "code":
            cell["outputs"] = _merged(
                [o for o in cell["outputs"] if o.get("name") != "stderr" and WIDGET not in o.get("data", {})]
            )


def _merged(outputs: list[dict]) -> list[dict]:
    """Printed text in one piece; the kernel sends it in as many as its clock makes of it."""
    merged = []
    for output in outputs:
        if merged and output["output_type"] == merged[-1]["output_type"] == "stream":
            merged[-1]["text"] = ("".join(merged[-1]["text"]) + "".join(output["text"])).splitlines(keepends=True)
        else:
            merged.append(output)
    return merged


def execute(paths: list[Path]) -> None:
    import nbformat
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError

    begin = time.perf_counter()
    for path in paths:
        start = time.perf_counter()
        notebook = nbformat.read(path, as_version=4)
        folder = {"metadata": {"path": str(path.parent)}}
        try:
            NotebookClient(notebook, timeout=600, kernel_name="python3", resources=folder).execute()
        except CellExecutionError as error:
            raise SystemExit(f"{error}\nerror: {_name(path)} stopped at the cell above; the file is as it was.") from None
        executed = json.loads(nbformat.writes(notebook))
        clean(executed)
        write(path, executed)
        print(f"{_name(path)}: {time.perf_counter() - start:.1f} s", flush=True)
    print(f"all: {time.perf_counter() - begin:.1f} s")


def report(path: Path, changed: bool) -> None:
    print(f"{_name(path)}: {'written' if changed else 'as it was'}")


def _name(path: Path) -> str:
    """solutions/00_start_here.ipynb, not the name alone: two notebooks have that."""
    return f"solutions/{path.name}" if path in solutions() else path.name


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=["stamp", "execute", "clean"])
    parser.add_argument("notebooks", nargs="*", type=Path)
    parser.add_argument("--repository", metavar="URL", help="stamp: the new address, written to pyproject.toml first")
    options = parser.parse_args()
    known = course() + solutions()
    paths = [path.resolve() for path in options.notebooks] or known
    unknown = [path.name for path in paths if path not in known]
    if unknown:
        names = ", ".join(map(_name, known))
        raise SystemExit(f"error: not a notebook of the course: {', '.join(unknown)}. They are {names}.")
    if options.command == "execute":
        execute(paths)
    elif options.command == "stamp":
        if options.repository:
            set_repository(options.repository)
        stamp(paths)
    else:
        for path in paths:
            notebook = read(path)
            clean(notebook)
            report(path, write(path, notebook))


if __name__ == "__main__":
    sys.exit(main())
