"""Seconds of each notebook and its slowest cells, start-up and imports apart; seconds that `import mnistlib` adds."""

import ast
import os
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path
from unittest.mock import patch

import nbformat
from nbclient import NotebookClient

NOTEBOOKS = Path(__file__).resolve().parent.parent / "notebooks"
SLOWEST = 5
IMPORTS = {
    "import mnistlib": "import mnistlib",
    "and load, build, fit, evaluate": "mnistlib.load, mnistlib.build, mnistlib.fit, mnistlib.evaluate",
}


def measure(quick: bool = False) -> dict:
    """Run the lessons in reading order, from what is stored, and leave that as it is."""
    paths = sorted(NOTEBOOKS.glob("[0-9][0-9]_*.ipynb"))[: 1 if quick else None]
    notebooks, cells = {}, []
    with tempfile.TemporaryDirectory() as folder, patch.dict(os.environ, MNISTLIB_DATA=folder):  # as on a fresh clone
        for path in paths:
            notebooks[path.name], own = run_notebook(path)
            cells += own
            print(f"  {path.name}: {notebooks[path.name]['cells']:.1f} s", flush=True)
    cells.sort(key=lambda cell: -cell["seconds"])
    turns = 2 if quick else 5
    beyond = [seconds_beyond_torch() for _ in range(turns)]
    parts = ("start-up", "imports", "cells")
    return {
        "what": "each lesson run once from top to bottom in a kernel of its own, without writing it; start-up: of "
        "the kernel, and its end; imports: what the notebook imports, and the names of mnistlib that it uses, before "
        f"its first cell; medians of {turns} turns of what imports add to a Python that has imported torch",
        "seconds of all": {part: sum(notebook[part] for notebook in notebooks.values()) for part in parts},
        "all seconds": sum(notebook[part] for notebook in notebooks.values() for part in parts),
        "notebooks": notebooks,
        "slowest cells": cells[:SLOWEST],
        "seconds beyond torch": {name: statistics.median(each[name] for each in beyond) for name in IMPORTS},
    }


def run_notebook(path: Path) -> tuple[dict, list[dict]]:
    """The seconds of its parts, and of each cell."""
    notebook = nbformat.read(path, as_version=4)
    notebook.cells.insert(0, nbformat.v4.new_code_cell(imports_of(notebook)))
    client = NotebookClient(
        notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": str(path.parent)}}
    )
    start = time.perf_counter()
    client.execute()
    whole = time.perf_counter() - start
    code = [cell for cell in notebook.cells if "execution" in cell.metadata]
    times = [seconds_of(cell) for cell in code]
    seconds = {"start-up": whole - sum(times), "imports": times[0], "cells": sum(times[1:])}
    named = zip(code[1:], times[1:], strict=True)
    return seconds, [{"notebook": path.name, "cell": cell.get("id"), "seconds": its_time} for cell, its_time in named]


def seconds_of(cell) -> float:
    """From when the kernel began with a cell to when it was idle again."""
    begin, end = (
        datetime.fromisoformat(cell.metadata["execution"][f"iopub.status.{state}"]) for state in ("busy", "idle")
    )
    return (end - begin).total_seconds()


def imports_of(notebook) -> str:
    """One cell with the imports of all; names of mnistlib are imported when first used, so these are used here."""
    lines, names = [], set()
    for cell in notebook.cells:
        if cell.cell_type != "code":
            continue
        try:
            tree = ast.parse(cell.source)
        except SyntaxError:  # the set-up cell for Colab, with Jupyter's %pip
            continue
        lines += [ast.unparse(line) for line in tree.body if isinstance(line, ast.Import | ast.ImportFrom)]
        names |= {
            part.attr for part in ast.walk(tree)
            if isinstance(part, ast.Attribute) and isinstance(part.value, ast.Name) and part.value.id == "mnistlib"
        }  # fmt: skip
    return "\n".join([*dict.fromkeys(lines), *(f"mnistlib.{name}" for name in sorted(names))])


def seconds_beyond_torch() -> dict[str, float]:
    """How long the imports take, from the first on, in a new Python that has imported torch."""
    lines = ["import time, torch", "start = time.perf_counter()"]
    for code in IMPORTS.values():
        lines += [code, "print(time.perf_counter() - start)"]
    command = [sys.executable, "-c", "\n".join(lines)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=NOTEBOOKS.parent)
    return dict(zip(IMPORTS, map(float, done.stdout.split()), strict=True))


def rows(part: dict) -> list[tuple[str, str, str]]:
    slowest = part["slowest cells"][0]
    beyond = part["seconds beyond torch"]
    return [
        (f"all {len(part['notebooks'])} lessons, one after the other", f"{part['all seconds']:.0f} s", "at most 180 s"),
        (
            "of that start-up of the kernels and imports",
            f"{part['seconds of all']['start-up'] + part['seconds of all']['imports']:.0f} s",
            "",
        ),
        (f"the slowest cell (notebook {slowest['notebook'][:2]})", f"{slowest['seconds']:.1f} s", "at most 30 s"),
        (
            "`import mnistlib` beyond torch itself; with `load`, `build`, `fit` and `evaluate`",
            f"{beyond['import mnistlib']:.3f} s; {beyond['and load, build, fit, evaluate']:.1f} s",
            "under 0.3 s",
        ),
    ]
