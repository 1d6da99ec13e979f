"""Keep the notebooks in order: ``python tools/notebooks.py execute [NOTEBOOK …]``, or ``… stamp``.

execute  runs notebooks from top to bottom, each in a new kernel, and stores what they show. Without names: all of them.
stamp    writes what follows from the course's address on GitHub and from the notebooks' order: the first, the last and
         the set-up cell of each notebook, and in README.md and docs/ what stands between a mark and <!-- end -->.
         The marks are <!-- doors 03_train_lenet5 --> for a notebook's badges, <!-- codespaces --> and <!-- clone -->.
         The address is that of git's remote `origin`, or --repository; without one there are no badges. With --first,
         nothing happens when the course has an address. This needs the standard library alone.
"""

import argparse
import json
import re
import subprocess
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PYPROJECT = ROOT / "pyproject.toml"
WIDGET = "application/vnd.jupyter.widget-view+json"
METADATA = ("tags", "jupyter", "cellView")  # of cells: directives, and what hides a source in JupyterLab and on Colab
GITHUB = "https://github.com/"
SETUP = """\
# On Colab and Kaggle, mnistlib has to be installed first. Anywhere else this cell does nothing.
import os
import sys

if "google.colab" in sys.modules or "KAGGLE_KERNEL_RUN_TYPE" in os.environ:
    """
INSTALL = '%pip install --quiet "mnist-lenet5-course[tfrecords,draw,onnx] @ git+{}" "onnx<1.22"'
NO_ADDRESS = 'raise RuntimeError("install mnistlib first: this copy of the course does not know its address")'


def lessons() -> list[Path]:
    """The lessons in reading order."""
    return sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))


def solutions() -> list[Path]:
    """The worked exercises; each has the file name of its lesson."""
    return sorted((ROOT / "notebooks" / "solutions").glob("[0-9][0-9]_*.ipynb"))


def repository() -> str:
    """The course's address, such as https://github.com/someone/mnist-lenet5-course, or an empty string."""
    return tomllib.loads(PYPROJECT.read_text("utf-8"))["tool"]["mnistlib"]["repository"]


def remote() -> str:
    """The address of git's remote `origin` if that is on GitHub, without a user's name or password."""
    try:
        command = ["git", "remote", "get-url", "origin"]
        url = subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout.strip()
    except OSError:
        return ""
    found = re.fullmatch(r"(?:https://(?:[^/@]*@)?|(?:ssh://)?git@)github\.com[/:]([^/]+/[^/]+?)(?:\.git)?/?", url)
    return GITHUB + found[1] if found else ""


def doors(path: Path) -> dict[str, tuple[str, str]]:
    """{where a notebook can be opened: (link, badge)}; empty where the course has no address on GitHub."""
    _, github, name = repository().partition(GITHUB)
    file = path.relative_to(ROOT).as_posix()
    blob = f"{GITHUB}{name}/blob/main/{file}"
    colab, kaggle, binder = "https://colab.research.google.com", "https://kaggle.com", "https://mybinder.org"
    found = {
        "Colab": (f"{colab}/github/{name}/blob/main/{file}", f"{colab}/assets/colab-badge.svg"),
        "Kaggle": (f"{kaggle}/kernels/welcome?src={blob}", f"{kaggle}/static/images/open-in-kaggle.svg"),
        "Binder": (f"{binder}/v2/gh/{name}/HEAD?urlpath=lab/tree/{file}", f"{binder}/badge_logo.svg"),
    }
    return found if github else {}


def stamped_text(text: str) -> str:
    """A text with what belongs between its marks."""
    address = repository()
    space = f"https://codespaces.new/{address.removeprefix(GITHUB)}?quickstart=1"

    def between(found: re.Match) -> str:
        kind, _, name = found[1].partition(" ")
        content = ""
        if kind == "doors":
            links = doors(ROOT / "notebooks" / f"{name}.ipynb").items()
            content = " ".join(f"[![Open {name} in {door}]({badge})]({link})" for door, (link, badge) in links)
        elif kind == "codespaces" and address.startswith(GITHUB):
            content = f"[![Open in GitHub Codespaces]({GITHUB}codespaces/badge.svg)]({space})"
        elif kind == "clone" and address:
            content = f"\n```sh\ngit clone {address}\ncd {address.rpartition('/')[2]}\n```\n"
        elif kind == "clone":
            content = "\nDownload the course and open a terminal in its folder.\n"
        return f"<!-- {found[1]} -->{content}<!-- end -->"

    return re.sub(r"<!-- ((?:doors|codespaces|clone)[ \w]*) -->.*?<!-- end -->", between, text, flags=re.S)


def stamped_notebook(path: Path) -> dict:
    """A notebook with its first, last and set-up cell as they should be."""
    notebook, others = read(path), lessons()
    if path in others:
        place = others.index(path)
        links = [f"← [{title(other)}]({other.name})" for other in others[:place][-1:]]
        links += [f"[{title(other)}]({other.name}) →" for other in others[place + 1 :][:1]]
    else:
        links = [f"← [{title(path.parent.parent / path.name)}](../{path.name})"]
    opens = [f"[Open in {door}]({link})" for door, (link, _) in doors(path).items()]
    ends = {"header": " | ".join(opens + links), "footer": f"---\n{' | '.join(links)}"}
    header, footer = (
        {"cell_type": "markdown", "id": name, "metadata": {}, "source": source} for name, source in ends.items()
    )
    cells = [cell for cell in notebook["cells"] if cell["id"] not in ends]
    setup = next(cell for cell in cells if cell["id"] == "setup")
    setup["source"] = SETUP + (INSTALL.format(repository()) if repository() else NO_ADDRESS)
    return {**notebook, "cells": [header, *cells, footer]}


def title(path: Path) -> str:
    """A notebook's first heading."""
    sources = ("".join(cell["source"]) for cell in read(path)["cells"] if cell["cell_type"] == "markdown")
    return next(found[1] for source in sources if (found := re.match(r"# (.+)", source)))


def read(path: Path) -> dict:
    """The notebook as JSON; each source is one string or a list of lines."""
    return json.loads(path.read_text("utf-8"))


def as_text(notebook: dict) -> str:
    """The notebook in Jupyter's own layout."""
    for cell in notebook["cells"]:
        cell["source"] = "".join(cell["source"]).splitlines(keepends=True)
    return json.dumps(notebook, indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def write(path: Path, text: str) -> None:
    if path.read_text("utf-8") != text:
        path.write_text(text, "utf-8", newline="\n")
        print(f"{path.relative_to(ROOT).as_posix()}: written")


def clean(notebook: dict) -> dict:
    """Take out what changes from run to run: widgets, warnings on stderr, times, versions."""
    kernel = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
    notebook["metadata"] = {"kernelspec": kernel, "language_info": {"name": "python"}}
    notebook["nbformat"], notebook["nbformat_minor"] = 4, 5
    for cell in notebook["cells"]:
        cell["metadata"] = {name: value for name, value in cell["metadata"].items() if name in METADATA}
        outputs = []
        for output in cell.pop("outputs", []):
            if output.get("name") == "stderr" or WIDGET in output.get("data", {}):
                continue
            if (
                outputs and output["output_type"] == outputs[-1]["output_type"] == "stream"
            ):  # one text in several pieces
                text = "".join([*outputs.pop()["text"], *output["text"]])
                output = {**output, "text": text.splitlines(keepends=True)}
            outputs.append(output)
        if cell["cell_type"] == "code":
            cell["outputs"] = outputs
    return notebook


def execute(path: Path) -> None:
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(path, as_version=4)
    folder = {"metadata": {"path": str(path.parent)}}
    NotebookClient(notebook, timeout=600, iopub_timeout=300, kernel_name="python3", resources=folder).execute()
    write(path, as_text(clean(json.loads(nbformat.writes(notebook)))))
    print(f"{path.relative_to(ROOT).as_posix()}: executed", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=["execute", "stamp"])
    parser.add_argument("notebooks", nargs="*", type=lambda name: Path(name).resolve(), help="execute: those to run")
    parser.add_argument("--repository", metavar="URL", help="stamp: the address, if not that of git's remote")
    parser.add_argument("--first", action="store_true", help="stamp: only if the course has no address yet")
    options = parser.parse_args()
    if options.command == "execute":
        for path in options.notebooks or lessons() + solutions():
            execute(path)
    elif not (options.first and (repository() or not remote())):
        address = (options.repository or remote() or repository()).removesuffix("/")
        text = PYPROJECT.read_text("utf-8")
        write(PYPROJECT, text.replace(f'\nrepository = "{repository()}"\n', f'\nrepository = "{address}"\n'))
        for path in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]:
            write(path, stamped_text(path.read_text("utf-8")))
        for path in lessons() + solutions():
            write(path, as_text(stamped_notebook(path)))


if __name__ == "__main__":
    main()
